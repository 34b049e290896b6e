/* A filter on a picture, live, with the numbers behind each pixel (chapter 02). */

import { conv2d, tensor } from "./core.mjs";
import { PHOTO } from "./photo.mjs";
import { ARROWS, NumberGrid, bracketed, button, choice, clamp, controls, drag, drawPixels, frame, h, largest, number } from "./ui.mjs";

const SIZE = 192; // rows and columns of every picture
const hundredths = (value) => Math.round(100 * value) / 100;

/* --- filters ------------------------------------------------------------------------------------------ */

const outer = (down, across) => down.map((a) => across.map((b) => a * b));
const transposed = (rows) => rows.map((_, k) => rows.map((row) => row[k]));
const sumOf = (rows) => Math.round(1e6 * rows.flat().reduce((a, b) => a + b)) / 1e6;

/* In the middle of K x K zeros, or the middle K x K of it. */
function resized(rows, K) {
  const [down, right] = [rows.length, rows[0].length].map((length) => (K >> 1) - (length >> 1));
  return Array.from({ length: K }, (_, r) => Array.from({ length: K }, (_, c) => rows[r - down]?.[c - right] ?? 0));
}

const SLOPE = { 3: [-1, 0, 1], 5: [-2, -1, 0, 1, 2] };
const BELL = { 3: [1, 2, 1], 5: [1, 4, 6, 4, 1] };
const STEEP = { 3: [-1, 0, 1], 5: [-1, -2, 0, 2, 1] };
const vertical = {
  prewitt: (K) => outer(Array(K).fill(1), SLOPE[K]),
  sobel: (K) => outer(BELL[K], STEEP[K]),
};
/* How each is best looked at, and its K x K numbers. */
const PRESETS = {
  identity: ["gray", (K) => resized([[1]], K)],
  blur: ["gray", (K) => outer(Array(K).fill(1), Array(K).fill(1 / K ** 2))],
  sharpen: ["gray", (K) => resized([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], K)],
  prewitt_vertical: ["signed", vertical.prewitt],
  prewitt_horizontal: ["signed", (K) => transposed(vertical.prewitt(K))],
  sobel_vertical: ["signed", vertical.sobel],
  sobel_horizontal: ["signed", (K) => transposed(vertical.sobel(K))],
  laplacian: ["signed", (K) => resized([[0, 1, 0], [1, -4, 1], [0, 1, 0]], K)],
  emboss: ["gray", (K) => resized([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], K)],
};

/* --- pictures: 192 x 192 numbers from 0 to 1, in hundredths, so that what is written can be recomputed ---- */

const paper = h("canvas", { width: SIZE, height: SIZE }).getContext("2d", { willReadFrequently: true });

/* The middle of an image or a video, in gray. */
function pixelsOf(image, width, height) {
  if (!width || !height) throw new Error("a picture without a size");
  const scale = SIZE / Math.min(width, height);
  paper.fillStyle = "#fff"; // behind what is transparent
  paper.fillRect(0, 0, SIZE, SIZE);
  paper.imageSmoothingQuality = "high";
  paper.drawImage(image, (SIZE - width * scale) / 2, (SIZE - height * scale) / 2, width * scale, height * scale);
  const { data } = paper.getImageData(0, 0, SIZE, SIZE);
  const gray = (p) => (0.299 * data[p] + 0.587 * data[p + 1] + 0.114 * data[p + 2]) / 255;
  return Float32Array.from({ length: SIZE * SIZE }, (_, p) => hundredths(gray(4 * p)));
}

async function loaded(address) {
  const image = new Image();
  image.src = address;
  await image.decode();
  return pixelsOf(image, image.naturalWidth, image.naturalHeight);
}

/* Fields of 64 x 64, each of which tells something else about a filter. */
const FIELDS = [
  (r, c) => (r === 32 && c === 32 ? 1 : 0), // one dot: the filter itself appears, turned round
  (r, c) => ((c >> 3) % 2 ? 0.8 : 0.2),
  (r) => ((r >> 3) % 2 ? 0.8 : 0.2),
  (r, c) => (Math.hypot(r - 31.5, c - 31.5) < 22 ? 0.8 : 0.2), // edges of every direction
  (r, c) => (r + c < 63 ? 0.8 : 0.2),
  (r, c) => c / 63,
  (r) => [0.25, 0.5, 0.75][Math.floor(r / 22)], // flat: what the sum of the filter is for
  (r, c) => ((r >> 2) + (c >> 2)) % 2,
  (r, c) => 0.5 + 0.4 * Math.cos(((r - 31.5) ** 2 + (c - 31.5) ** 2) / 50), // ever finer rings
];
const pattern = () =>
  Float32Array.from({ length: SIZE * SIZE }, (_, p) => {
    const [r, c] = [Math.floor(p / SIZE), p % SIZE];
    return hundredths(FIELDS[3 * (r >> 6) + (c >> 6)](r & 63, c & 63));
  });

/* The reader's own pictures: a file, or what the camera sees until it is stopped. `pixels` is the latest. */
class OwnPictures {
  constructor(w, { changed, failed }) {
    Object.assign(this, { w, changed, failed, pixels: null, stream: null, waiting: false });
    this.video = h("video", { playsinline: true });
    this.video.muted = true;
    this.input = h("input", { type: "file", accept: "image/*", hidden: true });
    this.input.addEventListener("change", () => this._open(this.input.files[0]));
    w.closers.push(() => ((this.closed = true), this.stop()));
  }

  async _open(file) {
    if (!file) return;
    const address = URL.createObjectURL(file);
    try {
      this.pixels = await loaded(address);
      this.stop();
      this.w.set({ own: "file" });
      this.changed();
    } catch {
      this.failed("no_picture");
    }
    URL.revokeObjectURL(address);
    this.input.value = ""; // so that the same file can be taken again
  }

  async film() {
    if (this.waiting) return;
    this.waiting = true;
    let stream = null;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480, facingMode: "environment" } });
      this.video.srcObject = stream;
      await this.video.play();
      stream.getTracks()[0].addEventListener("ended", () => this.still());
      this.stream = stream;
      if (this.closed) return this.stop(); // the reader has left meanwhile
      this.w.set({ own: "camera" });
      this._next();
    } catch (error) {
      stream?.getTracks().forEach((track) => track.stop());
      this.failed(error.name === "NotAllowedError" ? "camera_refused" : "camera_failed");
    } finally {
      this.waiting = false;
    }
  }

  _next(last = -1) {
    if (!this.stream) return;
    const now = this.video.currentTime;
    if (now !== last) {
      this.pixels = pixelsOf(this.video, this.video.videoWidth, this.video.videoHeight);
      this.changed();
    }
    requestAnimationFrame(() => this._next(now));
  }

  stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
  }

  /* Stops, and keeps what was seen last. */
  still() {
    if (!this.stream) return;
    this.stop();
    this.w.set({ own: "file" });
  }
}

/* --- parts -------------------------------------------------------------------------------------------- */

/* A picture with a caption, a scale of its colours and a mark, on which a pixel is pointed at. */
class Screen {
  constructor(label, role, { peek, pick }) {
    this.canvas = h("canvas", { width: SIZE, height: SIZE, role: "img", "aria-label": label });
    this.mark = h("div", { class: "fl-mark" });
    this.holder = h("div", { class: "fl-holder cw-pick" }, this.canvas, this.mark);
    this.bar = h("canvas", { "aria-hidden": "true" });
    this.ends = ["low", "high"].map(() => h("span"));
    this.caption = h("div", { class: "cw-caption", "aria-hidden": "true" }, label);
    this.needle = h("span", { class: "fl-needle" });
    const scale = h("div", { class: "fl-scale" }, this.ends[0], h("div", { class: "fl-bar" }, this.bar, this.needle), this.ends[1]);
    this.el = h("div", { class: `fl-screen cw-role-${role}` }, this.caption, this.holder, scale);
    const at = ({ clientX, clientY }) => {
      const box = this.canvas.getBoundingClientRect();
      const part = [(clientY - box.top) / box.height, (clientX - box.left) / box.width];
      return part.map((value) => clamp(Math.floor(value * SIZE), 0, SIZE - 1));
    };
    drag(this.holder, { tap: true, move: (event) => pick(...at(event)) });
    this.holder.addEventListener("pointermove", (event) => event.pointerType === "mouse" && !event.buttons && peek(at(event)));
    this.holder.addEventListener("pointerleave", () => peek(null));
  }

  draw(data, { signed = false, low = signed ? -largest(data) : 0, high = signed ? -low : 1 }, ends = [number(low), number(high)]) {
    Object.assign(this, { low, high, data });
    const scale = Float32Array.from({ length: 128 }, (_, k) => low + ((high - low) * k) / 127);
    drawPixels(this.canvas, data, SIZE, SIZE, { signed, low, high });
    drawPixels(this.bar, scale, 1, 128, { signed, low, high });
    ends.forEach((text, k) => (this.ends[k].textContent = text));
  }

  /* Puts the mark on the pixel, K wide, and the needle of the scale on its number. */
  place(row, col, K) {
    for (const [name, value] of Object.entries({ row: row - (K >> 1), col: col - (K >> 1), k: K }))
      this.mark.style.setProperty(`--${name}`, value);
    const part = (this.data[row * SIZE + col] - this.low) / (this.high - this.low || 1);
    this.needle.style.left = `${100 * clamp(part, 0, 1)}%`;
  }
}

/* The products that are not zero, and their sum; the one of the chosen weight is marked. */
function written(patch, rows, result, chosen) {
  const terms = rows.flatMap((line, a) =>
    line.map((value, b) => [value, h("span", { class: a === chosen[0] && b === chosen[1] ? "fl-term fl-chosen" : "fl-term" },
      h("span", { class: "cw-in" }, number(patch[a][b])), "·", h("span", { class: "cw-fi" }, bracketed(value)))])
  );
  const shown = terms.filter(([value]) => value !== 0).flatMap(([, term], k) => (k ? [" + ", term] : [term]));
  const near = (value) => Math.abs(value - hundredths(value)) < 1e-5;
  const exact = near(result) && rows.flat().every(near);
  return [...(shown.length ? shown : ["0"]), exact ? " = " : " ≈ ", h("span", { class: "cw-ou" }, number(result))];
}

/* --- the widget --------------------------------------------------------------------------------------- */

async function render(context) {
  const pictures = { pattern: pattern(), photo: await loaded(PHOTO).catch(() => null) };
  const w = frame(context, "filter_lab");
  const { t } = w;

  /* What is shown, of what and where. */
  const kernel = () => {
    const rows = w.get("weight"); // an address may say 4 x 3
    return resized(rows, Math.max(rows.length, rows[0].length) > 3 ? 5 : 3);
  };
  const chosen = () => [w.get("i"), w.get("j")].map((k) => Math.min(k, kernel().length - 1));
  const shown = () => (w.get("own") !== "none" && own.pixels ? w.get("own") : pictures.photo ? w.get("source") : "pattern");
  let peeked = null; // the pixel under the mouse
  const place = () => peeked ?? [w.get("row"), w.get("col")];
  let [x, out] = [null, null];

  const put = (row, col, value) => {
    const rows = kernel();
    rows[row][col] = value;
    w.set({ weight: rows });
  };
  const edit = (row, col, value) => {
    if (value !== null) put(row, col, value);
    readout(); // what was typed may have to be put back
  };
  const change = (rows) => w.set({ weight: rows.map((line) => line.map((value) => clamp(value, -99, 99))) });

  /* Screens. */
  const peek = (pixel) => {
    peeked = pixel;
    readout();
  };
  const pick = (row, col) => {
    peeked = null;
    w.set({ row, col });
    before.mark.focus({ preventScroll: true });
  };
  const before = new Screen(t("input"), "input", { peek, pick });
  const after = new Screen(t("output"), "output", { peek, pick });
  for (const [name, value] of Object.entries({ role: "slider", tabindex: 0, "aria-label": t("pixel"), "aria-valuemin": 0, "aria-valuemax": SIZE * SIZE - 1 }))
    before.mark.setAttribute(name, value);
  before.mark.addEventListener("keydown", (event) => {
    const way = ARROWS[event.key];
    if (!way) return;
    event.preventDefault();
    const step = event.shiftKey ? 10 : 1;
    const [row, col] = [w.get("row"), w.get("col")].map((k, axis) => clamp(k + way[axis] * step, 0, SIZE - 1));
    w.set({ row, col });
  });

  /* Numbers. */
  const patchGrid = new NumberGrid(w, { label: t("patch"), role: "input" });
  const filter = new NumberGrid(w, { label: t("filter"), role: "filter", onedit: edit });
  const result = new NumberGrid(w, { label: t("result"), role: "output" });
  filter.cellsBox.addEventListener("focusin", () => w.set({ i: filter.active[0], j: filter.active[1] }));
  const line = h("p", { class: "cw-say cw-sum" });
  const sum = h("p", { class: "cw-say" });
  const range = h("input", { type: "range", min: -5, max: 5, step: 0.1 });
  range.addEventListener("input", () => put(...chosen(), Number(range.value)));
  const [rangeName, rangeValue] = [h("span"), h("output")];

  /* Buttons. */
  const warning = h("p", { class: "cw-warn", hidden: true });
  const warn = (key) => {
    warning.hidden = !key;
    warning.textContent = key ? t(key) : "";
    if (key) w.say(warning.textContent);
  };
  const own = new OwnPictures(w, { changed: () => (warn(null), draw()), failed: warn });
  const take = (source) => () => (warn(null), w.set({ source, own: "none" }));
  const sources = {
    photo: button(t("source_photo"), take("photo")),
    pattern: button(t("source_pattern"), take("pattern")),
    file: button(t("source_file"), () => own.input.click()),
  };
  if (!pictures.photo) delete sources.photo;
  if (navigator.mediaDevices?.getUserMedia) sources.camera = button(t("source_camera"), () => (own.stream ? own.still() : own.film()));
  const sizes = [3, 5].map((K) =>
    button(`${K}×${K}`, () => w.set({ weight: resized(kernel(), K), ...Object.fromEntries(["i", "j"].map((k, axis) => [k, clamp(chosen()[axis] + (K - kernel().length) / 2, 0, K - 1)])) }))
  );
  const normalise = button(t("normalise"), () => change(kernel().map((row) => row.map((value) => value / sumOf(kernel())))));
  const negate = button(t("negate"), () => change(kernel().map((row) => row.map((value) => 0 - value))));
  const turn = button(t("transpose"), () => change(transposed(kernel())));
  const presets = Object.entries(PRESETS).map(([name, [view, make]]) => button(t(`preset_${name}`), () => w.set({ weight: make(kernel().length), view })));
  const credit = h("span", {}, t("credit"));

  /* All that depends on the picture or the filter. */
  function draw() {
    if (w.get("own") !== "camera") own.stop();
    const rows = kernel();
    x = own.pixels && shown() === w.get("own") ? own.pixels : pictures[shown()];
    out = conv2d(tensor([1, 1, SIZE, SIZE], x), tensor([1, 1, rows.length, rows.length], rows.flat()), null, { padding: rows.length >> 1 }).data;
    if (before.data !== x) before.draw(x, {}); // not again while a weight is dragged
    if (w.get("view") === "gray") after.draw(out, {}, ["≤ 0", "≥ 1"]);
    else after.draw(out, { signed: true });

    for (const [name, one] of Object.entries(sources)) one.setAttribute("aria-pressed", name === shown());
    if (sources.camera) sources.camera.textContent = t(own.stream ? "camera_stop" : "source_camera");
    credit.hidden = shown() !== "photo";
    Object.values(PRESETS).forEach(([, make], k) => presets[k].setAttribute("aria-pressed", String(make(rows.length)) === String(rows)));
    sizes.forEach((one, k) => one.setAttribute("aria-pressed", rows.length === [3, 5][k]));
    const total = sumOf(rows);
    normalise.disabled = total === 0;
    sum.replaceChildren(`${t("sum")} `, h("b", {}, number(total)), " ", t({ 0: "sum_zero", 1: "sum_one" }[total] ?? "sum_other", { sum: number(total) }));
    readout();
  }

  /* All that depends on the pixel. */
  function readout() {
    const [rows, [row, col], at] = [kernel(), place(), chosen()];
    const half = rows.length >> 1;
    const outside = (a, b) => Math.min(row + a, col + b) < half || Math.max(row + a, col + b) >= SIZE + half;
    const patch = rows.map((cells, a) => cells.map((_, b) => (outside(a, b) ? 0 : x[(row + a - half) * SIZE + col + b - half])));
    const here = (a, b) => (a === at[0] && b === at[1] ? "cw-here" : "");
    const value = out[row * SIZE + col];
    patchGrid.set(patch, (shade) => shade.toFixed(2));
    patchGrid.mark((a, b) => `${here(a, b)} ${outside(a, b) ? "cw-pad" : ""}`);
    patch.forEach((cells, a) => cells.forEach((shade, b) => paint(patchGrid.cells[a][b], outside(a, b) ? null : shade)));
    filter.set(rows);
    filter.mark(here);
    result.set([[value]]);
    result.mark(() => "cw-lit");
    line.replaceChildren(`${t("cell", { row, col })}: `, ...written(patch, rows, value, at));
    range.value = rows[at[0]][at[1]];
    rangeName.textContent = t("chosen", { row: at[0], col: at[1] });
    rangeValue.textContent = number(rows[at[0]][at[1]]);
    range.setAttribute("aria-valuetext", rangeValue.textContent);
    before.place(row, col, rows.length);
    after.place(row, col, 1);
    before.mark.setAttribute("aria-valuenow", row * SIZE + col);
    before.mark.setAttribute("aria-valuetext", t("at", { row, col, before: number(x[row * SIZE + col]), after: number(value) }));
  }
  /* A cell looks like its pixel. */
  const paint = (cell, shade) => {
    cell.style.background = shade === null ? "" : `rgb(${Array(3).fill(Math.round(255 * shade)).join(" ")})`;
    cell.style.color = shade === null ? "" : shade < 0.46 ? "#fff" : "#000";
  };

  w.body.append(
    h("div", { class: "cw-buttons" }, h("span", {}, t("pictures")), ...Object.values(sources), own.input),
    warning,
    h("div", { class: "fl-screens" }, before.el, after.el),
    choice(w, "view"),
    h("div", { class: "cw-buttons" }, h("span", {}, t("presets")), ...presets),
    h("p", {}, t("hint")),
    h("div", { class: "cw-row-of fl-numbers" }, patchGrid.el, filter.el, result.el),
    line,
    controls(h("label", { class: "cw-slider fl-range" }, rangeName, range, rangeValue)),
    sum,
    h("div", { class: "cw-buttons" }, h("span", {}, t("change")), ...sizes, normalise, negate, turn),
    h("p", { class: "fl-note" }, t("private"), " ", credit)
  );
  w.watch(["source", "own", "weight", "view"], draw);
  w.watch(["row", "col", "i", "j"], readout);
  return w.close;
}

export default { render };
