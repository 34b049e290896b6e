/* Windows become the rows of a matrix; convolution becomes a matrix product (chapter 06). */

import { col2im, convOutputSize, im2col, linear, tensor, toRows } from "./core.mjs";
import { MovingWindow, NumberGrid, bracketed, button, buttonRow, check, chooser, clamp, controls, following, frame, h, number, reveal, slider, steps } from "./ui.mjs";

const PRESETS = {
  chapter: { size: 3, kernel: 2, stride: 1, padding: 0, channels: 1 },
  same: { size: 4, kernel: 3, stride: 1, padding: 1, channels: 1 },
  apart: { size: 6, kernel: 2, stride: 2, padding: 0, channels: 1 },
  channels: { size: 4, kernel: 2, stride: 1, padding: 0, channels: 2 },
};
const SIZES = ["size", "kernel", "stride", "padding", "channels"];
const SHOWN = [...SIZES, "x", "x1", "weight", "weight1", "row", "col", "channel", "pixel_row", "pixel_col", "copies"];

/* The upper left corner of a table, with 0 where it has nothing. */
const corner = (rows, height, width) =>
  Array.from({ length: height }, (_, r) => Array.from({ length: width }, (_, c) => rows[r]?.[c] ?? 0));
const framed = (rows, P) => {
  const width = rows[0].length + 2 * P;
  const blank = () => Array.from({ length: P }, () => Array(width).fill(0));
  return [...blank(), ...rows.map((line) => [...Array(P).fill(0), ...line, ...Array(P).fill(0)]), ...blank()];
};

/* All that is shown, from the state of the model. */
function lookAt(get) {
  const [stride, padding, C] = [get("stride"), get("padding"), get("channels")];
  const [H, W] = [get("x").length, get("x")[0].length].map((length) => Math.min(length, get("size")));
  const [KH, KW] = [get("weight").length, get("weight")[0].length].map((length) => Math.min(length, get("kernel")));
  const planes = ["x", "x1"].slice(0, C).map((name) => corner(get(name), H, W));
  const filters = ["weight", "weight1"].slice(0, C).map((name) => corner(get(name), KH, KW));
  const [OH, OW] = [convOutputSize(H, KH, { stride, padding }), convOutputSize(W, KW, { stride, padding })];
  const matrix = im2col(tensor([1, C, H, W], planes.flat(2)), [KH, KW], { stride, padding });
  const vector = tensor([1, C * KH * KW], filters.flat(2));
  const product = linear(matrix, vector);
  const counts = col2im(tensor(matrix.shape, matrix.data.map(() => 1)), [1, C, H, W], [KH, KW], { stride, padding });
  const [row, col] = [Math.min(get("row"), OH - 1), Math.min(get("col"), OW - 1)];
  const chosen = {
    channel: Math.min(get("channel"), C - 1),
    row: clamp(get("pixel_row"), -padding, H - 1 + padding),
    col: clamp(get("pixel_col"), -padding, W - 1 + padding),
  };
  /* Which pixel stands at a place of the matrix, and where in the row of a window a pixel stands, or -1. */
  const pixelAt = (r, q) => ({
    channel: Math.floor(q / (KH * KW)),
    row: Math.floor(r / OW) * stride - padding + (Math.floor(q / KW) % KH),
    col: (r % OW) * stride - padding + (q % KW),
  });
  const placeIn = (r, pixel) => {
    const [i, j] = [pixel.row - Math.floor(r / OW) * stride + padding, pixel.col - (r % OW) * stride + padding];
    return i >= 0 && j >= 0 && i < KH && j < KW ? (pixel.channel * KH + i) * KW + j : -1;
  };
  const inside = chosen.row >= 0 && chosen.col >= 0 && chosen.row < H && chosen.col < W;
  const windows = Array.from({ length: OH * OW }, (_, r) => r).filter((r) => placeIn(r, chosen) >= 0);
  return {
    stride, padding, C, H, W, KH, KW, OH, OW, planes, filters, matrix, vector, product, counts, row, col, chosen, inside,
    windows, pixelAt, placeIn, now: row * OW + col, value: inside ? planes[chosen.channel][chosen.row][chosen.col] : 0,
  };
}

function render(context) {
  const w = frame(context, "im2col_explorer");
  const { t } = w;
  let drawn = null; // while drawing, so that nothing is calculated twice
  const look = () => drawn ?? lookAt(w.get);
  const goTo = (r, OW) => w.set({ row: Math.floor(r / OW), col: r % OW });
  const choosePixel = ({ channel, row, col }) => w.set({ channel, pixel_row: row, pixel_col: col });

  /* --- the input and the filter, one pair per channel --- */

  const named = (s, name, channel) => (s.C > 1 ? t("in_channel", { name, channel }) : name);
  const placeName = (s) => named(s, t("cell", s.chosen), s.chosen.channel);
  const spokenPixel = (s) =>
    t(s.inside ? "pixel_at" : "pad_at", { place: placeName(s), value: number(s.value), count: s.windows.length });
  const spokenWindow = () => {
    const s = look();
    return t("window_at", { row: s.row, col: s.col, r: s.now, value: number(s.product.data[s.now]) });
  };
  const channels = [0, 1].map((channel) => {
    const image = new NumberGrid(w, { label: t("input"), role: "input" });
    const tell = chooser(image, {
      index: () => [look().chosen.row + w.get("padding"), look().chosen.col + w.get("padding")],
      choose: (row, col) => choosePixel({ channel, row: row - w.get("padding"), col: col - w.get("padding") }),
      spoken: () => spokenPixel(look()),
    });
    const window = new MovingWindow(w, image, {
      label: t("window"),
      place: () => {
        const s = look();
        return { row: s.row * s.stride, col: s.col * s.stride, rows: s.KH, cols: s.KW };
      },
      limits: () => [look().OH, look().OW],
      index: () => [look().row, look().col],
      move: (row, col) => w.set({ row, col }),
      step: () => [w.get("stride"), w.get("stride")],
      spoken: spokenWindow,
    });
    if (channel) {
      window.el.removeAttribute("tabindex"); // one stop is enough: both move together
      window.el.setAttribute("aria-hidden", true);
    }
    const name = channel ? "weight1" : "weight";
    const weights = new NumberGrid(w, {
      label: t("filter"), role: "filter",
      onedit: (row, col, value) => {
        const rows = structuredClone(w.get(name));
        if (rows[row]) rows[row][col] = value ?? rows[row][col] ?? 0;
        w.set({ [name]: rows });
        update(); // what was typed may have been put back
      },
    });
    return { image, tell, window, weights };
  });

  /* --- the product --- */

  const matrix = new NumberGrid(w, { label: t("matrix"), role: "input" });
  const tellMatrix = chooser(matrix, {
    index: () => [look().now, Math.max(0, look().placeIn(look().now, look().chosen))],
    choose: (r, q) => {
      choosePixel(look().pixelAt(r, q));
      goTo(r, look().OW);
    },
    spoken: () => t("entry_at", { r: look().now, q: Math.max(0, look().placeIn(look().now, look().chosen)), pixel: spokenPixel(look()) }),
  });
  const vector = new NumberGrid(w, { label: t("vector"), role: "filter" });
  const product = new NumberGrid(w, { label: t("product"), role: "output" });
  const output = new NumberGrid(w, { label: t("output"), role: "output", onpick: (row, col) => w.set({ row, col }) });
  const wide = h("div", { class: "cw-wide" }, matrix.el);
  const tall = h("div", { class: "cw-tall" }, wide, h("span", {}, "@"), vector.el, h("span", {}, "="), product.el);

  const sum = h("p", { class: "cw-say cw-sum" });
  const copies = h("p", { class: "cw-say" });
  const memory = h("div", { class: "cw-say cw-memory" });

  const next = () => {
    const { OH, OW, row: m, col: q } = look();
    const { row, col, last } = following([OH, OW], [m, q]);
    w.set({ row, col });
    return !last;
  };
  const stepped = () => {
    next();
    w.say(spokenWindow());
  };

  /* --- drawing --- */

  function drawChannel({ image, tell, window, weights }, channel, s) {
    const shown = channel < s.C;
    for (const grid of [image, weights]) grid.el.hidden = !shown;
    if (!shown) return;
    const pad = (r, c) => r < s.padding || c < s.padding || r >= s.H + s.padding || c >= s.W + s.padding;
    const here = (r, c) => channel === s.chosen.channel && r === s.chosen.row + s.padding && c === s.chosen.col + s.padding;
    const counts = toRows(s.counts); // the same in all channels
    image.label(named(s, t(w.get("copies") ? "input_copies" : "input"), channel));
    image.set(framed(w.get("copies") ? counts : s.planes[channel], s.padding));
    image.mark((r, c) => [here(r, c) && "cw-lit", pad(r, c) && "cw-pad"].filter(Boolean).join(" "));
    window.update();
    tell();
    weights.label(named(s, t("filter"), channel));
    weights.set(s.filters[channel]);
    weights.mark((i, j) => (s.placeIn(s.now, s.chosen) === (channel * s.KH + i) * s.KW + j ? "cw-lit" : ""));
  }

  function drawProduct(s) {
    const tap = s.placeIn(s.now, s.chosen);
    const places = s.windows.map((r) => s.placeIn(r, s.chosen));
    const lit = (r) => places[s.windows.indexOf(r)];
    const done = (r) => r <= s.now;
    matrix.set(toRows(s.matrix));
    matrix.mark((r, q) => {
      const { row, col } = s.pixelAt(r, q);
      const pad = row < 0 || col < 0 || row >= s.H || col >= s.W;
      const split = q && q % (s.KH * s.KW) === 0;
      return [lit(r) === q && "cw-lit", r === s.now && "cw-line", pad && "cw-pad", split && "cw-split"].filter(Boolean).join(" ");
    });
    matrix.caption.textContent = `${t("matrix")} (${s.matrix.shape.join(", ")})`;
    tellMatrix();
    vector.set(Array.from(s.vector.data, (value) => [value]));
    vector.mark((q) => (q === tap ? "cw-lit" : ""));
    vector.caption.textContent = `(${s.vector.data.length}, 1)`;
    product.set(Array.from(s.product.data, (value, r) => [done(r) ? value : null]));
    product.mark((r) => (r === s.now ? "cw-here" : done(r) ? "" : "cw-empty"));
    product.caption.textContent = `(${s.product.data.length}, 1)`;
    output.set(Array.from({ length: s.OH }, (_, m) => Array.from({ length: s.OW }, (_, n) => (done(m * s.OW + n) ? s.product.data[m * s.OW + n] : null))));
    output.mark((m, n) => {
      const r = m * s.OW + n;
      return [s.windows.includes(r) && "cw-lit", r === s.now ? "cw-here" : !done(r) && "cw-empty"].filter(Boolean).join(" ");
    });
    output.caption.textContent = `${t("output")} = reshape(${s.OH}, ${s.OW})`;
    reveal(tall, product.cells[s.now][0]);
    reveal(wide, matrix.cells[s.now][Math.max(0, tap)]);
  }

  function write(s) {
    const width = s.vector.data.length;
    const tap = s.placeIn(s.now, s.chosen);
    const products = Array.from(s.vector.data, (value, q) => [
      h("span", { class: q === tap ? "cw-term cw-lit" : "cw-term" },
        h("span", { class: "cw-in" }, bracketed(s.matrix.data[s.now * width + q])), "·", h("span", { class: "cw-fi" }, bracketed(value))),
      q < width - 1 ? " + " : " = ",
    ]);
    sum.replaceChildren(...products.flat(), h("span", { class: "cw-ou" }, number(s.product.data[s.now])));
    const list = s.windows.map((r) => h("span", { class: "cw-term" }, `(${Math.floor(r / s.OW)}, ${r % s.OW})`));
    copies.replaceChildren(
      h("span", { class: "cw-term cw-lit" }, number(s.value)), " ",
      spokenPixel(s), " ", t(list.length ? "in_windows" : "in_none"), ...list.flatMap((window) => [" ", window])
    );

    // No filter that the sliders offer copies a pixel more than 9 times, so 9 times the input is all the width.
    const [numbers, pixels, rows] = [s.matrix.data.length, s.C * s.H * s.W, s.product.data.length];
    const shape = (...lengths) => lengths.filter((length, axis) => axis || length > 1).join("×");
    const bar = (name, count) => h("div", { class: "cw-bar", style: `width: ${(100 * count) / (9 * pixels)}%`, title: name });
    memory.replaceChildren(
      h("span", {}, t("memory_input", { shape: shape(s.C, s.H, s.W), pixels })), bar(t("input"), pixels),
      h("span", {}, t("memory_matrix", { rows, width, numbers })), bar(t("matrix"), numbers),
      h("b", {}, t("factor", { numbers, pixels, factor: number(numbers / pixels) }))
    );
  }

  function update() {
    const s = (drawn = lookAt(w.get));
    tall.style.setProperty("--taps", s.vector.data.length);
    channels.forEach((parts, channel) => drawChannel(parts, channel, s));
    drawProduct(s);
    write(s);
    drawn = null;
  }

  const presets = Object.entries(PRESETS).map(([name, values]) => button(t(`preset_${name}`), () => w.set({ ...values, row: 0, col: 0, channel: 0, pixel_row: 1, pixel_col: 1 })));
  w.body.append(
    h("div", { class: "cw-row-of" }, ...channels.map(({ image }) => image.el), ...channels.map(({ weights }) => weights.el)),
    controls(steps(w, next, { once: stepped }), check(w, "copies")),
    h("div", { class: "cw-row-of" }, tall, output.el),
    sum,
    copies,
    memory,
    controls(...SIZES.map((name) => slider(w, name))),
    buttonRow(t("presets"), presets)
  );
  w.watch(SHOWN, update);
  return w.close;
}

export default { render };
