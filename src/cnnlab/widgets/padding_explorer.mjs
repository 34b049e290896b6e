/* Where windows fit, and what the formula of the output size counts (chapter 03). */

import { col2im, conv2d, convOutputSize, fromRows, span, tensor, toRows } from "./core.mjs";
import { MovingWindow, NumberGrid, button, check, controls, following, frame, h, number, slider, steps } from "./ui.mjs";

/* Each of the numbers has its letter of the formula and its colour. */
const LOOK = { size: ["H", "cw-in"], kernel: ["K", "cw-fi"], stride: ["S", "pe-stride"], padding: ["P", "pe-padding"], dilation: ["D", "cw-gr"] };
const NAMES = Object.keys(LOOK);
const PRESETS = {
  valid: [6, 3, 1, 0, 1],
  same: [6, 3, 1, 1, 1],
  stride: [7, 3, 2, 0, 1],
  remainder: [8, 3, 2, 0, 1],
  dilation: [7, 3, 1, 0, 2],
  nowhere: [3, 5, 1, 0, 1],
};

const square = (length, value) => Array.from({ length }, (_, r) => Array.from({ length }, (_, c) => value(r, c)));
const PICTURE = square(12, (r, c) => 1 + ((r * r + 2 * c + r * c) % 4)); // no zeros: those are the padding
const times = (count, make) => Array.from({ length: count }, (_, k) => make(k));

/* What the five numbers lead to. */
function geometryOf({ size, kernel, stride, padding, dilation }) {
  const padded = size + 2 * padding;
  const reach = span(kernel, dilation);
  const out = convOutputSize(size, kernel, { stride, padding, dilation });
  const inside = (r, c) => Math.min(r, c) >= padding && Math.max(r, c) < size + padding;
  const x = fromRows(PICTURE.slice(0, size).map((row) => row.slice(0, size)));
  const ones = fromRows(square(kernel, () => 1));
  const windows = { shape: [out * out, kernel * kernel], data: new Float32Array((out * kernel) ** 2).fill(1) };
  return {
    padded, reach, out, inside,
    over: out * stride + reach - padded, // columns by which the next window sticks out
    values: square(padded, (r, c) => (inside(r, c) ? PICTURE[r - padding][c - padding] : 0)),
    uses: out ? toRows(col2im(windows, [1, 1, padded, padded], kernel, { stride, dilation })) : square(padded, () => 0),
    sums: out ? toRows(conv2d(x, ones, tensor([1]), { stride, padding, dilation })) : [],
  };
}

/* The formula with the numbers put in, line by line. */
function formula(values, { padded, reach, out }) {
  const coloured = (name, text = number(values[name])) => h("span", { class: LOOK[name][1] }, text);
  const [H, K, S, P, D] = NAMES.map((name) => coloured(name, LOOK[name][0]));
  const [size, kernel, stride, padding, dilation] = NAMES.map((name) => coloured(name));
  const quotient = (padded - reach) / values.stride;
  const whole = Math.floor(quotient);
  const rounded = number(quotient) + (Number(quotient.toFixed(2)) === quotient ? "" : "…");
  const total = h("span", { class: out ? "cw-ou" : "cw-warn" }, number(whole + 1));
  return [
    ["⌊(", H, " + 2", P, " − (", D, "(", K, " − 1) + 1)) / ", S, "⌋ + 1"],
    ["= ⌊(", size, " + 2·", padding, " − (", dilation, "·(", kernel, " − 1) + 1)) / ", stride, "⌋ + 1"],
    ["= ⌊(", coloured("size", padded), " − ", coloured("kernel", reach), ") / ", coloured("stride"), "⌋ + 1"],
    ["= ⌊", rounded, "⌋ + 1 = ", number(whole), " + 1 = ", total],
  ].map((line) => h("p", {}, ...line));
}

function render(context) {
  const w = frame(context, "padding_explorer");
  const { t } = w;
  const values = () => Object.fromEntries(NAMES.map((name) => [name, w.get(name)]));
  let now = geometryOf(values());
  const places = () => Math.max(now.out, 1);
  const index = () => ["row", "col"].map((axis) => Math.min(w.get(axis), places() - 1));

  const input = new NumberGrid(w, { label: t("input"), role: "input" });
  const output = new NumberGrid(w, { label: t("output"), role: "output", onpick: (row, col) => w.set({ row, col }) });
  const begins = () => index().map((k) => k * w.get("stride"));
  const windowOf = new MovingWindow(w, input, {
    label: t("window"),
    place: () => ({ row: begins()[0], col: begins()[1], rows: now.reach, cols: now.reach }),
    limits: () => [places(), places()],
    index,
    step: () => [w.get("stride"), w.get("stride")],
    move: (row, col) => w.set({ row, col }),
    spoken: () => (now.out ? t("at", { row: index()[0], col: index()[1], value: number(now.sums[index()[0]][index()[1]]) }) : t("none", now)),
  });
  /* The first window that does not fit, and the numbers of those that do, where each begins. */
  const beyond = h("div", { class: "pe-beyond" });
  const ticks = ["across", "down"].map((way) => h("div", { class: `pe-ticks pe-${way}`, "aria-hidden": "true" }));
  windowOf.holder.append(beyond, ...ticks);
  const where = h("p", { class: "cw-say cw-sum" });
  const notes = h("div", { class: "cw-say" });
  const lines = h("div", { class: "cw-say pe-formula" });
  const row = h("div", { class: "cw-row-of pe-grids" }, input.el, output.el);

  const next = () => {
    const { row, col, last } = following([places(), places()], index());
    w.set({ row, col });
    return !last;
  };

  function update() {
    now = geometryOf(values());
    const { out, padded, over, reach } = now;
    const [m, q] = index();
    const { size, stride, padding, dilation } = values();
    const [top, left] = begins();
    const tap = (r, c) => out > 0 && [r - top, c - left].every((k) => k >= 0 && k < reach && k % dilation === 0);
    row.style.setProperty("--wide", padded + over);
    row.style.setProperty("--out", Math.max(out, 1));
    row.style.setProperty("--over", over);
    row.style.setProperty("--below", out ? 0 : over);

    input.label(`${t("input")} ${size}×${size}${padding ? ` → ${padded}×${padded}` : ""}${out ? ` (${t("ticks")})` : ""}`);
    input.set(w.get("counts") ? now.uses.map((line, r) => line.map((count, c) => (now.inside(r, c) ? count : null))) : now.values);
    input.mark((r, c) => [tap(r, c) ? "cw-lit" : "", now.inside(r, c) ? "" : "cw-pad", now.uses[r][c] || !out ? "" : "pe-lost"].join(" "));
    output.label(`${t("output")} ${out}×${out}`);
    output.set(now.sums);
    output.mark((r, c) => (r === m && c === q ? "cw-here" : ""));
    output.cellsBox.hidden = !out;
    windowOf.el.hidden = !out;
    windowOf.update();
    for (const [name, value] of Object.entries({ row: out ? top : 0, col: out * stride, rows: reach, cols: reach })) beyond.style.setProperty(`--w-${name}`, value);
    ticks.forEach((box, axis) =>
      box.replaceChildren(
        ...times(out, (k) => h("span", { class: k === [q, m][axis] ? "pe-tick pe-on" : "pe-tick", style: `--at:${k * stride}` }, String(k))),
        ...(axis ? [] : [h("span", { class: "pe-tick cw-warn", style: `--at:${out * stride}` }, "×")])
      )
    );
    lines.replaceChildren(...formula(values(), now));
    explain();
  }

  /* The window in words: where it begins, and the numbers that it adds. */
  function explain() {
    const { out, over, reach, padded, uses, sums } = now;
    const [m, q] = index();
    const { kernel, stride, padding, dilation } = values();
    const taken = times(kernel, (i) => times(kernel, (j) => now.values[m * stride + i * dilation]?.[q * stride + j * dilation])).flat();
    const begin = (name, k) =>
      h("span", { class: "pe-begin" }, `${name} ${k}·`, h("span", { class: "pe-stride" }, stride), " − ", h("span", { class: "pe-padding" }, padding), ` = ${number(k * stride - padding)}`);
    where.hidden = !out;
    if (out)
      where.replaceChildren(
        h("span", { class: "cw-ou" }, t("begins", { row: m, col: q })), " ", begin(t("row_at"), m), " ", begin(t("col_at"), q),
        ...(w.get("counts") ? [] : [h("br"), t("ones"), " ", h("span", { class: "cw-in" }, taken.join(" + ")), " = ", h("span", { class: "cw-ou" }, number(sums[m][q]))])
      );
    const missed = uses.flat().filter((count, p) => !count && now.inside(Math.floor(p / padded), p % padded)).length;
    notes.replaceChildren(
      ...(out
        ? [h("p", {}, t("beyond", { over })), missed ? h("p", { class: "cw-warn" }, t("missed", { count: missed })) : h("p", {}, t("all_used"))]
        : [h("p", { class: "cw-warn" }, t("none", { reach, padded }))])
    );
  }

  const sliders = NAMES.map((name) => {
    const label = slider(w, name);
    label.firstChild.append(" ", h("span", { class: LOOK[name][1] }, LOOK[name][0]));
    return label;
  });
  const presets = Object.entries(PRESETS).map(([name, numbers]) =>
    button(t(`preset_${name}`), () => w.set({ ...Object.fromEntries(NAMES.map((key, k) => [key, numbers[k]])), row: 0, col: 0 }))
  );
  w.body.append(
    h("div", { class: "cw-buttons" }, h("span", {}, t("presets")), ...presets),
    h("div", { class: "pe-sliders" }, ...sliders),
    row,
    controls(steps(w, next, { interval: 700 }), check(w, "counts")),
    where,
    notes,
    h("div", {}, h("p", { class: "cw-caption pe-size" }, t("formula")), lines)
  );
  w.watch([...NAMES, "row", "col", "counts"], update);
  return w.close;
}

export default { render };
