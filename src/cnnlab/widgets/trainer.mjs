/* A small CNN that learns to tell digits: in a worker, or, where there is none, in slices between a page's other work.
 * What it does follows from its seed and its settings alone, not from how fast it runs. */

import { conv2d, conv2dBackward, crossEntropy, crossEntropyBackward, linear, linearBackward, maxPool2d, maxPool2dBackward, relu, reluBackward, tensor } from "./core.mjs";
import { labels, pixels } from "./digit_data.mjs";

export const url = import.meta.url; // what a worker imports: this file, or this text
export const MOST = 100; // epochs
const EVERY = 480; // images between two points of the curves

/* --- data --------------------------------------------------------------------------------------------- */

const all = Float32Array.from(pixels, (level) => parseInt(level, 17) / 16);
const range = (from, to) => Array.from({ length: to - from }, (_, k) => from + k);
/* Every fifth image is held out: it is never trained on. */
export const TEST = range(0, labels.length).filter((k) => k % 5 === 0);
export const SHOWN = range(0, 20).map((k) => 18 * k + 4); // which of TEST are shown
export const TRAIN = range(0, labels.length).filter((k) => k % 5 !== 0);

/* The images and labels with these numbers: x (N, 1, 8, 8). */
export function taken(chosen) {
  const x = tensor([chosen.length, 1, 8, 8]);
  chosen.forEach((which, n) => x.data.set(all.subarray(64 * which, 64 * (which + 1)), 64 * n));
  return { x, target: chosen.map((which) => Number(labels[which])) };
}

/* --- chance, the same every time ---------------------------------------------------------------------- */

/* Numbers from 0 to 1: mulberry32. */
export function chance(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const normal = (random) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

function shuffled(list, random) {
  const order = [...list];
  for (let k = list.length - 1; k > 0; k--) {
    const other = Math.floor(random() * (k + 1));
    [order[k], order[other]] = [order[other], order[k]];
  }
  return order;
}

/* --- the network -------------------------------------------------------------------------------------- */

const SHAPES = { conv1: [8, 1, 3, 3], conv2: [16, 8, 3, 3], fc: [10, 256] };
const PAD = { padding: 1 };

/* Weights large enough that values keep their size from layer to layer; biases 0. */
function created(random) {
  const made = {};
  for (const [name, shape] of Object.entries(SHAPES)) {
    const weight = tensor(shape);
    const size = Math.sqrt((name === "fc" ? 1 : 2) / (weight.data.length / shape[0]));
    weight.data.forEach((_, p) => (weight.data[p] = size * normal(random)));
    Object.assign(made, { [name]: weight, [`${name}_bias`]: tensor([shape[0]]) });
  }
  return made;
}

/* (N, 1, 8, 8) to (N, 10), with what is needed on the way back. */
export function forward(p, x) {
  const sum1 = conv2d(x, p.conv1, p.conv1_bias, PAD);
  const map1 = relu(sum1);
  const small = maxPool2d(map1, 2);
  const sum2 = conv2d(small, p.conv2, p.conv2_bias, PAD);
  const flat = tensor([x.shape[0], SHAPES.fc[1]], relu(sum2).data);
  return { x, sum1, map1, small, sum2, flat, logits: linear(flat, p.fc, p.fc_bias) };
}

export function backward(p, seen, target) {
  const fc = linearBackward(crossEntropyBackward(seen.logits, target), seen.flat, p.fc);
  const conv2 = conv2dBackward(reluBackward(tensor(seen.sum2.shape, fc.gradX.data), seen.sum2), seen.small, p.conv2, PAD);
  const conv1 = conv2dBackward(reluBackward(maxPool2dBackward(conv2.gradX, seen.map1, 2), seen.sum1), seen.x, p.conv1, PAD);
  const grads = {};
  for (const [name, { gradWeight, gradBias }] of Object.entries({ conv1, conv2, fc })) Object.assign(grads, { [name]: gradWeight, [`${name}_bias`]: gradBias });
  return grads;
}

/* How far each number goes, given its gradient; `memory` belongs to the tensor, `step` counts from 1. */
const RULES = {
  sgd: (g) => g,
  momentum: (g, { v }, k) => (v[k] = 0.9 * v[k] + g),
  adam: (g, { v, s }, k, step) => {
    v[k] = 0.9 * v[k] + 0.1 * g;
    s[k] = 0.999 * s[k] + 0.001 * g * g;
    return v[k] / (1 - 0.9 ** step) / (Math.sqrt(s[k] / (1 - 0.999 ** step)) + 1e-8);
  },
};

const winner = (row) => row.reduce((best, value, k) => (value > row[best] ? k : best), 0);
const rowsOf = ({ data, shape: [N, K] }) => range(0, N).map((n) => data.subarray(n * K, (n + 1) * K));
const hits = (answers, target) => answers.filter((answer, n) => answer === target[n]).length;

export class Trainer {
  constructor(seed) {
    this.random = chance(seed);
    this.params = created(this.random);
    Object.assign(this, { step: 0, seen: 0, order: [], trouble: null, part: { loss: 0, right: 0, count: 0 } });
  }

  /* Epochs so far. */
  get epoch() {
    return this.seen / TRAIN.length;
  }

  /* The next images, as many as there are left of this epoch. */
  _next(batch) {
    if (!this.order.length) this.order = shuffled(TRAIN, this.random);
    return taken(this.order.splice(0, batch));
  }

  /* One step. Returns what it has to say for the curves, if it is time, else null. */
  advance({ optimizer, lr, batch }) {
    const { x, target } = this._next(batch);
    const seen = forward(this.params, x);
    const loss = crossEntropy(seen.logits, target);
    const grads = backward(this.params, seen, target);
    if (optimizer !== this.optimizer) this._forget(optimizer);
    this.since += 1;
    for (const [name, { data }] of Object.entries(this.params)) {
      const [grad, memory] = [grads[name].data, this.memory[name]];
      for (let k = 0; k < data.length; k++) data[k] -= lr * RULES[optimizer](grad[k], memory, k, this.since);
    }
    this.step += 1;
    this.seen += target.length;
    this.part.loss += loss * target.length;
    this.part.right += hits(rowsOf(seen.logits).map(winner), target);
    this.part.count += target.length;
    if (!Number.isFinite(loss)) this.trouble = "nan";
    return this.part.count >= EVERY || this.trouble ? this.point() : null;
  }

  /* What an optimizer remembers of its past; another one begins without. */
  _forget(optimizer) {
    Object.assign(this, { optimizer, since: 0, memory: {} });
    for (const [name, { data }] of Object.entries(this.params)) this.memory[name] = { v: new Float64Array(data.length), s: new Float64Array(data.length) };
  }

  /* A point of the curves: the training images since the last one, and all held-out images. */
  point() {
    const { x, target } = taken(TEST);
    const { logits } = forward(this.params, x);
    this.answers = rowsOf(logits).map(winner);
    const { loss, right, count } = this.part;
    this.part = { loss: 0, right: 0, count: 0 };
    const spread = range(0, 10).some((k) => Math.abs(logits.data[k] - logits.data[(TEST.length - 1) * 10 + k]) > 1e-6);
    if (!logits.data.every(Number.isFinite)) this.trouble = "nan";
    else if (!spread) this.trouble = "dead";
    return {
      epoch: this.epoch, step: this.step,
      loss: count ? loss / count : null, accuracy: count ? right / count : null,
      testLoss: crossEntropy(logits, target), testAccuracy: hits(this.answers, target) / target.length,
    };
  }
}

/* --- at the other end of a port ------------------------------------------------------------------------ */

/* Obeys messages {seed: begin anew, settings, run: go on or pause, once: one step}, and answers each and every slice
 * of time with the new points and how the network looks now. */
export function serve(port, slice = 100) {
  let [trainer, settings, running, timer] = [null, null, false, 0];
  const tell = (points) => {
    const { step, epoch, trouble, params, answers } = trainer;
    port.postMessage({ points, step, epoch, trouble, running, filters: Array.from(params.conv1.data), answers: SHOWN.map((k) => answers[k]) });
  };
  const work = () => {
    const until = performance.now() + slice;
    const points = [];
    do points.push(trainer.advance(settings));
    while (running && !trainer.trouble && trainer.epoch < MOST && performance.now() < until);
    running &&= !trainer.trouble && trainer.epoch < MOST;
    if (running) timer = setTimeout(work);
    tell(points.filter(Boolean));
  };
  port.onmessage = ({ data }) => {
    settings = data.settings ?? settings;
    if ("run" in data) running = data.run;
    clearTimeout(timer);
    if ("seed" in data) {
      trainer = new Trainer(data.seed);
      tell([trainer.point()]);
    }
    if (running || data.once) work();
    else if ("run" in data) tell([]);
  };
}
