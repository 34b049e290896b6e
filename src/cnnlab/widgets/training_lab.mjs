/* A network learns in the page: curves, filters and answers while it does, and settings to change meanwhile (chapter 11). */

import { MOST, SHOWN, TEST, TRAIN, serve, taken, url } from "./trainer.mjs";
import { button, choice, controls, drawPixels, field, frame, grouped, h, largest, number } from "./ui.mjs";

const [WIDE, HIGH] = [320, 160]; // of a chart, in its own units

/* The other end of a port at which a network learns. That is a worker: from a blob on a site, from a data: address on a
 * page from the disk, where blobs do not start. Where neither starts, slices of this thread do. */
function learner(w, receive) {
  const text = `import { serve } from "${url}"; serve(self);`;
  const blob = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const ways = [blob, `data:text/javascript,${encodeURIComponent(text)}`];
  let port = null;
  let heard = false;
  const sent = [];
  const close = () => {
    port?.postMessage({ run: false });
    port?.terminate?.();
    port?.close?.();
  };
  const use = (next) => {
    close();
    port = next;
    port.onmessage = ({ data }) => {
      heard = true;
      receive(data);
    };
    sent.forEach((message) => port.postMessage(message));
  };
  const here = () => {
    const { port1, port2 } = new MessageChannel();
    serve(port2, 15);
    w.closers.push(() => port2.close());
    use(port1);
  };
  const start = () => {
    if (!ways.length) return here();
    try {
      const worker = new Worker(ways.shift(), { type: "module" });
      worker.onerror = (event) => {
        if (heard) return;
        event.preventDefault();
        start();
      };
      use(worker);
    } catch {
      start();
    }
  };
  start();
  w.closers.push(close, () => URL.revokeObjectURL(blob));
  return (message) => {
    if (!heard) sent.push(message); // for whoever comes instead
    port.postMessage(message);
  };
}

/* A slider over certain values only, since the steps between good learning rates are factors. */
function steps(w, name, values, show) {
  const input = h("input", { type: "range", min: 0, max: values.length - 1, step: 1, "data-trait": name });
  const output = h("output", {});
  const nearest = (value) => values.reduce((best, one, k) => (Math.abs(Math.log(one / value)) < Math.abs(Math.log(values[best] / value)) ? k : best), 0);
  input.addEventListener("input", () => w.set({ [name]: values[input.value] }));
  w.watch([name], () => {
    input.value = nearest(w.get(name));
    output.textContent = show(w.get(name));
    input.setAttribute("aria-valuetext", output.textContent);
  });
  return h("label", { class: "cw-slider" }, h("span", {}, w.t(name)), input, output);
}

/* Two lines over the epochs. What is above the frame is drawn at its top. */
function chart(w, { label, keys, top, ticks, show }) {
  const [left, bottom] = [40, HIGH - 20];
  const y = (value) => bottom - (Math.min(value, top) / top) * (bottom - 8);
  const lines = keys.map((key, k) => h("polyline", { class: `cw-line-${k}` }));
  const grid = ticks.flatMap((tick) => [
    h("line", { x1: left, x2: WIDE - 6, y1: y(tick), y2: y(tick), class: "cw-rule" }),
    h("text", { x: left - 5, y: y(tick) + 4, "text-anchor": "end" }, show(tick)),
  ]);
  const marks = h("g", {});
  const end = h("text", { x: WIDE - 6, y: HIGH - 4, "text-anchor": "end" });
  const svg = h("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": label }, ...grid, h("text", { x: left, y: HIGH - 4 }, "0"), end, marks, ...lines);
  return {
    el: h("div", { class: "cw-chart" }, h("div", { class: "cw-caption" }, label), svg),
    draw(points, changes) {
      const last = points.at(-1)?.epoch ?? 0;
      const most = [5, 10, 20, 50, MOST].find((epochs) => epochs >= last) ?? MOST;
      const x = (epoch) => left + (epoch / most) * (WIDE - 6 - left);
      lines.forEach((line, k) => {
        const known = points.filter((point) => Number.isFinite(point[keys[k]]) && point[keys[k]] !== null);
        line.setAttribute("points", known.map((point) => `${x(point.epoch).toFixed(1)},${y(point[keys[k]]).toFixed(1)}`).join(" "));
      });
      end.textContent = w.t("epochs", { count: most });
      marks.replaceChildren(...changes.map((epoch) => h("line", { x1: x(epoch), x2: x(epoch), y1: 8, y2: bottom, class: "cw-change" })));
    },
  };
}

/* The filters of the first layer at the beginning and now, on one scale. */
function filters(w) {
  const row = (label) => {
    const pictures = Array.from({ length: 8 }, () => h("canvas", {}));
    return { pictures, el: h("div", { class: "cw-filters", role: "img", "aria-label": label }, h("span", {}, label), ...pictures) };
  };
  const [before, now] = [row(w.t("filters_before")), row(w.t("filters_now"))];
  return {
    el: h("div", { class: "cw-role-filter" }, h("div", { class: "cw-caption" }, w.t("filters")), before.el, now.el),
    draw(first, found) {
      const weights = found.map((value) => (Number.isFinite(value) ? value : 0));
      const high = Math.max(largest(first), largest(weights));
      for (const [{ pictures }, values] of [[before, first], [now, weights]])
        pictures.forEach((picture, k) => drawPixels(picture, values.slice(9 * k, 9 * k + 9), 3, 3, { signed: true, high }));
    },
  };
}

/* Some held-out digits with what the network says of them now. */
function answers(w) {
  const { x, target } = taken(SHOWN.map((k) => TEST[k]));
  const cells = target.map((_, n) => {
    const picture = h("canvas", { "aria-hidden": "true" });
    drawPixels(picture, x.data.subarray(64 * n, 64 * n + 64), 8, 8);
    const text = h("span", {});
    return { text, el: h("div", { role: "listitem", class: "cw-digit" }, picture, text) };
  });
  return {
    el: h("div", { class: "cw-role-output" }, h("div", { class: "cw-caption" }, w.t("answers")), h("div", { class: "cw-digits", role: "list" }, ...cells.map(({ el }) => el))),
    draw(found) {
      cells.forEach(({ text, el }, n) => {
        text.textContent = found[n];
        el.classList.toggle("cw-wrong", found[n] !== target[n]);
        el.setAttribute("aria-label", w.t(found[n] === target[n] ? "digit_right" : "digit_wrong", { digit: target[n], answer: found[n] }));
      });
    },
  };
}

function render(context) {
  const w = frame(context, "training_lab");
  const { t } = w;
  const settings = () => ({ optimizer: w.get("optimizer"), lr: w.get("lr"), batch: w.get("batch") });
  let state = null; // the last message
  let [points, changes, first, waiting, said] = [[], [], null, 0, 0];

  const send = learner(w, (message) => {
    if (!message.step && message.points.length) {
      [points, changes, first] = [[], [], message.filters];
    }
    state = message;
    points.push(...message.points);
    waiting ||= requestAnimationFrame(draw);
  });
  w.closers.push(() => cancelAnimationFrame(waiting));

  const go = button(t("start"), () => send({ run: !state?.running }), { class: "cw-go" });
  const once = button(t("one_step"), () => send({ run: false, once: true }));
  const restart = () => send({ seed: w.get("seed"), settings: settings(), run: false });
  const [loss, accuracy] = [
    chart(w, { label: t("loss"), keys: ["loss", "testLoss"], top: 2.5, ticks: [0, 0.5, 1, 1.5, 2, 2.5], show: number }),
    chart(w, { label: t("accuracy"), keys: ["accuracy", "testAccuracy"], top: 1, ticks: [0, 0.25, 0.5, 0.75, 1], show: (share) => `${100 * share}%` }),
  ];
  const [weights, seen] = [filters(w), answers(w)];
  const line = h("p", { class: "cw-say cw-sum" });
  const trouble = h("p", { class: "cw-warn", role: "alert" });

  function draw() {
    waiting = 0;
    const { running, step, epoch } = state;
    const now = points.at(-1);
    go.textContent = t(running ? "pause" : step ? "go_on" : "start");
    for (const one of [go, once]) one.disabled = Boolean(state.trouble) || epoch >= MOST;
    line.textContent = t("state", {
      step, epoch: number(epoch), right: Math.round(now.testAccuracy * TEST.length), all: TEST.length,
      accuracy: number(100 * now.testAccuracy, 1), loss: Number.isFinite(now.testLoss) ? number(now.testLoss, 3) : "NaN",
    });
    trouble.textContent = state.trouble ? t(`trouble_${state.trouble}`, { step, lr: number(w.get("lr"), 4) }) : epoch >= MOST ? t("enough", { epochs: MOST }) : "";
    loss.draw(points, changes);
    accuracy.draw(points, changes);
    weights.draw(first, state.filters);
    seen.draw(state.answers);
    const tenth = Math.floor(10 * now.testAccuracy);
    if (tenth !== said && step) w.say(line.textContent); // not every tenth of a second
    said = tenth;
  }

  w.body.append(
    h("p", {}, t("intro", { train: grouped(TRAIN.length), test: TEST.length })),
    controls(h("div", { class: "cw-buttons" }, go, once, button(t("restart"), restart)), field(w, "seed")),
    controls(choice(w, "optimizer")),
    controls(
      steps(w, "lr", [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10], (value) => number(value, 4)),
      steps(w, "batch", [1, 2, 4, 8, 16, 32, 64, 128, 256], number)
    ),
    line,
    trouble,
    h("p", { class: "cw-legend" }, h("span", { class: "cw-key-0" }, t("train")), " ", h("span", { class: "cw-key-1" }, t("held_out"))),
    h("div", { class: "cw-row-of cw-charts" }, loss.el, accuracy.el),
    h("div", { class: "cw-row-of" }, weights.el, seen.el)
  );
  w.root.querySelector(".cw-tools button").addEventListener("click", restart); // back to the beginning, weights too
  let begun = false;
  w.watch(["seed"], restart);
  w.watch(["optimizer", "lr", "batch"], () => {
    if (!begun) return (begun = true);
    send({ settings: settings() });
    if (state?.step) changes.push(state.epoch);
  });
  return w.close;
}

export default { render };
