/* The layers of a network as a list to edit; sizes, parameters and multiply-adds follow (chapters 13 and 14). */

import { convOutputSize } from "./core.mjs";
import { button, buttonRow, clamp, controls, drag, frame, grouped, h } from "./ui.mjs";

const COUNT = [1, 9999];
const WINDOW = { kernel: [1, 99], stride: [1, 99], padding: [0, 99] };
/* The numbers of each kind of layer, in the order of the text, with their bounds: those of shape_tracer.py. */
const KINDS = {
  in: { channels: COUNT, side: [1, 999] },
  conv: { channels: COUNT, ...WINDOW },
  max: WINDOW,
  avg: WINDOW,
  gap: {},
  relu: {},
  bn: {},
  flatten: {},
  linear: { inputs: [1, 999999999], outputs: COUNT },
};
const MOST = 60;
const isWindow = ({ kind }) => kind === "conv" || kind === "max" || kind === "avg";
const usual = ({ kind, kernel }) => ({ stride: kind === "conv" ? 1 : kernel, padding: 0 });

/* "in 3 224; conv 64 11 4 2; …" becomes [{ kind: "in", channels: 3, side: 224 }, …], and back. */
export const parse = (text) =>
  text.split("; ").map((part) => {
    const [kind, ...words] = part.split(" ");
    const layer = { kind };
    Object.keys(KINDS[kind]).forEach((name, k) => (layer[name] = k < words.length ? Number(words[k]) : usual(layer)[name]));
    return layer;
  });

export const write = (layers) =>
  layers
    .map((layer) => {
      const words = Object.keys(KINDS[layer.kind]).map((name) => layer[name]);
      if (isWindow(layer)) for (const name of ["padding", "stride"]) if (words.at(-1) === usual(layer)[name]) words.pop(); else break;
      return [layer.kind, ...words].join(" ");
    })
    .join("; ");

/* --- what a layer makes of a shape ---------------------------------------------------------------------- */

const product = (shape) => shape.reduce((all, length) => all * length, 1);

/* { shape, parameters, multiplyAdds } of a layer that gets `shape`; or { error }, where PyTorch would stop too. */
function applied(layer, shape) {
  const { kind } = layer;
  const [C, H] = shape;
  const free = { parameters: 0, multiplyAdds: 0 };
  if (kind === "relu") return { shape, ...free };
  if (kind === "bn") return { shape, parameters: 2 * C, multiplyAdds: 0 };
  if (kind === "flatten") return { shape: [product(shape)], ...free };
  if (kind === "linear") {
    const { inputs, outputs } = layer;
    if (shape.length > 1) return { error: "image" };
    if (inputs !== C) return { error: "features" };
    return { shape: [outputs], parameters: inputs * outputs + outputs, multiplyAdds: inputs * outputs };
  }
  if (shape.length === 1) return { error: "vector" };
  if (kind === "gap") return { shape: [C, 1, 1], ...free };
  if (kind !== "conv" && 2 * layer.padding > layer.kernel) return { error: "padding" };
  const side = convOutputSize(H, layer.kernel, layer);
  if (!side) return { error: "fit" };
  const out = [layer.channels ?? C, side, side];
  const weights = C * layer.kernel ** 2;
  return kind === "conv" ? { shape: out, parameters: out[0] * (weights + 1), multiplyAdds: product(out) * weights } : { shape: out, ...free };
}

/* All layers with their names, what they get (`from`) and give, the receptive field r and the distance j between
 * two neighbours; after an error, layers are `dead`. */
export function trace(layers) {
  const counts = {};
  const named = (kind) => {
    const name = { max: "pool", avg: "pool", linear: "fc" }[kind] ?? kind;
    counts[name] = (counts[name] ?? 0) + 1;
    return ["conv", "pool", "fc"].includes(name) ? name + counts[name] : name;
  };
  const { channels, side } = layers[0];
  const steps = [{ layer: layers[0], name: "in", shape: [channels, side, side], parameters: 0, multiplyAdds: 0, r: 1, j: 1 }];
  for (const layer of layers.slice(1)) {
    const before = steps.at(-1);
    const step = { layer, name: named(layer.kind), from: before.shape, dead: !before.shape };
    if (before.shape) {
      Object.assign(step, applied(layer, before.shape));
      const span = isWindow(layer) ? layer.kernel : layer.kind === "gap" && step.shape ? before.shape[1] : 1;
      step.r = before.r + (span - 1) * before.j;
      step.j = before.j * (isWindow(layer) ? layer.stride : 1);
    }
    steps.push(step);
  }
  return steps;
}

/* How a layer is written in PyTorch. */
export function code({ layer, from }) {
  const { kind, channels, kernel, stride, padding, inputs, outputs } = layer;
  const options = () => `kernel_size=${kernel}${stride === usual(layer).stride ? "" : `, stride=${stride}`}${padding ? `, padding=${padding}` : ""}`;
  const call = {
    in: () => `torch.zeros(1, ${channels}, ${layer.side}, ${layer.side})`,
    conv: () => `nn.Conv2d(${from[0]}, ${channels}, ${options()})`,
    max: () => `nn.MaxPool2d(${options()})`,
    avg: () => `nn.AvgPool2d(${options()})`,
    gap: () => "nn.AdaptiveAvgPool2d(1)",
    relu: () => "nn.ReLU()",
    bn: () => `nn.BatchNorm${from.length > 1 ? 2 : 1}d(${from[0]})`,
    flatten: () => "nn.Flatten()",
    linear: () => `nn.Linear(${inputs}, ${outputs})`,
  };
  return call[kind]();
}

/* --- on the page ---------------------------------------------------------------------------------------- */

const tuple = (shape) => `(${shape.join(", ")}${shape.length > 1 ? "" : ","})`;
const HEADS = ["layer", "numbers", "output", "parameters", "multiply_adds", "field"];
const role = { in: "input", conv: "filter", linear: "filter", max: "accent", avg: "accent", gap: "accent", flatten: "output" };
const coloured = (name, text) => h("span", { class: `cw-${name}` }, text);

function render(context) {
  const w = frame(context, "shape_tracer");
  const { t } = w;
  const { presets, sides } = w.spec.network;
  const task = w.spec.network.options.includes("alexnet-task"); // what the exercises ask for is not computed
  const layers = () => parse(w.get("layers"));
  const selected = () => Math.min(w.get("selected"), layers().length - 1);
  const network = () => t(`network_${w.get("network")}`);
  const select = (k) => w.set({ selected: clamp(k, 0, layers().length - 1) });
  const keep = (list, k) => w.set({ layers: write(list), selected: k });
  const edit = (k, values) => keep(layers().map((layer, i) => (i === k ? { ...layer, ...values } : layer)), k);
  w.root.classList.toggle("cw-task", task);

  /* What arrives at a layer, as a count; in the task the product is left to the reader. */
  const arriving = (steps, k) => {
    const { from } = steps[k];
    const factors = steps[k - 1].layer.kind === "flatten" ? steps[k - 1].from.join("×") : "";
    return factors.includes("×") ? (task ? factors : `${factors} = ${from[0]}`) : from[0];
  };
  const shapeText = (steps, k) => {
    const { shape, from, layer, error } = steps[k];
    if (!shape) return error ? t("stops") : "–";
    return task && layer.kind === "flatten" && from.length > 1 ? `(${from.join("×")},)` : tuple(shape);
  };

  const problem = (steps, k) => {
    const { layer, from, error } = steps[k];
    if (error === "fit") return t("error_fit", { kernel: layer.kernel, padded: from[1] + 2 * layer.padding });
    if (error === "features") return t("error_features", { got: arriving(steps, k), want: layer.inputs });
    return t(`error_${error}`, { shape: tuple(from) });
  };

  /* --- the strip: one block for each layer ---------- */

  const strip = h("svg", { class: "cw-strip", role: "slider", tabindex: 0, "aria-label": t("strip"), "aria-valuemin": 0 });
  const edges = []; // where each block ends, in pixels
  drag(strip, {
    tap: true,
    start: () => strip.focus({ preventScroll: true }),
    move: ({ clientX }) => select(edges.filter((edge) => edge < clientX - strip.getBoundingClientRect().left).length),
  });
  strip.addEventListener("keydown", (event) => moved(event, select));

  function drawStrip(steps, now) {
    const wide = strip.clientWidth || 700;
    const gap = wide < 500 ? 1.5 : 3;
    const tallest = Math.log2(1 + Math.max(...steps.map(({ shape }) => shape?.[1] ?? 1)));
    const widths = steps.map(({ shape, layer }) => (role[layer.kind] ? (shape ? 6 + 2 * Math.log2(shape[0]) : 14) : 4));
    const unit = (wide - gap * steps.length - 2) / Math.max(widths.reduce((a, b) => a + b), wide / 3);
    let [x, side, written] = [1, 0, [-99, 0]];
    const [column, blocks, labels] = [[], [], []];
    edges.length = 0;
    steps.forEach(({ shape, layer, error }, k) => {
      const width = widths[k] * unit;
      const long = shape ? (shape[1] ?? 1) : 0;
      const tall = shape ? 6 + (112 * Math.log2(1 + long)) / tallest : 30;
      if (k === now) column.push(h("rect", { class: "cw-column", x: x - gap / 2, y: 1, width: width + gap, height: 146 }));
      blocks.push(h("rect", { class: `cw-block cw-role-${shape ? role[layer.kind] ?? "none" : error ? "wrong" : "dead"}`, x, y: 146 - tall, width, height: tall }));
      const y = 141 - tall;
      if (long > 1 && long !== side && (x - written[0] > 26 || y - written[1] > 12)) {
        labels.push(h("text", { x, y }, long));
        written = [x, y];
      }
      side = long;
      edges.push((x += width + gap));
    });
    strip.replaceChildren(...column, ...blocks, ...labels);
    strip.setAttribute("aria-valuemax", steps.length - 1);
    strip.setAttribute("aria-valuenow", now);
    strip.setAttribute("aria-valuetext", spoken(steps, now));
  }

  const spoken = (steps, k) => {
    const { name, shape } = steps[k];
    return t("spoken", { place: k, layer: name, shape: shape ? shapeText(steps, k) : steps[k].dead ? t("unknown") : problem(steps, k) });
  };

  /* Arrow keys in a row of layers. */
  function moved(event, go) {
    const now = selected();
    const next = { ArrowUp: now - 1, ArrowLeft: now - 1, ArrowDown: now + 1, ArrowRight: now + 1, Home: 0, End: Infinity }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    go(next);
  }

  /* --- the sizes beside those of the network -------- */

  const chips = h("ul", { class: "cw-chips" });
  const verdict = h("p", { class: "cw-verdict" });

  function compare(steps, now) {
    const wanted = sides[w.get("network")];
    const windows = steps.filter(({ layer }) => isWindow(layer));
    const wrong = windows.filter(({ shape }, k) => shape && shape[1] !== wanted[k]).length;
    const groups = []; // equal neighbours share a chip: conv3–5
    windows.forEach((step, k) => {
      const [, kind, place] = step.name.match(/(\D+)(\d+)/);
      const side = step.shape?.[1];
      const look = side ? (side === wanted[k] ? "same" : "differs") : "unknown";
      const text = { same: `${side} ✓`, differs: `${side} ≠ ${wanted[k] ?? "–"}`, unknown: "–" }[look];
      const last = groups.at(-1);
      const group = last?.kind === kind && last.text === text ? last : { kind, text, look, first: place, has: [] };
      if (group !== last) groups.push(group);
      group.last = place;
      group.has.push(step);
    });
    chips.replaceChildren(
      ...groups.map(({ kind, text, look, first, last, has }) =>
        h("li", { class: `cw-${look} ${has.includes(steps[now]) ? "cw-chosen" : ""}` }, kind + first + (last !== first ? `–${last}` : ""), " ", h("b", {}, text))
      )
    );
    const stop = steps.findIndex(({ error }) => error);
    const values = { network: network(), count: wrong };
    if (stop >= 0) verdict.replaceChildren(t("verdict_stops", { layer: steps[stop].name }), " ", button(t("go"), () => select(stop)));
    else if (windows.length !== wanted.length) verdict.replaceChildren(t("verdict_count", { ...values, got: windows.length, want: wanted.length }));
    else verdict.replaceChildren(t(wrong ? "verdict_differs" : "verdict_same", values));
    verdict.classList.toggle("cw-warn", stop >= 0 || wrong > 0);
  }

  /* --- the list ------------------------------------- */

  const list = h("ol", { class: "cw-layers", start: 0 });
  const scroll = h("div", { class: "cw-scroll" }, list);
  const rows = [];
  let focusRow = false;

  function newRow() {
    const k = rows.length;
    const cells = HEADS.map((name) => h("span", { class: `cw-at-${name}`, "data-name": t(name) }));
    const line = h("button", { type: "button", class: "cw-line", onclick: () => select(k) }, ...cells);
    line.addEventListener("keydown", (event) => moved(event, (next) => ((focusRow = true), select(next))));
    const error = h("p", { class: "cw-warn" });
    const row = { item: h("li", {}, line, error), line, cells, error };
    if (task) cells.slice(3, 5).forEach((cell) => cell.remove());
    rows.push(row);
    list.append(row.item);
  }

  const described = ({ kind, kernel, stride, padding, inputs, outputs }) => {
    if (kind === "linear") return `${inputs} → ${outputs}`;
    if (!kernel) return "";
    return [kind === "conv" ? "" : kind, `${kernel}×${kernel}`, stride > 1 ? `S ${stride}` : "", padding ? `P ${padding}` : ""].filter(Boolean).join(" ");
  };

  function drawRow(steps, k, now) {
    const { item, line, cells, error } = rows[k];
    const step = steps[k];
    const live = step.shape;
    const texts = [
      step.name, described(step.layer), shapeText(steps, k), live ? grouped(step.parameters) : "–",
      live ? grouped(step.multiplyAdds) : "–", live && step.shape.length > 1 ? `${step.r} (${step.j})` : "–",
    ];
    texts.forEach((text, i) => {
      if (cells[i].textContent !== text) cells[i].textContent = text;
      cells[i].classList.toggle("cw-zero", text === "0" || text === "–");
    });
    item.className = `cw-role-${role[step.layer.kind] ?? "none"} ${k === now ? "cw-now" : ""} ${step.dead ? "cw-dead" : ""}`;
    line.setAttribute("tabindex", k === now ? 0 : -1);
    line.setAttribute("aria-current", k === now);
    error.hidden = !step.error;
    if (!step.error) return;
    const fits = step.error === "features" && step.from[0] <= KINDS.linear.inputs[1] && !task;
    error.replaceChildren(problem(steps, k), " ", ...(fits ? [button(t("fit"), () => edit(k, { inputs: step.from[0] }))] : []));
    if (step.error === "features" && !task)
      error.append(h("code", {}, `mat1 and mat2 shapes cannot be multiplied (1x${step.from[0]} and ${step.layer.inputs}x${step.layer.outputs})`));
  }

  /* --- the selected layer --------------------------- */

  /* A number of the selected layer: to type, with arrow keys, or with buttons beside it. */
  function stepper(kind, name) {
    const [min, max] = KINDS[kind][name];
    const label = t(`number_${name}`);
    const value = () => layers()[selected()][name];
    const go = (next) => edit(selected(), { [name]: clamp(next, min, max) });
    const input = h("input", {
      type: "text", inputmode: "numeric", role: "spinbutton", size: 4, autocomplete: "off", "data-number": name,
      "aria-label": label, "aria-valuemin": min, "aria-valuemax": max,
    });
    input.addEventListener("change", () => {
      if (/^\s*\d{1,9}\s*$/.test(input.value)) go(Number(input.value));
      else w.say(t("no_number", { text: input.value }));
      input.value = value();
    });
    input.addEventListener("keydown", (event) => {
      const way = { ArrowUp: 1, ArrowDown: -1 }[event.key];
      if (!way) return;
      event.preventDefault();
      go(value() + way);
    });
    const less = button("−", () => go(value() - 1), { "aria-label": t("less", { name: label }) });
    const more = button("+", () => go(value() + 1), { "aria-label": t("more", { name: label }) });
    const show = () => {
      input.value = value();
      input.setAttribute("aria-valuenow", value());
    };
    return { el: h("span", { class: "cw-stepper" }, h("span", { "aria-hidden": true }, label), less, input, more), show };
  }
  const steppers = Object.fromEntries(Object.entries(KINDS).map(([kind, names]) => [kind, Object.keys(names).map((name) => stepper(kind, name))]));

  const numbers = h("div", { class: "cw-controls" });
  const formula = h("div", { class: "cw-say cw-sum" });
  const python = h("code", {});
  const shift = (way) => {
    const all = layers();
    const k = selected();
    all.splice(k + way, 0, ...all.splice(k, 1));
    keep(all, k + way);
  };
  const up = button("↑", () => shift(-1), { "aria-label": t("up") });
  const down = button("↓", () => shift(1), { "aria-label": t("down") });
  const remove = button(t("remove"), () => keep(layers().filter((_, k) => k !== selected()), Math.max(1, selected() - 1)));
  const kinds = h("select", { "aria-label": t("kind") }, ...Object.keys(KINDS).slice(1).map((kind) => h("option", { value: kind }, t(`kind_${kind}`))));
  const add = button(t("add"), () => {
    const all = layers();
    const { shape = [1] } = trace(all)[selected()];
    const [channels, inputs] = [COUNT[1], KINDS.linear.inputs[1]].map((most) => Math.min(shape[0], most));
    const fresh = { conv: { channels, kernel: 3, stride: 1, padding: 1 }, linear: { inputs, outputs: 10 } };
    const layer = { kind: kinds.value, ...(fresh[kinds.value] ?? { kernel: 2, stride: 2, padding: 0 }) };
    all.splice(selected() + 1, 0, layer);
    keep(all, selected() + 1);
  });
  const editor = h(
    "div",
    { class: "cw-editor", role: "group", "aria-label": t("editor") },
    numbers,
    formula,
    task ? null : python,
    h("div", { class: "cw-buttons" }, up, down, remove, kinds, add)
  );
  let shownKind = "";

  function drawEditor(steps, now) {
    const { layer } = steps[now];
    const active = document.activeElement;
    const moves = editor.parentNode !== rows[now].item;
    if (moves) rows[now].item.append(editor);
    if (shownKind !== layer.kind) numbers.replaceChildren(...steppers[layer.kind].map(({ el }) => el));
    shownKind = layer.kind;
    steppers[layer.kind].forEach(({ show }) => show());
    formula.replaceChildren(...explained(steps[now]).map((parts) => h("p", {}, ...parts)));
    formula.hidden = !formula.childNodes.length;
    if (!steps[now].dead) python.textContent = code(steps[now]);
    python.hidden = Boolean(steps[now].dead);
    up.disabled = now < 2;
    down.disabled = now === 0 || now === steps.length - 1;
    remove.disabled = now === 0 || steps.length < 2;
    add.disabled = steps.length >= MOST;
    if (moves && editor.contains(active) && !active.disabled) active.focus({ preventScroll: true });
  }

  /* The sums behind the numbers of a layer, as lines of text and elements. */
  function explained(step) {
    const { layer, from, shape, error, dead } = step;
    if (dead) return [[t("unknown")]];
    const lines = [];
    if (isWindow(layer) && (shape || error === "fit")) lines.push(...sizeLines(step));
    if (error || task) return lines;
    if (layer.kind === "conv") {
      const weights = `${layer.channels}·${from[0]}·${layer.kernel}·${layer.kernel}`;
      lines.push([`${t("parameters")}: ${weights} + ${layer.channels} = `, h("b", {}, grouped(step.parameters))]);
      lines.push([`${t("multiply_adds")}: ${weights} · ${shape[1]}·${shape[2]} = `, h("b", {}, grouped(step.multiplyAdds))]);
    }
    if (layer.kind === "linear")
      lines.push([`${t("parameters")}: ${layer.inputs}·${layer.outputs} + ${layer.outputs} = `, h("b", {}, grouped(step.parameters))]);
    if (layer.kind === "flatten") lines.push([`${from.join("·")} = `, h("b", {}, product(from))]);
    if (layer.kind === "bn") lines.push([`${t("parameters")}: 2·${from[0]} = `, h("b", {}, grouped(step.parameters))]);
    return lines;
  }

  /* ⌊(224 + 2·2 − 11) / 4⌋ + 1 = 55, and what of the image no window sees. */
  function sizeLines({ layer, from, shape, r, j }) {
    const { kernel, stride, padding } = layer;
    const room = from[1] + 2 * padding - kernel;
    const sum = [" = ⌊(", coloured("in", from[1]), ` + 2·${padding} − `, coloured("fi", kernel), `) / ${stride}⌋ + 1 = `];
    if (!shape) return [[`${from[1]} + 2·${padding} < ${kernel}`]];
    const lines = [[`${t("number_side")}: ⌊(H + 2P − K) / S⌋ + 1`, ...sum, `⌊${room} / ${stride}⌋ + 1 = `, coloured("ou", shape[1])]];
    const rest = room % stride;
    const lost = rest - padding;
    if (rest) lines.push([t(lost > 0 ? "rest_pixels" : "rest_padding", { room, stride, rest, lost })]);
    const apart = j / stride; // what the layer before has
    lines.push([`${t("field")}: r = ${r - (kernel - 1) * apart} + (${kernel} − 1)·${apart} = `, h("b", {}, r), `, j = ${apart}·${stride} = `, h("b", {}, j)]);
    return lines;
  }

  /* --- all together --------------------------------- */

  const totals = h("p", { class: "cw-say" });
  function drawTotals(steps) {
    const known = steps.filter(({ shape }) => shape);
    const sum = (name) => grouped(known.reduce((all, step) => all + step[name], 0));
    const images = known.filter(({ shape, layer }) => shape.length > 1 && layer.kind !== "in");
    const largest = images.reduce((most, step) => (product(step.shape) > product(most?.shape ?? [0]) ? step : most), null);
    const parts = task || known.length < steps.length ? [] : [t("total", { parameters: sum("parameters"), multiply_adds: sum("multiplyAdds") })];
    if (largest) parts.push(t("largest", { layer: largest.name, shape: tuple(largest.shape), count: grouped(product(largest.shape)) }));
    totals.textContent = parts.join(" ");
  }

  const header = h("div", { class: "cw-line cw-heads", "aria-hidden": true });
  const heads = HEADS.filter((_, k) => !task || k < 3 || k > 4);
  header.append(...heads.map((name) => h("span", { class: `cw-at-${name}` }, t(name))));
  const heading = h("p", { class: "cw-caption" });

  let shownRow = -1;
  let said = "";
  function update() {
    const steps = trace(layers());
    const now = selected();
    while (rows.length < steps.length) newRow();
    for (const { item } of rows.splice(steps.length)) item.remove();
    drawStrip(steps, now);
    heading.textContent = t("compared", { network: network() });
    compare(steps, now);
    steps.forEach((_, k) => drawRow(steps, k, now));
    drawEditor(steps, now);
    drawTotals(steps);
    const { item, line } = rows[now];
    if (focusRow) line.focus({ preventScroll: true });
    focusRow = false;
    if (shownRow !== now) {
      // Only the list scrolls, never the page.
      const below = item.offsetTop + item.offsetHeight - scroll.clientHeight;
      if (shownRow >= 0 || now > 1) scroll.scrollTop = Math.min(item.offsetTop, Math.max(scroll.scrollTop, below));
      shownRow = now;
    }
    const speech = `${spoken(steps, now)} ${verdict.firstChild.textContent}`;
    if (said && said !== speech) w.say(speech);
    said = speech;
  }

  const begin = Object.entries(presets).map(([name, [network, text]]) => {
    const start = button(t(`preset_${name}`), () => w.set({ network, layers: text, selected: 1 }));
    w.watch(["network", "layers"], () => start.setAttribute("aria-pressed", w.get("network") === network && w.get("layers") === text));
    return start;
  });
  w.body.append(
    buttonRow(t("presets"), begin),
    strip,
    h("div", {}, heading, chips, verdict),
    h("div", {}, header, scroll),
    totals
  );
  w.watch(["layers", "network", "selected"], update);
  const resized = new ResizeObserver(() => drawStrip(trace(layers()), selected()));
  resized.observe(strip);
  w.closers.push(() => resized.disconnect());
  return w.close;
}

export default { render };
