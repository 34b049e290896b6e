/* A digit is drawn and read by a trained network, every number of which can be asked for its reasons (chapter 12). */

import { COVER, GRID, LAYERS, PLACES, covered, forward, gradient, inked, origin, point, prepared, withoutLast, SIDE } from "./digit_reader.mjs";
import { ARROWS, MovingWindow, NumberGrid, button, choice, clamp, controls, drag, drawPixels, frame, h, largest, number } from "./ui.mjs";

/* One of each from scikit-learn's digits. */
const SAMPLES = [
  "004gf20000bgdd0001g81g2007g60b8007g40b8004f11f7000dcef10003eg600",
  "000d9000000ef100000dg000000bg000000ag200000eg100000fg100000cf000",
  "04ff800008ggg3000101f5000000b6000003f200004fge6006ggfb3007eb0000",
  "007ggf8000cffgb00003ef20001ec100001gf5000003cf000004ce1000afa400",
  "001f6000008g200000fb074008ga6g9006gggg40005bgd00000cf300000fb000",
  "00agf10000gc500002g9400004ggge2001a41g4000002g700078eg30006da400",
  "002g8000008f500002g7000003g7510007gggf3005gc4ae000ed5af0003dgg70",
  "007ggf50009cfg7000009f10007cff8001gggd50000ea000005g2000008e1000",
  "02ce300007g1041000dggf10007ge10000feg00002g1f70005g6f70001ge9000",
  "002a700000eggf1004g73g7005ga7g40005eeg4000000g2000477g20005cgc00",
];
const NAMES = LAYERS.map((layer) => layer.name);

const two = (value) => (Math.abs(value) < 0.005 ? "0" : value.toFixed(2).replace("-", "\u2212"));

/* A picture with cells as in a grid of numbers, so that a window can lie over it. */
class PixelGrid {
  constructor(label, role) {
    this.canvas = h("canvas", {});
    this.cellsBox = h("div", { class: "cw-cells" }, this.canvas);
    this.caption = h("div", { class: "cw-caption" }, label);
    this.el = h("div", { class: `cw-grid cw-pixels cw-role-${role}` }, this.caption, this.cellsBox);
  }
  set(label, data, rows, cols, range) {
    Object.assign(this, { rows, cols });
    this.caption.textContent = label;
    this.el.style.setProperty("--cols", cols);
    drawPixels(this.canvas, data, rows, cols, range);
  }
}

/* Where one draws. The pen is a pointer, or a cross that the arrow keys lead; the space bar lowers and lifts it. */
function pad(w) {
  const { t } = w;
  const canvas = h("canvas", { tabindex: 0, role: "application", "aria-label": t("pad"), "aria-describedby": "", class: "cw-pick" });
  const hint = h("p", { class: "cw-hint", id: `cw-pad-${Math.random().toString(36).slice(2)}` }, t("hint"));
  canvas.setAttribute("aria-describedby", hint.id);
  const cross = h("div", { class: "cw-cross", "aria-hidden": "true" });
  const pen = { col: GRID / 2, row: GRID / 2, down: false };
  let last = "";

  /* The picture at the beginning is an example: whoever draws does not want it. */
  const begin = () => {
    last = "";
    const drawing = w.get("drawing");
    w.set({ drawing: `${drawing === w.spec.drawing.value ? "" : drawing}~` });
  };
  const add = (at) => {
    const next = point(at.map((value) => clamp(Math.floor(value), 0, GRID - 1)));
    if (next !== last) w.set({ drawing: w.get("drawing") + next });
    last = next;
  };
  const onGrid = ({ clientX, clientY }) => {
    const box = canvas.getBoundingClientRect();
    return [((clientX - box.left) / box.width) * GRID, ((clientY - box.top) / box.height) * GRID];
  };
  drag(canvas, {
    tap: true,
    start: () => {
      lift();
      begin();
    },
    move: (event) => {
      const all = event.getCoalescedEvents?.() ?? [];
      (all.length ? all : [event]).forEach((one) => add(onGrid(one)));
    },
  });

  // Else a quick stroke counts as a fling, and the next tap only stops it.
  canvas.addEventListener("touchstart", (event) => event.preventDefault());

  const lift = () => {
    pen.down = false;
    cross.classList.remove("cw-down");
  };
  canvas.addEventListener("blur", lift);
  canvas.addEventListener("keydown", (event) => {
    const way = ARROWS[event.key];
    if (way) {
      pen.col = clamp(pen.col + 2 * way[1], 0, GRID - 1);
      pen.row = clamp(pen.row + 2 * way[0], 0, GRID - 1);
      if (pen.down) add([pen.col, pen.row]);
      w.say(t(pen.down ? "pen_draws" : "pen_moves", { row: pen.row / 2, col: pen.col / 2 }));
    } else if (event.key === " " || event.key === "Enter") {
      pen.down = !pen.down;
      cross.classList.toggle("cw-down", pen.down);
      if (pen.down) {
        begin();
        add([pen.col, pen.row]);
      }
      w.say(t(pen.down ? "pen_down" : "pen_up"));
    } else if (event.key === "Backspace" || event.key === "Delete") undo();
    else return;
    event.preventDefault();
    move();
  });
  const move = () => {
    cross.style.setProperty("--x", (pen.col + 0.5) / GRID);
    cross.style.setProperty("--y", (pen.row + 0.5) / GRID);
  };
  const undo = () => {
    lift();
    w.set({ drawing: withoutLast(w.get("drawing")) });
  };
  move();
  const samples = SAMPLES.map((drawing, digit) => {
    const picture = h("canvas", { "aria-hidden": "true" });
    drawPixels(picture, Array.from(drawing, (level) => parseInt(level, 17)), 8, 8, { high: 16 });
    return button(picture, () => w.set({ drawing }), { "aria-label": t("sample", { digit }) });
  });
  const el = h(
    "div", { class: "cw-draw" },
    h("div", { class: "cw-pad" }, canvas, cross),
    h("div", { class: "cw-buttons" }, button(t("clear"), () => w.set({ drawing: "" })), button(t("undo"), undo)),
    hint
  );
  return { el, samples: h("div", { class: "cw-buttons cw-samples" }, ...samples), draw: (ink) => drawPixels(canvas, ink, SIDE, SIDE) };
}

/* What the network sees, and over it, if asked for, what counts. The way there may take a while: it goes row by row, and
 * only once nobody draws any more. */
function sight(w) {
  const { t } = w;
  const below = h("canvas", { role: "img", "aria-label": t("seen") });
  const above = h("canvas", { class: "cw-heat", "aria-hidden": "true" });
  const said = h("p", { class: "cw-say cw-note" });
  const cover = choice(w, "cover");
  let timer = 0;
  w.closers.push(() => clearTimeout(timer));

  const show = (heat) => drawPixels(above, heat, 28, 28, { signed: true, high: largest(heat) });

  function occlusion(x, before, label) {
    const heat = new Float32Array(784);
    const value = w.get("cover") === "gray" ? 0.5 : 0;
    const most = { drop: -Infinity };
    const half = (COVER - 1) / 2;
    const next = (row) => {
      covered(x, row, value, label).forEach((probability, col) => {
        const drop = before - probability;
        heat[(row + half) * 28 + col + half] = drop;
        if (drop > most.drop) Object.assign(most, { drop, row, col });
      });
      show(heat);
      if (row < PLACES - 1) timer = setTimeout(next, 0, row + 1);
      else said.textContent = t("occlusion_read", { digit: label, before: number(before, 3), after: number(before - most.drop, 3), row: most.row + half, col: most.col + half, size: COVER });
    };
    said.textContent = t("occlusion_wait");
    timer = setTimeout(next, 200, 0);
  }

  return {
    el: h("div", { class: "cw-sight" }, h("div", { class: "cw-caption cw-role-input" }, t("seen")), h("div", { class: "cw-stack" }, below, above), said),
    choices: h("div", { class: "cw-controls" }, choice(w, "view"), cover),
    draw(seen, label) {
      clearTimeout(timer);
      const view = label === null ? "pixels" : w.get("view");
      cover.hidden = view !== "occlusion";
      above.hidden = view === "pixels";
      // Under colours: dark gray ink on white paper.
      drawPixels(below, seen.input.data, 28, 28, view === "pixels" ? {} : { low: 1.6, high: 0 });
      if (view === "pixels") said.textContent = t("pixels_read");
      if (view === "occlusion") occlusion(seen.input, seen.probabilities.data[label], label);
      if (view === "saliency") {
        show(gradient(seen, label).data);
        said.textContent = t("saliency_read", { digit: label, score: number(seen.logits.data[label]) });
      }
    },
  };
}

/* All layers: one row of maps each, within which the arrow keys lead from map to map; the last one is the answer. */
function layers(w) {
  const { t } = w;
  const rows = LAYERS.slice(0, -1).map(({ name }) => {
    const caption = h("div", { class: "cw-caption" });
    const group = h("div", { class: "cw-maps", role: "radiogroup", "aria-label": t(`layer_${name}`) });
    return { name, caption, group, maps: [], el: h("div", { class: "cw-layer cw-role-output" }, caption, group) };
  });
  const build = (row, count, shape) => {
    row.caption.textContent = `${t(`layer_${row.name}`)} (${shape.join(", ")})`;
    row.group.style.setProperty("--per", count === 24 ? 12 : count);
    row.maps = Array.from({ length: count }, (_, map) => {
      const canvas = h("canvas", { "aria-hidden": "true" });
      const one = h("button", { type: "button", role: "radio", "aria-label": t("map", { map }) }, canvas);
      one.addEventListener("click", () => w.set({ layer: row.name, map, channel: 0 }));
      return { el: one, canvas };
    });
    row.group.append(...row.maps.map(({ el }) => el));
  };
  for (const row of rows)
    row.group.addEventListener("keydown", (event) => {
      const way = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
      if (!way) return;
      event.preventDefault();
      const now = row.maps.findIndex(({ el }) => el === document.activeElement);
      const next = row.maps[(now + way + row.maps.length) % row.maps.length].el;
      next.focus();
      next.click();
    });
  const bars = Array.from({ length: 10 }, (_, digit) => {
    const [fill, text] = [h("span", { class: "cw-fill" }), h("span", { class: "cw-number" })];
    const el = button(h("b", {}, String(digit)), () => w.set({ layer: "logits", map: digit, channel: 0 }));
    el.append(h("span", { class: "cw-bar" }, fill), text);
    return { el, fill, text };
  });
  return {
    el: h("div", { class: "cw-layers" }, ...rows.map((row) => row.el)),
    bars: h("div", { class: "cw-bars", role: "group", "aria-label": t("layer_logits") }, ...bars.map(({ el }) => el)),
    draw(seen, label) {
      for (const row of rows) {
        const { data, shape: [, C, H, W] } = seen[row.name];
        if (!row.maps.length) build(row, C, [C, H, W]);
        const high = largest(data);
        row.maps.forEach(({ canvas }, c) => drawPixels(canvas, data.subarray(c * H * W, (c + 1) * H * W), H, W, { high }));
      }
      bars.forEach(({ el, fill, text }, digit) => {
        const p = label === null ? 0 : seen.probabilities.data[digit];
        fill.style.width = `${100 * p}%`;
        text.textContent = label === null ? "" : p.toFixed(3);
        el.classList.toggle("cw-best", digit === label);
        el.setAttribute("aria-label", t("bar", { digit, probability: p.toFixed(3) }));
      });
    },
    /* The chosen map, and the one below from which numbers are shown. */
    mark({ layer, map, below, channel }) {
      for (const row of rows)
        row.maps.forEach(({ el }, c) => {
          const here = row.name === layer && c === map;
          el.setAttribute("aria-checked", here);
          el.classList.toggle("cw-source", row.name === below && c === channel);
          el.setAttribute("tabindex", here || (row.name !== layer && c === 0) ? 0 : -1);
        });
      bars.forEach(({ el }, digit) => el.setAttribute("aria-pressed", layer === "logits" && map === digit));
    },
  };
}

/* One unit and its reasons: the window on the layer below, the weights behind it, products and sum. */
function reasons(w) {
  const { t } = w;
  const own = new PixelGrid("", "output");
  const below = new PixelGrid("", "input");
  const frameOf = h("div", { class: "cw-window" });
  const holder = h("div", { class: "cw-holder" });
  below.cellsBox.replaceWith(holder);
  holder.append(below.cellsBox, frameOf);
  const grids = ["input", "filter", "output"].map((role) => new NumberGrid(w, { label: t(`grid_${role}`), role }));
  const [pixels, weights, products] = grids;
  const title = h("p", { class: "cw-unit" });
  const sum = h("p", { class: "cw-say cw-sum" });
  const parts = h("div", { class: "cw-buttons cw-parts", role: "group" });
  let built = "";

  const spot = () => {
    const { layer, map, row, col, channel } = Object.fromEntries(["layer", "map", "row", "col", "channel"].map((name) => [name, w.get(name)]));
    const [, C, H = 1, W = 1] = w.seen[layer].shape;
    return { layer, map: Math.min(map, C - 1), row: Math.min(row, H - 1), col: Math.min(col, W - 1), channel, C, H, W };
  };
  const valueAt = ({ layer, map, row, col, H, W }) => w.seen[layer].data[(map * H + row) * W + col];
  const cursor = new MovingWindow(w, own, {
    label: t("unit"),
    place: () => ({ row: spot().row, col: spot().col, rows: 1, cols: 1 }),
    limits: () => [spot().H, spot().W],
    index: () => [spot().row, spot().col],
    move: (row, col) => w.set({ row, col }),
    spoken: () => t("at", { row: spot().row, col: spot().col, value: number(valueAt(spot())) }),
  });

  /* One button for each map below, with what it adds to the sum. */
  function choices(found, at) {
    const { data, shape: [, , H, W] } = w.seen[found.below];
    const many = found.kind !== "pool" && found.parts.length > 1;
    if (built !== at.layer)
      parts.replaceChildren(
        ...(many ? found.parts : []).map(({ channel }) => button(h("canvas", { "aria-hidden": "true" }), () => w.set({ channel })))
      );
    built = at.layer;
    parts.hidden = !many;
    parts.setAttribute("aria-label", t("parts"));
    const high = largest(data);
    [...parts.children].forEach((one, channel) => {
      drawPixels(one.firstChild, data.subarray(channel * H * W, (channel + 1) * H * W), H, W, { high });
      const text = two(found.parts[channel].sum);
      one.replaceChildren(one.firstChild, h("span", {}, text));
      one.setAttribute("aria-label", t("part", { channel, sum: text }));
      one.setAttribute("aria-pressed", channel === at.channel);
    });
  }

  /* The sum in words. */
  function told(found, part, at) {
    const value = two(valueAt(at));
    if (found.kind === "pool") return t("sum_pool", { value });
    const total = found.parts.reduce((all, { sum: one }) => all + one, 0);
    const values = {
      part: two(part.sum), count: found.parts.length, total: two(total), bias: two(found.bias), sum: two(total + found.bias),
      value, channel: part.channel, digit: at.map,
    };
    return t(found.kind === "linear" ? "sum_linear" : found.parts.length > 1 ? "sum_many" : "sum_one", values);
  }

  return {
    el: h(
      "div", { class: "cw-why" },
      title,
      h("div", { class: "cw-row-of" }, own.el, below.el, parts),
      h("div", { class: "cw-row-of" }, pixels.el, weights.el, products.el),
      sum
    ),
    /* Returns what it is about. */
    draw() {
      const at = spot();
      const found = origin(w.seen, at.layer, at.map, at.row, at.col);
      at.channel = Math.min(at.channel, found.parts.length - 1);
      const part = found.parts[at.channel];
      const linear = found.kind === "linear";
      title.textContent = linear ? t("unit_logits", { digit: at.map }) : t("unit_at", { layer: t(`layer_${at.layer}`), map: at.map, row: at.row, col: at.col });
      own.el.hidden = linear;
      if (!linear) {
        const plane = at.H * at.W;
        own.set(t("map", { map: at.map }), w.seen[at.layer].data.subarray(at.map * plane, (at.map + 1) * plane), at.H, at.W, { high: largest(w.seen[at.layer].data) });
        cursor.update();
      }
      const { data, shape: [, , H, W] } = w.seen[found.below];
      const name = found.below === "input" ? t("seen") : t("below", { layer: t(`layer_${found.below}`), map: part.channel });
      below.set(name, data.subarray(part.channel * H * W, (part.channel + 1) * H * W), H, W, { high: found.below === "input" ? 1 : largest(data) });
      for (const [key, value] of Object.entries(found.window)) frameOf.style.setProperty(`--w-${key}`, value);
      pixels.set(part.pixels.map((line) => line.map((value) => value ?? 0)), two);
      pixels.mark((i, j) => (part.pixels[i][j] === null ? "cw-pad" : ""));
      for (const grid of [weights, products]) grid.el.hidden = found.kind === "pool";
      if (found.kind === "pool") pixels.mark((i, j) => (part.pixels[i][j] === valueAt(at) ? "cw-lit" : ""));
      else {
        weights.set(part.weights, two);
        products.set(part.products, two);
      }
      choices(found, at);
      sum.textContent = told(found, part, at);
      return { ...at, below: found.below, channel: part.channel };
    },
  };
}

function render(context) {
  const w = frame(context, "digit_canvas");
  const { t } = w;
  const [drawn, eye, stack] = [pad(w), sight(w), layers(w)];
  const answer = h("p", { class: "cw-answer" });
  const parts = {};
  let read = null;
  let label = null;

  function update() {
    const drawing = w.get("drawing");
    if (drawing !== read) {
      const ink = inked(drawing);
      drawn.draw(ink);
      const input = prepared(ink);
      w.seen = forward(input);
      label = largest(input.data) ? w.seen.probabilities.data.indexOf(Math.max(...w.seen.probabilities.data)) : null;
      stack.draw(w.seen, label);
      answer.textContent = label === null ? t("nothing") : t("answer", { digit: label, probability: number(w.seen.probabilities.data[label], 3) });
      if (read !== null) w.say(answer.textContent);
      read = drawing;
      eye.draw(w.seen, label);
    }
    stack.mark((parts.why ??= reasons(w)).draw());
  }
  w.watch(["drawing", "layer", "map", "row", "col", "channel"], update);
  let first = true;
  w.watch(["view", "cover"], () => (first ? (first = false) : eye.draw(w.seen, label)));
  w.body.append(
    h("div", { class: "cw-row-of" }, drawn.el, eye.el, h("div", { class: "cw-answers" }, answer, stack.bars)),
    controls(h("span", {}, t("samples")), drawn.samples),
    eye.choices,
    h("p", {}, t("layers_hint")),
    stack.el,
    parts.why.el
  );
  return w.close;
}

export default { render };
