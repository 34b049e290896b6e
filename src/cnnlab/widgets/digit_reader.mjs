/* How a drawn digit is read, without any drawing on the screen: from a text to ink, from ink to 28 x 28 pixels such as
 * those of MNIST, and through the network, forward and backward. */

import { conv2d, conv2dBackward, linear, linearBackward, maxPool2d, maxPool2dBackward, relu, reluBackward, softmax, tensor } from "./core.mjs";
import network from "./digit_network.mjs";

/* --- a drawing as text -------------------------------------------------------------------------------- */

/* First, if at all, a picture: 8 x 8 pixels from 0 to g (16), or 28 x 28 from 0 to f (15). Then strokes, each after
 * a "~": two characters for each point, column and row on a grid of 64 x 64. */
export const GRID = 64;
const LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";

export function parse(text) {
  const [digits, ...strokes] = text.split("~");
  const side = Math.sqrt(digits.length);
  return {
    picture: digits && { side, values: Float32Array.from(digits, (digit) => parseInt(digit, 17) / (side === 8 ? 16 : 15)) },
    strokes: strokes.map((stroke) => stroke.match(/../g).map(([col, row]) => [LETTERS.indexOf(col), LETTERS.indexOf(row)])),
  };
}

/* A text to be put behind a drawing: another point, or the first one of a stroke. */
export const point = ([col, row]) => LETTERS[col] + LETTERS[row];
export const withoutLast = (text) => (text.includes("~") ? text.slice(0, text.lastIndexOf("~")) : "");

/* --- ink ---------------------------------------------------------------------------------------------- */

export const SIDE = 112; // four times MNIST's 28
const FAINT = 0.1; // less is paper

/* Where a picture lies in the drawing: small ones in the middle, as MNIST has its digits. */
export const placeOf = ({ side }) => (side === 8 ? { start: SIDE / 7, size: (SIDE * 5) / 7 } : { start: 0, size: SIDE });

/* Values between those of a picture are mixed from its four neighbours. */
function enlarged(ink, picture) {
  const { side, values } = picture;
  const { start, size } = placeOf(picture);
  const between = Array.from({ length: size }, (_, k) => {
    const place = Math.min(Math.max(((k + 0.5) * side) / size - 0.5, 0), side - 1);
    const low = Math.min(Math.floor(place), side - 2);
    return [low, place - low];
  });
  between.forEach(([r, down], row) =>
    between.forEach(([c, right], col) => {
      const at = (i, j) => values[(r + i) * side + c + j];
      const top = at(0, 0) + right * (at(0, 1) - at(0, 0));
      const bottom = at(1, 0) + right * (at(1, 1) - at(1, 0));
      ink[(start + row) * SIDE + start + col] = top + down * (bottom - top);
    })
  );
}

/* Inks all within `radius` of the line from a to b; at the rim, half-way. */
function inkLine(ink, [ax, ay], [bx, by], radius) {
  const reach = radius + 1;
  const clip = (value) => Math.min(Math.max(Math.round(value), 0), SIDE);
  const [dx, dy] = [bx - ax, by - ay];
  const length = dx * dx + dy * dy;
  for (let row = clip(Math.min(ay, by) - reach); row < clip(Math.max(ay, by) + reach); row++)
    for (let col = clip(Math.min(ax, bx) - reach); col < clip(Math.max(ax, bx) + reach); col++) {
      const [px, py] = [col + 0.5 - ax, row + 0.5 - ay];
      const along = length ? Math.min(Math.max((px * dx + py * dy) / length, 0), 1) : 0;
      const strength = radius + 0.5 - Math.hypot(px - along * dx, py - along * dy);
      if (strength > ink[row * SIDE + col]) ink[row * SIDE + col] = Math.min(strength, 1);
    }
}

/* The smallest box around all that is ink, or null. */
function boxOf(ink) {
  const box = { top: SIDE, left: SIDE, bottom: 0, right: 0 };
  ink.forEach((value, place) => {
    if (value <= FAINT) return;
    const [row, col] = [Math.floor(place / SIDE), place % SIDE];
    box.top = Math.min(box.top, row);
    box.left = Math.min(box.left, col);
    box.bottom = Math.max(box.bottom, row + 1);
    box.right = Math.max(box.right, col + 1);
  });
  return box.bottom ? box : null;
}

/* A drawing as SIDE x SIDE values from 0 to 1. A digit drawn small gets a thin pen, since it will be enlarged. */
export function inked(text) {
  const ink = new Float32Array(SIDE * SIDE);
  const { picture, strokes } = parse(text);
  if (picture) enlarged(ink, picture);
  const onInk = strokes.map((stroke) => stroke.map((at) => at.map((value) => ((value + 0.5) * SIDE) / GRID)));
  const box = boxOf(ink);
  const points = [...onInk.flat(), ...(box ? [[box.left, box.top], [box.right, box.bottom]] : [])];
  const extent = [0, 1].map((axis) => Math.max(...points.map((at) => at[axis])) - Math.min(...points.map((at) => at[axis])));
  const radius = Math.min(Math.max(0.07 * Math.max(...extent), 2), 7);
  for (const stroke of onInk) stroke.forEach((at, k) => inkLine(ink, stroke[Math.max(k - 1, 0)], at, radius));
  return ink;
}

/* For each of 28 pixels, which part of the ink along one axis falls into it: [first, last, shares of each]. */
function shares(scale, shift) {
  return Array.from({ length: 28 }, (_, pixel) => {
    const [from, to] = [(pixel - shift) / scale, (pixel + 1 - shift) / scale];
    const first = Math.max(Math.floor(from), 0);
    const last = Math.min(Math.ceil(to), SIDE);
    const parts = [];
    for (let k = first; k < last; k++) parts.push((Math.min(k + 1, to) - Math.max(k, from)) * scale);
    return { first, parts };
  });
}

/* Ink as MNIST has it: the box around the digit becomes at most 20 x 20, its centre of mass the middle of 28 x 28. */
export function prepared(ink) {
  const x = tensor([1, 1, 28, 28]);
  const box = boxOf(ink);
  if (!box) return x;
  const scale = 20 / Math.max(box.bottom - box.top, box.right - box.left);
  let [mass, down, across] = [0, 0, 0];
  ink.forEach((value, place) => {
    mass += value;
    down += value * (Math.floor(place / SIDE) + 0.5);
    across += value * ((place % SIDE) + 0.5);
  });
  // MNIST's lie around 14.5. Never so far that the box sticks out.
  const shift = (centre, low, high) => Math.min(Math.max(14.5 - (centre / mass) * scale, -low * scale), 28 - high * scale);
  const rows = shares(scale, shift(down, box.top, box.bottom));
  const cols = shares(scale, shift(across, box.left, box.right));
  rows.forEach((row, m) =>
    cols.forEach((col, q) => {
      let sum = 0;
      row.parts.forEach((high, i) => col.parts.forEach((wide, j) => (sum += high * wide * ink[(row.first + i) * SIDE + col.first + j])));
      x.data[m * 28 + q] = Math.min(sum, 1);
    })
  );
  return x;
}

/* --- the network -------------------------------------------------------------------------------------- */

/* Whole numbers in base64, times one scale per filter. */
function unpacked() {
  const whole = Int8Array.from(atob(network.weights), (letter) => letter.charCodeAt(0));
  let start = 0;
  return network.layers.map(({ shape, scale, bias }) => {
    const weight = tensor(shape);
    const size = weight.data.length / shape[0];
    for (let p = 0; p < weight.data.length; p++) weight.data[p] = whole[start + p] * Math.fround(scale[Math.floor(p / size)]);
    start += weight.data.length;
    return { weight, bias: tensor([shape[0]], bias) };
  });
}

const [first, second, third, last] = unpacked();
const pool = { kind: "pool" };
/* One filter per class, as large as the maps below: that is what a fully connected layer is. */
last.weight = tensor([10, third.weight.shape[0], 5, 5], last.weight.data);

/* From the picture to the answer: `name` and what a layer does with the layer before. */
export const LAYERS = [
  { name: "conv1", kind: "conv", ...first, options: { padding: 2 } },
  { name: "pool1", ...pool },
  { name: "conv2", kind: "conv", ...second, options: { padding: 1 } },
  { name: "pool2", ...pool },
  { name: "conv3", kind: "conv", ...third, options: {} },
  { name: "logits", kind: "linear", ...last, options: {} },
];
LAYERS.forEach((layer, k) => (layer.below = k ? LAYERS[k - 1].name : "input"));
const byName = Object.fromEntries(LAYERS.map((layer) => [layer.name, layer]));

const flat = (x) => tensor([x.shape[0], x.data.length / x.shape[0]], x.data);

/* All that is computed on the way from images (N, 1, 28, 28), by the name of the layer; `sums` are those of the
 * convolutions before ReLU. */
export function forward(x) {
  const seen = { input: x, sums: {} };
  let now = x;
  for (const { name, kind, weight, bias, options } of LAYERS) {
    if (kind === "pool") now = maxPool2d(now, 2);
    else if (kind === "linear") now = linear(flat(now), flat(weight), bias);
    else now = relu((seen.sums[name] = conv2d(now, weight, bias, options)));
    seen[name] = now;
  }
  seen.probabilities = softmax(seen.logits);
  return seen;
}

/* How the score of a class changes with each pixel: the way back through the network. */
export function gradient(seen, label) {
  let grad = tensor([1, 10]);
  grad.data[label] = 1;
  for (const { name, kind, below, weight, options } of [...LAYERS].reverse()) {
    const x = seen[below];
    if (kind === "pool") grad = maxPool2dBackward(grad, x, 2);
    else if (kind === "linear") grad = tensor(x.shape, linearBackward(grad, flat(x), flat(weight)).gradX.data);
    else grad = conv2dBackward(reluBackward(grad, seen.sums[name]), x, weight, options).gradX;
  }
  return grad;
}

export const COVER = 7; // pixels across
export const PLACES = 28 - COVER + 1;

/* The probability of a class with a square of one brightness over the picture, at each place of one row. */
export function covered(x, row, value, label) {
  const images = tensor([PLACES, 1, 28, 28]);
  for (let col = 0; col < PLACES; col++) {
    const image = images.data.subarray(col * 784, (col + 1) * 784);
    image.set(x.data);
    for (let i = row; i < row + COVER; i++) image.fill(value, i * 28 + col, i * 28 + col + COVER);
  }
  const { probabilities } = forward(images);
  return Array.from({ length: PLACES }, (_, col) => probabilities.data[col * 10 + label]);
}

/* Where the number of a unit comes from: for each map of the layer below, the pixels in the window (null in the padding)
 * and the weights behind them, with the sum of their products. The last layer has one window: all. */
export function origin(seen, name, map, row, col) {
  const { kind, below, weight, bias, options } = byName[name];
  const [, C, H, W] = seen[below].shape;
  const size = kind === "pool" ? 2 : weight.shape[2];
  const [top, left] = kind === "pool" ? [2 * row, 2 * col] : [row - (options.padding ?? 0), col - (options.padding ?? 0)];
  const square = (at) => Array.from({ length: size }, (_, i) => Array.from({ length: size }, (_, j) => at(i, j)));
  const pixels = (channel) =>
    square((i, j) => {
      const [r, c] = [top + i, left + j];
      return r < 0 || c < 0 || r >= H || c >= W ? null : seen[below].data[(channel * H + r) * W + c];
    });
  const window = { row: top, col: left, rows: size, cols: size };
  if (kind === "pool") return { kind, below, window, parts: [{ channel: map, pixels: pixels(map) }] };
  const parts = Array.from({ length: C }, (_, channel) => {
    const part = { channel, pixels: pixels(channel), weights: square((i, j) => weight.data[((map * C + channel) * size + i) * size + j]) };
    part.products = square((i, j) => (part.pixels[i][j] ?? 0) * part.weights[i][j]);
    return { ...part, sum: part.products.flat().reduce((a, b) => a + b) };
  });
  return { kind, below, window, parts, bias: bias.data[map] };
}
