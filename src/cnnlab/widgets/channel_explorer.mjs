/* Which image, which filter and which channels meet in one number of the output (chapter 04). */

import { conv2d, convOutputSize, tensor, toRows } from "./core.mjs";
import { ARROWS, NumberGrid, bracketed, button, buttonRow, choice, chooser, controls, frame, grouped, h, number, slider } from "./ui.mjs";

const PRESETS = {
  one: { N: 1, C: 1, OC: 1, K: 3, H: 6, kind: "all" },
  colour: { N: 1, C: 3, OC: 1, K: 2, H: 6, kind: "all" },
  pointwise: { N: 2, C: 4, OC: 3, K: 1, H: 5, kind: "all" },
  depthwise: { N: 2, C: 3, K: 3, H: 7, kind: "own" },
};
const SHAPE = ["N", "C", "OC", "K", "H", "kind"];
const SEED = 321;
const LEGIBLE = 10; // maps of more columns have no room for numbers

/* --- numbers ------------------------------------------------------------------------------------------ */

/* A whole number that looks random and is always the same at the same place. */
function drawn(low, high, ...place) {
  let mixed = SEED;
  for (const part of place) {
    mixed = Math.imul(mixed ^ (part + 1), 0x85ebca6b);
    mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
    mixed ^= mixed >>> 16;
  }
  return low + ((mixed >>> 0) % (high - low + 1));
}

function filled(shape, value) {
  const made = tensor(shape);
  const place = shape.map(() => 0);
  made.data.forEach((_, p) => {
    made.data[p] = value(...place);
    for (let axis = shape.length - 1; axis >= 0 && ++place[axis] === shape[axis]; axis--) place[axis] = 0;
  });
  return made;
}

/* Images, filters and biases; a place keeps its number when an axis becomes longer. In a depthwise convolution
 * filter o has kept only its channel o. */
export function example({ N, C, OC, K, H, own }) {
  return {
    x: filled([N, C, H, H], (...place) => drawn(0, 3, 1, ...place)),
    weight: filled([OC, own ? 1 : C, K, K], (o, c, i, j) => drawn(-2, 2, 2, o, own ? o : c, i, j)),
    bias: filled([OC], (o) => drawn(-3, 3, 3, o)),
  };
}

/* One of the things along the first axis, as a tensor of which there is 1. */
function part({ data, shape }, k) {
  const size = data.length / shape[0];
  return tensor([1, ...shape.slice(1)], data.subarray(k * size, (k + 1) * size));
}
const plane = (t, k, c) => {
  const { data, shape } = part(t, k);
  return tensor([1, 1, ...shape.slice(2)], data.subarray(c * shape[2] * shape[3], (c + 1) * shape[2] * shape[3]));
};

/* --- blocks ------------------------------------------------------------------------------------------- */

const [LEFT, TOP, DEPTH, GAP] = [33, 20, 5, 6];

/* Channels as sheets side by side, one row of them per image or filter.
 *
 *   names      of rows and columns: n, oc, c
 *   onpick     (row, col): a sheet was pressed
 *   radio      (row, col): each sheet is a radio button of this name; onpick also comes from arrow keys
 */
class Sheets {
  constructor(names, onpick, { radio = null, label }) {
    Object.assign(this, { names, onpick, radio, key: "" });
    this.svg = h("svg", { class: "ce-sheets", role: radio ? "radiogroup" : "img", "aria-label": label });
  }

  /* rows x cols sheets of count x count numbers; with `diagonal`, row r has only sheet r. */
  build(rows, cols, count, diagonal = false) {
    const key = [rows, cols, count, diagonal].join();
    if (key === this.key) return;
    const size = 24 + 1.2 * count;
    const pitch = size + DEPTH + GAP;
    Object.assign(this, { key, rows, cols, unit: size / count });
    const [width, height] = [LEFT + cols * pitch, TOP + rows * pitch];
    for (const [name, value] of Object.entries({ width, height, viewBox: `0 0 ${width} ${height}` })) this.svg.setAttribute(name, value);
    const text = (x, y, words, anchor) => h("text", { x, y, "text-anchor": anchor, "aria-hidden": "true" }, words);
    this.cells = Array.from({ length: rows }, (_, row) =>
      Array.from({ length: cols }, (_, col) => (diagonal && row !== col ? null : this._sheet(row, col, size, pitch, count)))
    );
    this.svg.replaceChildren(
      ...Array.from({ length: cols }, (_, col) => text(LEFT + col * pitch + size / 2, 12, `${this.names[1]}=${col}`, "middle")),
      ...Array.from({ length: rows }, (_, row) => text(0, TOP + row * pitch + DEPTH + size / 2 + 4, `${this.names[0]}=${row}`, "start")),
      ...this.cells.flat().filter((cell) => cell)
    );
  }

  _sheet(row, col, size, pitch, count) {
    const lines = Array.from({ length: count <= LEGIBLE ? count - 1 : 0 }, (_, k) => {
      const at = ((k + 1) * size) / count;
      return `M${at} 0v${size}M0 ${at}h${size}`;
    });
    const sheet = h(
      "g",
      { class: "ce-sheet", transform: `translate(${LEFT + col * pitch} ${TOP + row * pitch + DEPTH})` },
      h("rect", { class: "ce-reach", x: -GAP / 2, y: -DEPTH - GAP / 2, width: pitch, height: pitch }),
      h("path", { class: "ce-edge", d: `M0 0l${DEPTH} ${-DEPTH}h${size}v${size}l${-DEPTH} ${DEPTH}M${size} 0l${DEPTH} ${-DEPTH}` }),
      h("rect", { class: "ce-front", width: size, height: size }),
      h("path", { class: "ce-lines", d: lines.join("") }),
      h("rect", { class: "ce-frame" })
    );
    sheet.addEventListener("click", () => this.onpick(row, col));
    if (this.radio) {
      for (const [name, value] of Object.entries({ role: "radio", "aria-label": this.radio(row, col) })) sheet.setAttribute(name, value);
      sheet.addEventListener("keydown", (event) => this._key(event, row, col));
    }
    return sheet;
  }

  _key(event, row, col) {
    const way = ARROWS[event.key];
    if (!way) return;
    event.preventDefault();
    const next = this.cells[row + way[0]]?.[col + way[1]];
    if (!next) return;
    this.onpick(row + way[0], col + way[1]);
    next.setAttribute("tabindex", 0); // the next frame sets the others
    next.focus();
  }

  /* Lights the sheets for which `test(row, col)` holds, with a frame of `span` cells at (top, left) on each. */
  light(test, top, left, span) {
    this.cells.forEach((line, row) =>
      line.forEach((sheet, col) => {
        if (!sheet) return;
        const lit = test(row, col);
        sheet.classList.toggle("ce-lit", lit);
        if (this.radio) {
          sheet.setAttribute("aria-checked", lit);
          sheet.setAttribute("tabindex", lit ? 0 : -1);
        }
        const place = { x: left, y: top, width: span, height: span };
        for (const [name, value] of Object.entries(place)) sheet.lastChild.setAttribute(name, value * this.unit);
      })
    );
  }
}

/* --- the widget --------------------------------------------------------------------------------------- */

function render(context) {
  const w = frame(context, "channel_explorer");
  const { t, get } = w;
  const own = () => get("kind") === "own";

  /* All sizes, and the chosen number, which may have to move where there are fewer. */
  const state = () => {
    const [N, C, K, H] = ["N", "C", "K", "H"].map(get);
    const OC = own() ? C : get("OC");
    const O = convOutputSize(H, K);
    const [n, oc, row, col] = [["n", N], ["oc", OC], ["row", O], ["col", O]].map(([name, count]) => Math.min(get(name), count - 1));
    return { N, C, OC, K, H, O, n, oc, row, col, own: own() };
  };

  const input = new Sheets(["n", "c"], (n) => w.set({ n }), { label: t("input") });
  const filter = new Sheets(["oc", "c"], (oc) => w.set({ oc }), { label: t("filter") });
  const output = new Sheets(["n", "oc"], (n, oc) => w.set({ n, oc }), {
    label: t("pick"),
    radio: (n, oc) => t("map", { n, oc }),
  });
  const map = new NumberGrid(w, { label: "", role: "output" });
  map.cellsBox.setAttribute("aria-description", t("place"));
  let value = 0;
  const tell = chooser(map, {
    index: () => [state().row, state().col],
    choose: (row, col) => w.set({ row, col }),
    spoken: () => t("at", { row: state().row, col: state().col, value: number(value) }),
  });
  const meetings = Array.from({ length: w.spec.C.max }, () => meeting(w));
  const explain = h("p", { class: "cw-say" });
  const sum = h("p", { class: "cw-say cw-sum" });
  const counts = countsOf(w);
  const captions = { input: h("p"), filter: h("p"), output: h("p") };
  const follows = h("p", { class: "ce-note" });
  const block = (symbol, role, sheets, note) =>
    h("div", { class: "ce-term" }, symbol && h("span", {}, symbol), h("div", { class: `cw-role-${role}` }, captions[role], sheets.svg, note));

  const filters = slider(w, "OC");
  const sliders = controls(slider(w, "N"), slider(w, "C"), filters, slider(w, "K"), slider(w, "H"));
  /* What the slider in use is a part of, is marked in every shape and formula. */
  for (const event of ["input", "focusin", "pointerdown"])
    sliders.addEventListener(event, ({ target }) => {
      const name = target.closest("label")?.querySelector("input").dataset.trait;
      if (name) w.root.dataset.moved = name;
    });

  function shapes() {
    const s = state();
    input.build(s.N, s.C, s.H);
    filter.build(s.OC, s.C, s.K, s.own);
    output.build(s.N, s.OC, s.O);
    filters.hidden = s.own;
    follows.textContent = t(`follows_${get("kind")}`, { C: s.C });
    captions.input.replaceChildren(`${t("input")} x`, ...axes(s, "N", "C", "H", "W"));
    captions.filter.replaceChildren(`${t("filter")} w`, ...axes(s, "OC", s.own ? "1" : "C", "K", "K"));
    captions.output.replaceChildren(`${t("output")} out`, ...axes(s, "N", "OC", "OH", "OW"));
    counts.update(s);
  }

  function numbers() {
    const s = state();
    const { n, oc, row, col, K } = s;
    const { x, weight, bias } = example(s);
    const seen = s.own ? [oc] : Array.from({ length: s.C }, (_, c) => c);
    const image = s.own ? plane(x, n, oc) : part(x, n);
    const found = toRows(conv2d(image, part(weight, oc), tensor([1], [bias.data[oc]])));
    value = found[row][col];
    input.light((r, c) => r === n && seen.includes(c), row, col, K);
    filter.light((r) => r === oc, 0, 0, K);
    output.light((r, c) => r === n && c === oc, row, col, 1);
    map.label(`out[${n}, ${oc}]`);
    map.set(s.O <= LEGIBLE ? found : found.map((line, r) => line.map((v, c) => (r === row && c === col ? v : null))));
    map.mark((r, c) => (r === row && c === col ? "cw-lit cw-here" : ""));
    tell();
    explain.textContent = t(`explain_${get("kind")}`, { n, oc, row, col });
    const partial = meetings.map((meet, k) => {
      meet.el.hidden = k >= seen.length;
      if (k >= seen.length) return null;
      const window = toRows(plane(x, n, seen[k])).slice(row, row + K).map((line) => line.slice(col, col + K));
      return meet.update(window, toRows(plane(weight, oc, s.own ? 0 : seen[k])), n, oc, seen[k], s.own);
    });
    sum.replaceChildren(
      `out[${n}, ${oc}, ${row}, ${col}] = `,
      ...partial.slice(0, seen.length).flatMap((v) => [h("b", {}, bracketed(v)), " + "]),
      h("span", { class: "cw-fi" }, `${t("bias")} ${bracketed(bias.data[oc])}`),
      " = ", h("span", { class: "cw-ou" }, number(value))
    );
  }

  const presets = Object.entries(PRESETS).map(([name, values]) => button(t(`preset_${name}`), () => w.set({ ...values, n: 0, oc: 0, row: 0, col: 0 })));
  const blocks = [
    block(null, "input", input),
    block("∗", "filter", filter, follows),
    block("→", "output", output, h("p", { class: "ce-note" }, t("hint"))),
  ];
  w.body.append(
    buttonRow(t("presets"), presets),
    sliders,
    controls(choice(w, "kind")),
    h("div", { class: "ce-blocks" }, ...blocks),
    h("div", { class: "cw-row-of" }, map.el, h("div", { class: "ce-meetings" }, explain, ...meetings.map((meet) => meet.el))),
    sum,
    counts.el
  );
  w.watch(SHAPE, shapes);
  w.watch([...SHAPE, "n", "oc", "row", "col"], numbers);
  return w.close;
}

/* A channel of the window, the filter's channel for it, and their products' sum. */
function meeting(w) {
  const input = new NumberGrid(w, { label: "", role: "input" });
  const filter = new NumberGrid(w, { label: "", role: "filter" });
  const result = h("b", { class: "ce-partial" });
  const el = h("div", { class: "ce-meeting" }, input.el, h("span", {}, "∗"), filter.el, h("span", {}, "="), result);
  const update = (window, weight, n, oc, c, own) => {
    input.label(`x[${n}, ${c}]`);
    filter.label(`w[${oc}, ${own ? 0 : c}]`);
    input.set(window);
    filter.set(weight);
    const [[value]] = toRows(conv2d(tensor([1, 1, window.length, window.length], window.flat()), tensor([1, 1, weight.length, weight.length], weight.flat())));
    result.textContent = number(value);
    return value;
  };
  return { el, update };
}

/* A letter or its number, marked while the slider of one of `of` is in use. */
const factor = (text, ...of) => h("span", { class: "ce-factor", "data-of": of.join(" ") }, text);
const PARTS = { N: ["N"], C: ["C"], OC: ["OC"], K: ["K"], H: ["H"], W: ["H"], OH: ["H", "K"], OW: ["H", "K"], 1: [] };

function partsOf(s, own) {
  const numbers = { N: s.N, C: s.C, OC: s.OC, K: s.K, H: s.H, W: s.H, OH: s.O, OW: s.O, 1: 1 };
  const of = (name) => (own && name === "OC" ? ["C"] : PARTS[name]);
  return { letter: (name) => factor(name, ...of(name)), digit: (name) => factor(numbers[name], ...of(name)) };
}

const joined = (nodes, between) => nodes.flatMap((node, k) => (k ? [between, node] : [node]));

/* (N, C, H, W) and below it (2, 3, 6, 6) */
function axes(s, ...names) {
  const { letter, digit } = partsOf(s, s.own);
  const tuple = (how) => h("span", { class: "ce-shape" }, "(", ...joined(names.map(how), ", "), ")");
  return [tuple(letter), tuple(digit)];
}

/* The output's size, the parameters and the multiply-adds, in letters and in numbers. */
function countsOf(w) {
  const lines = { side: h("dd"), parameters: h("dd"), multiply_adds: h("dd") };
  const el = h("dl", { class: "ce-counts cw-say" }, Object.entries(lines).flatMap(([name, line]) => [h("dt", {}, w.t(`count_${name}`)), line]));
  let before = "";
  const update = (s) => {
    const { letter, digit } = partsOf(s, s.own);
    const seen = s.own ? "1" : "C";
    const weights = ["OC", seen, "K", "K"];
    const work = ["N", "OC", "OH", "OW", seen, "K", "K"];
    const product = (names, how) => joined(names.map(how), "×");
    const parameters = s.OC * (s.own ? 1 : s.C) * s.K * s.K + s.OC;
    const operations = s.N * s.O * s.O * (parameters - s.OC);
    const total = (count) => h("span", { class: "ce-total" }, grouped(count));
    lines.side.replaceChildren(
      letter("OH"), " = ", letter("OW"), " = ", letter("H"), " − ", letter("K"), " + 1 = ", digit("H"), " − ", digit("K"), " + 1 = ", total(s.O)
    );
    lines.parameters.replaceChildren(
      ...product(weights, letter), " + ", letter("OC"), " = ", ...product(weights, digit), " + ", digit("OC"), " = ", total(parameters)
    );
    lines.multiply_adds.replaceChildren(...product(work, letter), " = ", ...product(work, digit), " = ", total(operations));
    const text = `${w.t("count_parameters")} ${parameters}, ${w.t("count_multiply_adds")} ${operations}`;
    if (before && before !== text) w.say(text);
    before = text;
  };
  return { el, update };
}

export default { render };
