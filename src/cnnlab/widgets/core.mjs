/* The operations of a CNN in JavaScript: those of `cnnlab.ops`, on arrays of 32-bit numbers.
 *
 * A tensor is `{ data: Float32Array, shape: [...] }`, in the order of PyTorch: (N, C, H, W) for images,
 * (OC, C, KH, KW) for filters. Functions return new tensors and change nothing. Options carry torch's names;
 * each is a number or [vertical, horizontal].
 */

export function tensor(shape, data = null) {
  const size = shape.reduce((product, length) => product * length, 1);
  if (data && data.length !== size) throw new RangeError(`${data.length} numbers do not have the shape (${shape.join(", ")})`);
  return { shape: [...shape], data: data ? new Float32Array(data) : new Float32Array(size) };
}

/* A table of numbers, as rows, becomes (1, 1, H, W), and back. */
export const fromRows = (rows) => tensor([1, 1, rows.length, rows[0].length], rows.flat());
export const toRows = ({ data, shape }) => {
  const W = shape.at(-1);
  return Array.from({ length: shape.at(-2) }, (_, row) => Array.from(data.subarray(row * W, (row + 1) * W)));
};

export const pair = (value) => (Array.isArray(value) ? value : [value, value]);

/* Pixels that a window spans from end to end. */
export const span = (kernel, dilation = 1) => dilation * (kernel - 1) + 1;

/* Places of a window along one axis; 0 where it does not fit. */
export function convOutputSize(size, kernel, { stride = 1, padding = 0, dilation = 1 } = {}) {
  return Math.max(0, Math.floor((size + 2 * padding - span(kernel, dilation)) / stride) + 1);
}

/* --- windows ------------------------------------------------------------------------------------------ */

function sizes(x, [KH, KW], options) {
  const [N, C, H, W] = x.shape;
  const [[SH, SW], [PH, PW], [DH, DW]] = [options.stride ?? 1, options.padding ?? 0, options.dilation ?? 1].map(pair);
  const OH = convOutputSize(H, KH, { stride: SH, padding: PH, dilation: DH });
  const OW = convOutputSize(W, KW, { stride: SW, padding: PW, dilation: DW });
  if (!OH || !OW) throw new RangeError(`a window of ${KH} x ${KW} does not fit into an image of ${H} x ${W}`);
  return { N, C, H, W, KH, KW, SH, SW, PH, PW, DH, DW, OH, OW };
}

/* The outputs at which pixel `k` of the window lies on the image: from the first to the one behind the last. */
function reach(size, out, k, stride, padding, dilation) {
  const shift = padding - k * dilation;
  return [Math.max(0, Math.ceil(shift / stride)), Math.min(out, Math.floor((size - 1 + shift) / stride) + 1)];
}

/* Calls `visit(i, j, row, pixel, count)` for each pixel (i, j) of the window and each row of outputs: the
 * `count` outputs from `row` on see the pixels from `pixel` on, SW apart. Padding is left out, since it is 0. */
function rows(s, visit) {
  for (let i = 0; i < s.KH; i++) {
    const [top, bottom] = reach(s.H, s.OH, i, s.SH, s.PH, s.DH);
    for (let j = 0; j < s.KW; j++) {
      const [left, right] = reach(s.W, s.OW, j, s.SW, s.PW, s.DW);
      if (right <= left) continue;
      for (let m = top; m < bottom; m++) {
        const pixel = (m * s.SH + i * s.DH - s.PH) * s.W + left * s.SW + j * s.DW - s.PW;
        visit(i, j, m * s.OW + left, pixel, right - left);
      }
    }
  }
}

/* cols[(n, m, q), (c, i, j)] is pixel (i, j) of the window at (m, q): (N*OH*OW, C*KH*KW). */
export function im2col(x, kernel, options = {}) {
  const s = sizes(x, pair(kernel), options);
  const width = s.C * s.KH * s.KW;
  const cols = tensor([s.N * s.OH * s.OW, width]);
  for (let n = 0; n < s.N; n++)
    for (let c = 0; c < s.C; c++)
      rows(s, (i, j, row, pixel, count) => {
        const from = (n * s.C + c) * s.H * s.W + pixel;
        const to = (n * s.OH * s.OW + row) * width + (c * s.KH + i) * s.KW + j;
        for (let k = 0; k < count; k++) cols.data[to + k * width] = x.data[from + k * s.SW];
      });
  return cols;
}

/* Adds every window's pixels back to where im2col took them: (N, C, H, W). */
export function col2im(cols, shape, kernel, options = {}) {
  const x = tensor(shape);
  const s = sizes(x, pair(kernel), options);
  const width = s.C * s.KH * s.KW;
  for (let n = 0; n < s.N; n++)
    for (let c = 0; c < s.C; c++)
      rows(s, (i, j, row, pixel, count) => {
        const to = (n * s.C + c) * s.H * s.W + pixel;
        const from = (n * s.OH * s.OW + row) * width + (c * s.KH + i) * s.KW + j;
        for (let k = 0; k < count; k++) x.data[to + k * s.SW] += cols.data[from + k * width];
      });
  return x;
}

/* --- convolution -------------------------------------------------------------------------------------- */

/* (N * places, OC), one place after the other, becomes (N, OC, OH, OW), and back. */
function toMaps({ data }, [N, OC, OH, OW]) {
  const maps = tensor([N, OC, OH, OW]);
  const places = OH * OW;
  for (let n = 0; n < N; n++)
    for (let o = 0; o < OC; o++)
      for (let p = 0; p < places; p++) maps.data[(n * OC + o) * places + p] = data[(n * places + p) * OC + o];
  return maps;
}
function toPlaces({ data, shape: [N, OC, OH, OW] }) {
  const places = OH * OW;
  const list = tensor([N * places, OC]);
  for (let n = 0; n < N; n++)
    for (let o = 0; o < OC; o++)
      for (let p = 0; p < places; p++) list.data[(n * places + p) * OC + o] = data[(n * OC + o) * places + p];
  return list;
}

const flatFilters = (weight) => tensor([weight.shape[0], weight.data.length / weight.shape[0]], weight.data);

/* out[n, o, m, q] = bias[o] + sum over c, i, j of x[n, c, m*SH + i*DH - PH, q*SW + j*DW - PW] weight[o, c, i, j]
 * That is a linear layer, the same for every window: chapter 6. */
export function conv2d(x, weight, bias = null, options = {}) {
  const [OC, , KH, KW] = weight.shape;
  const { N, OH, OW } = sizes(x, [KH, KW], options);
  return toMaps(linear(im2col(x, [KH, KW], options), flatFilters(weight), bias), [N, OC, OH, OW]);
}

/* What went through a weight in `conv2d` goes back through it, in the other direction. */
export function conv2dBackward(gradOut, x, weight, options = {}) {
  const kernel = weight.shape.slice(2);
  const grad = linearBackward(toPlaces(gradOut), im2col(x, kernel, options), flatFilters(weight));
  return {
    gradX: col2im(grad.gradX, x.shape, kernel, options),
    gradWeight: tensor(weight.shape, grad.gradWeight.data),
    gradBias: grad.gradBias,
  };
}

/* --- pooling ------------------------------------------------------------------------------------------ */

const pooled = (x, kernel, { stride = kernel, padding = 0 }) => sizes(x, pair(kernel), { stride, padding });

/* The largest value of every window, and which pixel of its image that is: of equals the first, as in torch. */
export function winners(x, kernel, options = {}) {
  const s = pooled(x, kernel, options);
  const out = tensor([s.N, s.C, s.OH, s.OW]);
  const indices = new Int32Array(out.data.length);
  out.data.fill(-Infinity);
  for (let plane = 0; plane < s.N * s.C; plane++)
    rows(s, (i, j, row, pixel, count) => {
      for (let k = 0; k < count; k++) {
        const to = plane * s.OH * s.OW + row + k;
        const value = x.data[plane * s.H * s.W + pixel + k * s.SW];
        if (value > out.data[to]) {
          out.data[to] = value;
          indices[to] = pixel + k * s.SW;
        }
      }
    });
  return { out, indices };
}

export const maxPool2d = (x, kernel, options = {}) => winners(x, kernel, options).out;

/* Only the winner has had an influence. */
export function maxPool2dBackward(gradOut, x, kernel, options = {}) {
  const { indices } = winners(x, kernel, options);
  const gradX = tensor(x.shape);
  const [, , H, W] = x.shape;
  const size = gradOut.shape[2] * gradOut.shape[3];
  gradOut.data.forEach((g, p) => (gradX.data[Math.floor(p / size) * H * W + indices[p]] += g));
  return gradX;
}

/* Padding counts as zeros, as in torch. */
export function avgPool2d(x, kernel, options = {}) {
  const s = pooled(x, kernel, options);
  const out = tensor([s.N, s.C, s.OH, s.OW]);
  const share = 1 / (s.KH * s.KW);
  for (let plane = 0; plane < s.N * s.C; plane++)
    rows(s, (i, j, row, pixel, count) => {
      for (let k = 0; k < count; k++)
        out.data[plane * s.OH * s.OW + row + k] += share * x.data[plane * s.H * s.W + pixel + k * s.SW];
    });
  return out;
}

export function avgPool2dBackward(gradOut, x, kernel, options = {}) {
  const gradX = tensor(x.shape);
  const s = pooled(x, kernel, options);
  const share = 1 / (s.KH * s.KW);
  for (let plane = 0; plane < s.N * s.C; plane++)
    rows(s, (i, j, row, pixel, count) => {
      for (let k = 0; k < count; k++)
        gradX.data[plane * s.H * s.W + pixel + k * s.SW] += share * gradOut.data[plane * s.OH * s.OW + row + k];
    });
  return gradX;
}

/* --- the rest of a network ---------------------------------------------------------------------------- */

export const relu = (x) => tensor(x.shape, x.data.map((value) => Math.max(value, 0)));
export const reluBackward = (gradOut, x) => tensor(x.shape, gradOut.data.map((g, p) => (x.data[p] > 0 ? g : 0)));

/* x (N, IN), weight (OUT, IN), bias (OUT): (N, OUT). Four outputs at a time: what is read from x serves four times. */
export function linear(x, weight, bias = null) {
  const [N, [OUT, IN]] = [x.shape[0], weight.shape];
  const out = tensor([N, OUT]);
  const [xs, ws, sums] = [x.data, weight.data, out.data];
  for (let n = 0; n < N; n++) {
    const end = (n + 1) * IN;
    let o = 0;
    for (; o + 4 <= OUT; o += 4) {
      let [w, sum0, sum1, sum2, sum3] = [o * IN, 0, 0, 0, 0];
      for (let i = n * IN; i < end; i++, w++) {
        sum0 += xs[i] * ws[w];
        sum1 += xs[i] * ws[w + IN];
        sum2 += xs[i] * ws[w + 2 * IN];
        sum3 += xs[i] * ws[w + 3 * IN];
      }
      const to = n * OUT + o;
      [sums[to], sums[to + 1], sums[to + 2], sums[to + 3]] = [sum0, sum1, sum2, sum3];
    }
    for (; o < OUT; o++) {
      let sum = 0;
      for (let i = n * IN, w = o * IN; i < end; i++, w++) sum += xs[i] * ws[w];
      sums[n * OUT + o] = sum;
    }
  }
  if (bias) for (let p = 0; p < N * OUT; p++) sums[p] += bias.data[p % OUT];
  return out;
}

/* Adds to one row the rows of `values`, each times its factor, four at a time. */
function addRows(row, start, width, values, count, factors, first, step) {
  let k = 0;
  for (; k + 4 <= count; k += 4) {
    const f = first + k * step;
    const [f0, f1, f2, f3] = [factors[f], factors[f + step], factors[f + 2 * step], factors[f + 3 * step]];
    for (let to = start, v = k * width; to < start + width; to++, v++)
      row[to] += f0 * values[v] + f1 * values[v + width] + f2 * values[v + 2 * width] + f3 * values[v + 3 * width];
  }
  for (; k < count; k++) for (let i = 0; i < width; i++) row[start + i] += factors[first + k * step] * values[k * width + i];
}

export function linearBackward(gradOut, x, weight) {
  const [N, [OUT, IN]] = [x.shape[0], weight.shape];
  const [gradX, gradWeight, gradBias] = [x.shape, weight.shape, [OUT]].map((shape) => tensor(shape));
  for (let n = 0; n < N; n++) addRows(gradX.data, n * IN, IN, weight.data, OUT, gradOut.data, n * OUT, 1);
  for (let o = 0; o < OUT; o++) addRows(gradWeight.data, o * IN, IN, x.data, N, gradOut.data, o, OUT);
  for (let p = 0; p < N * OUT; p++) gradBias.data[p % OUT] += gradOut.data[p];
  return { gradX, gradWeight, gradBias };
}

/* Each row of (N, K) becomes probabilities. */
export function softmax(logits) {
  const K = logits.shape[1];
  const out = tensor(logits.shape);
  for (let row = 0; row < out.data.length; row += K) {
    const values = logits.data.subarray(row, row + K);
    const highest = Math.max(...values); // so that exp cannot overflow
    const powers = Array.from(values, (value) => Math.exp(value - highest));
    const sum = powers.reduce((a, b) => a + b);
    powers.forEach((power, k) => (out.data[row + k] = power / sum));
  }
  return out;
}

/* Mean over the N rows of -log(probability of the right class), from the logits (N, K). */
export function crossEntropy(logits, target) {
  const K = logits.shape[1];
  let sum = 0;
  target.forEach((label, n) => {
    const values = logits.data.subarray(n * K, (n + 1) * K);
    const highest = Math.max(...values);
    sum += highest + Math.log(values.reduce((total, value) => total + Math.exp(value - highest), 0)) - values[label];
  });
  return sum / target.length;
}

/* (probability - 1 where it should be 1) / N */
export function crossEntropyBackward(logits, target) {
  const grad = softmax(logits);
  const [N, K] = logits.shape;
  target.forEach((label, n) => (grad.data[n * K + label] -= 1));
  return tensor(grad.shape, grad.data.map((g) => g / N));
}
