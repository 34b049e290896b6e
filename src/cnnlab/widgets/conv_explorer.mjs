/* A window moves over numbers; the products and their sum are written out (chapter 02). */

import { conv2d, fromRows, tensor, toRows } from "./core.mjs";
import { MovingWindow, NumberGrid, bracketed, button, buttonRow, check, controls, field, following, frame, h, number, replaced, steps } from "./ui.mjs";

const PRESETS = {
  course: [[1, 0, 1], [0, 2, 0], [1, 0, -1]],
  edge: [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]],
  sharpen: [[0, -1, 0], [-1, 5, -1], [0, -1, 0]],
  identity: [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
};

/* Turned upside down and left to right. */
const flipped = (rows) => rows.map((row) => [...row].reverse()).reverse();

function render(context) {
  const w = frame(context, "conv_explorer");
  const { t } = w;
  const turned = (rows) => (w.get("flip") ? flipped(rows) : rows);
  const used = () => turned(w.get("weight"));
  const result = () => toRows(conv2d(fromRows(w.get("x")), fromRows(used()), tensor([1], [w.get("bias")])));
  const places = () => [w.get("x").length - w.get("weight").length + 1, w.get("x")[0].length - w.get("weight")[0].length + 1];
  const index = () => places().map((count, axis) => Math.min(w.get(["row", "col"][axis]), count - 1));

  /* `seen` makes the grid's numbers of the trait's, and, done once more, the trait's of the grid's. */
  const edit = (name, seen = (rows) => rows) => (row, col, value) => {
    w.set({ [name]: seen(replaced(seen(w.get(name)), row, col, value)) });
    update(); // what was typed may have been put back
  };
  const input = new NumberGrid(w, { label: t("input"), role: "input", onedit: edit("x") });
  const filter = new NumberGrid(w, { label: t("filter"), role: "filter", onedit: edit("weight", turned) });
  const output = new NumberGrid(w, { label: t("output"), role: "output", onpick: (row, col) => w.set({ row, col }) });
  const spoken = () => {
    const [row, col] = index();
    return t("at", { row, col, value: number(result()[row][col]) });
  };
  const frameOf = new MovingWindow(w, input, {
    label: t("window"),
    place: () => ({ row: index()[0], col: index()[1], rows: w.get("weight").length, cols: w.get("weight")[0].length }),
    limits: places,
    index,
    move: (row, col) => w.set({ row, col }),
    spoken,
  });
  const sum = h("p", { class: "cw-say cw-sum" });

  const next = () => {
    const { row, col, last } = following(places(), index());
    w.set({ row, col });
    return !last;
  };
  const presets = Object.entries(PRESETS).map(([name, weight]) => button(t(`preset_${name}`), () => w.set({ weight, row: 0, col: 0 })));

  function update() {
    const [x, weight, out, [row, col]] = [w.get("x"), used(), result(), index()];
    const inside = (r, c) => r >= row && c >= col && r < row + weight.length && c < col + weight[0].length;
    const before = (r, c) => r * out[0].length + c <= row * out[0].length + col;
    input.set(x);
    input.mark((r, c) => (inside(r, c) ? "cw-lit" : ""));
    filter.label(t(w.get("flip") ? "filter_flipped" : "filter"));
    filter.set(weight);
    output.set(out.map((line, r) => line.map((value, c) => (before(r, c) ? value : null))));
    output.mark((r, c) => (r === row && c === col ? "cw-here" : before(r, c) ? "" : "cw-empty"));
    frameOf.update();
    const products = weight.flatMap((line, i) =>
      line.flatMap((value, j) => [
        h("span", { class: "cw-in" }, bracketed(x[row + i][col + j])), "·", h("span", { class: "cw-fi" }, bracketed(value)),
        i === weight.length - 1 && j === line.length - 1 ? "" : " + ",
      ])
    );
    const bias = w.get("bias") ? [" + ", bracketed(w.get("bias"))] : [];
    sum.replaceChildren(...products, ...bias, " = ", h("span", { class: "cw-ou" }, number(out[row][col])));
  }

  w.body.append(
    h("div", { class: "cw-row-of" }, input.el, filter.el, output.el),
    sum,
    controls(
      steps(w, next),
      field(w, "bias"),
      check(w, "flip")
    ),
    buttonRow(t("presets"), presets)
  );
  w.watch(["x", "weight", "bias", "row", "col", "flip"], update);
  return w.close;
}

export default { render };
