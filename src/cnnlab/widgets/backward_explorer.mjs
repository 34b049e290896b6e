/* A gradient at an output flows back: into the input's gradient and into the filter's (chapter 07). */

import { col2im, conv2dBackward, convOutputSize, fromRows, linear, tensor, toRows } from "./core.mjs";
import { MovingWindow, NumberGrid, bracketed, button, buttonRow, check, choice, chooser, clamp, controls, following, frame, h, number, replaced, reveal, slider, steps, typed } from "./ui.mjs";

const table = (rows, cols, value) => Array.from({ length: rows }, () => Array(cols).fill(value));
const PLAIN = { stride: 1, padding: 0 };
const COURSE = { ...PLAIN, x: [[1, 0, 2, 1], [2, 1, 0, 3], [0, 3, 1, 1], [1, 2, 0, 2]], weight: [[1, 0, 1], [0, 2, 0], [1, 0, -1]] };
const PRESETS = {
  one: { ...COURSE, grad: [[0, 0], [3, 0]], row: 1 },
  course: { ...COURSE, grad: [[1, -2], [3, -1]], row: 0 },
  ones: { ...PLAIN, x: table(4, 4, 1), weight: table(3, 3, 1), grad: table(2, 2, 1), row: 0 },
  stride: { ...PLAIN, stride: 2, x: table(6, 6, 1), weight: table(3, 3, 1), grad: table(2, 2, 1), row: 0 },
};
const SHOWN = ["x", "weight", "grad", "stride", "padding", "view", "row", "col", "explain", "pixel_row", "pixel_col", "tap_row", "tap_col", "alone"];
const LONG = 16; // terms of a sum; of a longer one, those that are 0 are left out

/* The upper left corner of a table, with 0 where it has nothing. */
const corner = (rows, height, width) =>
  Array.from({ length: height }, (_, r) => Array.from({ length: width }, (_, c) => rows[r]?.[c] ?? 0));
const framed = (rows, P) => {
  const blank = table(P, rows[0].length + 2 * P, 0);
  return [...blank, ...rows.map((line) => [...Array(P).fill(0), ...line, ...Array(P).fill(0)]), ...blank];
};

/* All that is shown, from the state of the model. Images have their padding around them. */
function lookAt(get) {
  const [x, weight, S, P] = ["x", "weight", "stride", "padding"].map((name) => get(name));
  const [H, W, KH, KW] = [x.length, x[0].length, weight.length, weight[0].length];
  const [OH, OW] = [convOutputSize(H, KH, { stride: S, padding: P }), convOutputSize(W, KW, { stride: S, padding: P })];
  const [row, col] = [Math.min(get("row"), OH - 1), Math.min(get("col"), OW - 1)];
  const grad = corner(get("grad"), OH, OW);
  const now = row * OW + col;
  const image = framed(x, P);
  const shape = [1, 1, H + 2 * P, W + 2 * P];
  const used = grad.map((line, m) => line.map((g, n) => (!get("alone") || m * OW + n === now ? g : 0)));
  const back = conv2dBackward(fromRows(used), fromRows(image), fromRows(weight), { stride: S });
  const matrix = linear(tensor([OH * OW, 1], grad.flat()), tensor([KH * KW, 1], weight.flat()));
  const upTo = (values) => tensor(matrix.shape, values.map((value, k) => (k < (now + 1) * KH * KW ? value : 0)));
  const added = (values) => toRows(col2im(upTo(values), shape, [KH, KW], { stride: S }));
  const growing = get("view") === "col2im";
  return {
    x, weight, S, P, H, W, KH, KW, OH, OW, row, col, now, grad, image, growing, matrix: toRows(matrix),
    gradX: growing ? added(matrix.data) : toRows(back.gradX),
    counts: added(matrix.data.map(() => 1)),
    gradWeight: toRows(back.gradWeight),
    g: grad[row][col],
    pixel: [Math.min(get("pixel_row"), H - 1), Math.min(get("pixel_col"), W - 1)],
    tap: [Math.min(get("tap_row"), KH - 1), Math.min(get("tap_col"), KW - 1)],
    /* Which weight meets a pixel of the padded image in the window of an output, or null. */
    meets: ([p, q], m, n) => {
      const [i, j] = [p - m * S, q - n * S];
      return i >= 0 && j >= 0 && i < KH && j < KW ? [i, j] : null;
    },
    outputs: grad.flatMap((line, m) => line.map((g, n) => ({ m, n, g }))),
  };
}

function render(context) {
  const w = frame(context, "backward_explorer");
  const { t } = w;
  let drawn = null; // while drawing, so that nothing is calculated twice
  const look = () => drawn ?? lookAt(w.get);
  const chooseOutput = (row, col) => w.set({ row, col, explain: "output" });
  const setGrad = (value) => {
    const { grad, row, col } = look();
    grad[row][col] = clamp(value, -99, 99);
    w.set({ grad, explain: "output" });
  };
  const toggle = () => setGrad(look().g ? 0 : 1);

  /* --- grids --- */

  const gradient = new NumberGrid(w, { label: t("gradient"), role: "gradient" });
  const spokenOutput = () => `G[${look().row}, ${look().col}] = ${number(look().g)}`;
  const tellGradient = chooser(gradient, {
    index: () => [look().row, look().col],
    choose: chooseOutput,
    spoken: spokenOutput,
    press: toggle,
    click: (m, n) => {
      const { row, col, grad } = look();
      chooseOutput(m, n);
      if ((m === row && n === col) || !grad[m][n]) toggle();
    },
  });
  const typedValue = h("input", { type: "text", inputmode: "decimal", size: 4 });
  typedValue.addEventListener("change", () => {
    const value = typed(typedValue.value);
    if (Number.isNaN(value)) w.say(t("no_number", { text: typedValue.value }));
    else setGrad(value);
    typedValue.value = number(look().g);
  });
  const name = h("span", {});

  const edit = (trait, P = () => 0) => (row, col, value) => {
    w.set({ [trait]: replaced(w.get(trait), row - P(), col - P(), value) });
    update(); // what was typed may have been put back
  };
  const padding = () => w.get("padding");
  const filter = new NumberGrid(w, { label: t("filter"), role: "filter", onedit: edit("weight") });
  const input = new NumberGrid(w, { label: t("input"), role: "input", onedit: edit("x", padding) });
  const frameOf = new MovingWindow(w, input, {
    label: t("window"),
    place: () => {
      const s = look();
      return { row: s.row * s.S, col: s.col * s.S, rows: s.KH, cols: s.KW };
    },
    limits: () => [look().OH, look().OW],
    index: () => [look().row, look().col],
    move: chooseOutput,
    step: () => [w.get("stride"), w.get("stride")],
    spoken: spokenOutput,
  });

  /* A padded image in which a pixel can be chosen; the zeros around it cannot. */
  const choosePixel = (row, col) => {
    const { P, H, W } = look();
    w.set({ pixel_row: clamp(row - P, 0, H - 1), pixel_col: clamp(col - P, 0, W - 1), explain: "pixel" });
  };
  const gradX = new NumberGrid(w, { label: t("grad_x"), role: "gradient" });
  const tellX = chooser(gradX, {
    index: () => look().pixel.map((k) => k + padding()),
    choose: choosePixel,
    spoken: () => pixelSum(look()).text,
  });
  const gradWeight = new NumberGrid(w, { label: t("grad_weight"), role: "gradient" });
  const tellWeight = chooser(gradWeight, {
    index: () => look().tap,
    choose: (row, col) => w.set({ tap_row: row, tap_col: col, explain: "weight" }),
    spoken: () => weightSum(look()).text,
  });
  const matrix = new NumberGrid(w, { label: t("matrix"), role: "gradient" });
  const tapOf = (s) => s.meets(s.pixel.map((k) => k + s.P), s.row, s.col) ?? [0, 0];
  const tellMatrix = chooser(matrix, {
    index: () => [look().now, tapOf(look())[0] * look().KW + tapOf(look())[1]],
    choose: (r, k) => {
      const s = look();
      const [m, n] = [Math.floor(r / s.OW), r % s.OW];
      chooseOutput(m, n);
      choosePixel(m * s.S + Math.floor(k / s.KW), n * s.S + (k % s.KW));
    },
    spoken: () => `${spokenOutput()}, ${pixelSum(look()).text}`,
  });
  const counts = new NumberGrid(w, { label: t("counts"), role: "accent" });

  /* --- sums: {text, nodes} --- */

  const coloured = (kind, value) => h("span", { class: `cw-${kind}` }, value);
  function sumOf(left, terms, kind, total) {
    const kept = terms.length > LONG ? terms.filter(([g]) => g) : terms;
    const nodes = kept.flatMap(([g, value], k) => [
      k ? " + " : "", h("span", { class: "cw-term" }, coloured("gr", bracketed(g)), ...(value === undefined ? [] : ["·", coloured(kind, bracketed(value))])),
    ]);
    if (kept.length < terms.length) nodes.push(" ", t("zeros_left_out"));
    if (kept.length) nodes.push(" = ");
    return { text: `${left} = ${number(total)}`, nodes: [h("b", {}, left), " = ", ...nodes, coloured("gr", number(total))] };
  }
  function pixelSum(s) {
    const at = s.pixel.map((k) => k + s.P);
    const through = s.outputs.map(({ m, n, g }) => ({ m, n, g, tap: s.meets(at, m, n) })).filter(({ tap }) => tap);
    const parts = s.growing
      ? through.filter(({ m, n }) => m * s.OW + n <= s.now).map(({ m, n, tap: [i, j] }) => [s.matrix[m * s.OW + n][i * s.KW + j]])
      : through.filter(({ m, n }) => !w.get("alone") || (m === s.row && n === s.col)).map(({ g, tap: [i, j] }) => [g, s.weight[i][j]]);
    const sum = sumOf(`grad_x[${s.pixel.join(", ")}]`, parts, "fi", s.gradX[at[0]][at[1]]);
    if (!through.length) sum.nodes.push(" ", t("in_none"));
    return sum;
  }
  function weightSum(s) {
    const [i, j] = s.tap;
    const parts = s.outputs
      .filter(({ m, n }) => !w.get("alone") || (m === s.row && n === s.col))
      .map(({ m, n, g }) => [g, s.image[m * s.S + i][n * s.S + j]]);
    return sumOf(`grad_weight[${s.tap.join(", ")}]`, parts, "in", s.gradWeight[i][j]);
  }
  /* The two lines of the loop in the chapter, without the rows and columns of the padding. */
  function outputLines(s) {
    const range = (place, kernel, size) => [Math.max(0, place), Math.min(size, place + kernel)];
    const [top, left] = [s.row * s.S - s.P, s.col * s.S - s.P];
    const [rows, cols] = [range(top, s.KH, s.H), range(left, s.KW, s.W)];
    const part = (ranges) => `[${ranges.map(([from, to]) => `${from}:${to}`).join(", ")}]`;
    const cut = rows[1] - rows[0] < s.KH || cols[1] - cols[0] < s.KW;
    const inside = cut ? part([rows.map((k) => k - top), cols.map((k) => k - left)]) : "";
    const line = (to, from, kind) => h("div", {}, h("b", {}, to), " += ", coloured("gr", bracketed(s.g)), " · ", coloured(kind, from));
    return [
      h("div", {}, t("from_output", { row: s.row, col: s.col, g: number(s.g) })),
      line(`grad_x${part([rows, cols])}`, `weight${inside}`, "fi"),
      line(`grad_weight${inside}`, `x${part([rows, cols])}`, "in"),
    ];
  }
  const written = (sum) => h("div", {}, ...sum.nodes);
  function rowLines(s) {
    const row = s.matrix[s.now].map((value) => number(value)).join(", ");
    const line = h("div", {}, h("b", {}, `G[${s.row}, ${s.col}]`), " · ", coloured("fi", "weight"), " = ", coloured("gr", bracketed(s.g)), " · ", coloured("fi", "weight"), ` = (${row})`);
    return [line, h("div", {}, t("row_added", { row: s.row, col: s.col, done: s.now + 1, all: s.OH * s.OW })), written(pixelSum(s))];
  }

  /* --- drawing --- */

  const classes = (...names) => names.filter(Boolean).join(" ");
  const arrow = (text) => h("span", { class: "cw-arrow" }, text);
  const times = [arrow("× G →"), arrow("× G →")];
  const tall = h("div", { class: "cw-tall" }, h("div", { class: "cw-wide" }, matrix.el));
  const towards = arrow("→");
  const second = h("div", { class: "cw-row-of cw-flow" }, input.el, times[1], gradWeight.el);
  const explain = h("div", { class: "cw-say cw-sum" });

  function drawScatter(s) {
    const about = w.get("explain");
    const met = s.outputs.map(({ m, n }) => [m * s.S + s.tap[0], n * s.S + s.tap[1]]);
    input.set(s.image);
    input.mark((r, c) => classes(
      about === "weight" && met.some(([p, q]) => p === r && q === c) && "cw-lit",
      (r < s.P || c < s.P || r >= s.H + s.P || c >= s.W + s.P) && "cw-pad"
    ));
    input.cells.forEach((line, r) => line.forEach((cell, c) => (cell.firstChild.readOnly = cell.classList.contains("cw-pad"))));
    frameOf.update();
    gradWeight.set(s.gradWeight);
    gradWeight.mark((i, j) => (about === "weight" && i === s.tap[0] && j === s.tap[1] ? "cw-lit" : ""));
    tellWeight();
    const many = w.get("alone") ? `× ${number(s.g)} →` : "× G →";
    for (const node of times) node.textContent = many;
  }

  function drawMatrix(s) {
    const at = s.pixel.map((k) => k + s.P);
    tall.style.setProperty("--taps", s.KH * s.KW);
    matrix.set(s.matrix);
    matrix.caption.textContent = `${t("matrix")}\n(${s.OH * s.OW}, ${s.KH * s.KW})`;
    matrix.mark((r, k) => {
      const tap = s.meets(at, Math.floor(r / s.OW), r % s.OW);
      return classes(tap && tap[0] * s.KW + tap[1] === k && "cw-lit", r === s.now && "cw-line", r > s.now && "cw-later");
    });
    tellMatrix();
    reveal(tall, matrix.cells[s.now][0]);
    counts.set(s.counts);
    counts.mark((r, c) => markImage(s, r, c));
  }

  function markImage(s, r, c) {
    const chosen = r === s.pixel[0] + s.P && c === s.pixel[1] + s.P;
    const stamped = s.meets([r, c], s.row, s.col) && (s.growing || w.get("explain") === "output");
    const pad = r < s.P || c < s.P || r >= s.H + s.P || c >= s.W + s.P;
    return classes(chosen && (s.growing || w.get("explain") === "pixel") && "cw-lit", stamped && "cw-line", pad && "cw-pad cw-dropped");
  }

  function update() {
    const s = (drawn = lookAt(w.get));
    const about = s.growing ? "" : w.get("explain");
    const at = s.pixel.map((k) => k + s.P);
    gradient.set(s.grad);
    gradient.mark((m, n) => classes(
      (about === "weight" || (about === "pixel" && s.meets(at, m, n))) && "cw-lit", m === s.row && n === s.col && "cw-here"
    ));
    tellGradient();
    name.textContent = `G[${s.row}, ${s.col}]`;
    if (document.activeElement !== typedValue) typedValue.value = number(s.g);
    const taps = about === "pixel" ? s.outputs.map(({ m, n }) => s.meets(at, m, n)).filter(Boolean) : about === "weight" ? [s.tap] : [];
    filter.set(s.weight);
    filter.mark((i, j) => (taps.some((tap) => tap[0] === i && tap[1] === j) ? "cw-lit" : ""));
    gradX.label(t(s.growing ? "grad_x_so_far" : "grad_x"));
    gradX.set(s.gradX);
    gradX.mark((r, c) => markImage(s, r, c));
    tellX();
    for (const node of [tall, counts.el, towards]) node.hidden = !s.growing;
    second.hidden = alone.hidden = s.growing;
    if (s.growing) drawMatrix(s);
    else drawScatter(s);
    const lines = { output: () => outputLines(s), pixel: () => [written(pixelSum(s))], weight: () => [written(weightSum(s))] };
    explain.replaceChildren(...(s.growing ? rowLines(s) : lines[about]()));
    drawn = null;
  }

  /* --- controls --- */

  const next = () => {
    const { OH, OW, row: m, col: q } = look();
    const { row, col, last } = following([OH, OW], [m, q]);
    chooseOutput(row, col);
    return !last;
  };
  const stepped = () => {
    next();
    w.say(spokenOutput());
  };
  const alone = check(w, "alone");
  const by = (difference) => button(`${difference < 0 ? "\u2212" : "+"}1`, () => setGrad(look().g + difference));
  const presets = Object.entries(PRESETS).map(([key, values]) => button(t(`preset_${key}`), () => w.set({ ...values, col: 0, explain: "output", alone: false })));
  w.body.append(
    choice(w, "view"),
    h("div", { class: "cw-row-of" },
      h("div", { class: "cw-drop" }, gradient.el, h("div", {}, h("div", { class: "cw-buttons" }, h("label", { class: "cw-field" }, name, typedValue), by(-1), by(1)), h("p", { class: "cw-say" }, t("hint")))),
      h("div", { class: "cw-lines" }, h("div", { class: "cw-row-of cw-flow" }, filter.el, times[0], tall, towards, gradX.el, counts.el), second)
    ),
    explain,
    controls(steps(w, next, { once: stepped }), alone),
    controls(slider(w, "stride"), slider(w, "padding")),
    buttonRow(t("presets"), presets)
  );
  w.watch(SHOWN, update);
  return w.close;
}

export default { render };
