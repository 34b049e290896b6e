/* A picture is moved by a few pixels; what changes in it, and what in its pooled output (chapter 05). */

import { avgPool2d, convOutputSize, fromRows, toRows, winners } from "./core.mjs";
import { MovingWindow, NumberGrid, bracketed, button, buttonRow, check, choice, chooser, clamp, controls, frame, h, number, replaced, slider } from "./ui.mjs";

const PRESETS = {
  course: { x: [[7, 1, 2, 0, 5, 2], [3, 0, 4, 1, 3, 1], [6, 2, 8, 3, 2, 1], [0, 1, 5, 0, 4, 0]], K: 2, S: 2 },
  line: { x: Array(4).fill([0, 0, 1, 1, 1, 0, 0, 0]), K: 2, S: 2, col: 1 },
  square: { x: [0, 0, 8, 8, 0, 0].map((value) => [0, 0, value, value, 0, 0]), K: 2, S: 2, row: 1, col: 1 },
  overlap: { x: [[1, 0, 2, 1, 0], [3, 1, 0, 4, 1], [0, 2, 9, 1, 0], [1, 0, 3, 2, 1], [5, 1, 0, 0, 6]], K: 3, S: 2 },
};
const WAYS = { left: ["←", 0, -1], up: ["↑", -1, 0], down: ["↓", 1, 0], right: ["→", 0, 1] };

/* --- numbers ------------------------------------------------------------------------------------------ */

/* Zeros come in where the picture leaves; what leaves is lost. */
export const shifted = (rows, down, right) => rows.map((line, r) => line.map((_, c) => rows[r - down]?.[c - right] ?? 0));

function pool(rows, kind, K, S) {
  if (kind === "avg") return { out: toRows(avgPool2d(fromRows(rows), K, { stride: S })), won: new Set() };
  const { out, indices } = winners(fromRows(rows), K, { stride: S });
  return { out: toRows(out), won: new Set(indices) };
}

const differ = (a, b) => Math.abs(a - b) > 1e-5; // two ways to round the same average do not
const same = (a, b) => !a.some((line, r) => line.some((value, c) => differ(value, b[r][c])));

/* How many numbers have changed, of how many, and by how much in all, as a part of all that there was. */
export function change(before, after) {
  const pairs = before.flatMap((line, r) => line.map((value, c) => [value, after[r][c]]));
  const sum = (f) => pairs.reduce((total, [a, b]) => total + Math.abs(f(a, b)), 0);
  return {
    changed: pairs.filter(([a, b]) => differ(a, b)).length,
    of: pairs.length,
    percent: (100 * sum((a, b) => b - a)) / sum((a) => a),
  };
}

/* --- the widget --------------------------------------------------------------------------------------- */

function render(context) {
  const w = frame(context, "pooling_explorer");
  const { t, get } = w;
  const FAR = w.spec.right.max;
  const size = () => [get("x").length, get("x")[0].length];
  const places = () => size().map((length) => convOutputSize(length, get("K"), { stride: get("S") }));
  const index = () => places().map((count, axis) => Math.min(get(["row", "col"][axis]), count - 1));
  const corner = () => index().map((place) => place * get("S"));
  const move = (row, col) => w.set({ row, col });
  const pooled = (rows, kind = get("kind")) => pool(rows, kind, get("K"), get("S"));
  const shift = (down, right) => w.set({ down: limited(down), right: limited(right) });
  const limited = (steps) => clamp(steps, -FAR, FAR);

  const edit = (row, col, value) => {
    w.set({ x: replaced(get("x"), row, col, value) });
    update(); // what was typed may have been put back
  };
  const pairs = [false, true].map((moved) => {
    const input = new NumberGrid(w, { label: t("input"), role: "input", onedit: moved ? null : edit });
    const output = new NumberGrid(w, { label: t("output"), role: "output" });
    const choose = chooser(output, { index, choose: move, spoken: () => at(moved) });
    const window = new MovingWindow(w, input, {
      label: t(moved ? "window_moved" : "window"),
      place: () => ({ row: corner()[0], col: corner()[1], rows: get("K"), cols: get("K") }),
      limits: places,
      index,
      step: () => [get("S"), get("S")],
      move,
      spoken: () => at(moved),
    });
    return { input, output, window, choose, sum: h("p", { class: "cw-say" }), numbers: [] };
  });
  const [still, moved] = pairs;
  const at = (moved) => {
    const [row, col] = index();
    return t("at", { row, col, value: number(pairs[Number(moved)].numbers[row][col]) });
  };

  const map = new NumberGrid(w, { label: t("map"), role: "accent" });
  const tellMap = chooser(map, {
    index: () => [get("down") + FAR, get("right") + FAR],
    choose: (row, col) => shift(row - FAR, col - FAR),
    spoken: () => `${wayText(get("down"), get("right"))}: ${verdict.textContent}`,
  });
  const ways = Object.entries(WAYS).map(([name, [arrow, down, right]]) =>
    button(arrow, () => shift(get("down") + down, get("right") + right), { "aria-label": t(`shift_${name}`) })
  );
  const back = button("0", () => shift(0, 0), { "aria-label": t("shift_none") });
  const shiftCaption = h("div", { class: "cw-caption cw-role-accent", "aria-hidden": "true" }, t("shift"));
  const verdict = h("p", { class: "cw-say cw-sum" });
  const table = tableOf(t);
  const legend = h(
    "p",
    { class: "pe-legend" },
    h("span", {}, h("i", { class: "cw-cell pe-changed" }), t("legend_changed")),
    h("span", { class: "pe-only-max" }, h("i", { class: "cw-cell pe-won" }), t("legend_won"))
  );

  /* "right by 1, down by 2" */
  function wayText(down, right) {
    const steps = [[down, down < 0 ? "up" : "down"], [right, right < 0 ? "left" : "right"]].filter(([count]) => count);
    const [first, second] = steps.map(([count, name]) => t(`way_${name}`, { steps: Math.abs(count) }));
    return second ? t("way_both", { first, second }) : first ?? t("way_none");
  }

  /* What the shift has done to the output, in a sentence. */
  function judge(before, after, down, right) {
    const S = get("S");
    const { changed, of } = change(before, after);
    if (!down && !right) return t("judge_none", { of });
    if (!changed) return t("judge_same", { of });
    const whole = down % S === 0 && right % S === 0;
    if (whole && same(shifted(before, down / S, right / S), after)) return t("judge_follows", { way: wayText(down / S, right / S), changed, of });
    return t("judge_changed", { changed, of });
  }

  let said = "";
  function update() {
    const [K, S, kind, down, right, [row, col]] = [get("K"), get("S"), get("kind"), get("down"), get("right"), index()];
    const [top, left] = corner();
    const pictures = [get("x"), shifted(get("x"), down, right)];
    const results = pictures.map((rows) => pooled(rows));
    const covered = (k) => places().map((count) => (count - 1) * S + K)[k];
    pairs.forEach((pair, k) => {
      const [rows, { out, won }] = [pictures[k], results[k]];
      pair.numbers = out;
      pair.input.set(rows);
      pair.input.mark((r, c) => {
        const reached = r < covered(0) && c < covered(1) && (S <= K || (r % S < K && c % S < K));
        return [won.has(r * rows[0].length + c) && "pe-won", !reached && "cw-pad", k && differ(rows[r][c], get("x")[r][c]) && "pe-changed"].filter(Boolean).join(" ");
      });
      pair.output.set(out);
      pair.output.mark((r, c) => [r === row && c === col && "cw-here", k && differ(out[r][c], results[0].out[r][c]) && "pe-changed"].filter(Boolean).join(" "));
      pair.choose();
      pair.window.update();
      const window = rows.slice(top, top + K).flatMap((line) => line.slice(left, left + K));
      const winner = kind === "max" ? window.indexOf(Math.max(...window)) : -1;
      pair.sum.replaceChildren(`${t(k ? "after" : "before")} `, ...calculation(window, winner), h("span", { class: "cw-ou" }, number(out[row][col])));
    });
    moved.input.label(t("input_moved", { way: wayText(down, right) }));
    legend.classList.toggle("pe-avg", kind === "avg");
    verdict.textContent = judge(results[0].out, results[1].out, down, right);
    table.update(kind, [change(...pictures), ...["max", "avg"].map((each) => change(...pictures.map((rows) => pooled(rows, each).out)))]);
    updateMap(results[0].out);
    const text = `${wayText(down, right)}: ${verdict.textContent}`;
    if (said && said !== text) w.say(text);
    said = text;
  }

  /* For each shift, how many outputs it changes; unless all are asked for, of the chosen one only. */
  function updateMap(before) {
    const steps = Array.from({ length: 2 * FAR + 1 }, (_, k) => k - FAR);
    const chosen = (down, right) => down === get("down") && right === get("right");
    const counts = steps.map((down) =>
      steps.map((right) => (get("overview") || chosen(down, right) ? change(before, pooled(shifted(get("x"), down, right)).out).changed : null))
    );
    map.set(counts);
    map.mark((r, c) => [chosen(r - FAR, c - FAR) && "cw-here", counts[r][c] === null && "cw-empty", counts[r][c] === 0 && "pe-zero", r === FAR && c === FAR && "pe-origin"].filter(Boolean).join(" "));
    tellMap();
  }

  const presets = Object.entries(PRESETS).map(([name, values]) => button(t(`preset_${name}`), () => w.set({ down: 0, right: 0, row: 0, col: 0, ...values })));
  const line = ({ input, output }) => h("div", { class: "pe-pair" }, input.el, h("span", { "aria-hidden": "true" }, "→"), output.el);
  w.body.append(
    buttonRow(t("presets"), presets),
    controls(choice(w, "kind"), slider(w, "K"), slider(w, "S")),
    h(
      "div",
      { class: "pe-stage" },
      h("div", { class: "pe-pairs" }, line(still), line(moved), legend),
      h("div", { class: "pe-shift" }, h("div", {}, shiftCaption, h("div", { class: "pe-ways", role: "group", "aria-label": t("shift") }, ...ways, back)), map.el, check(w, "overview"))
    ),
    verdict,
    h("div", {}, still.sum, moved.sum),
    table.el
  );
  w.watch(["x", "kind", "K", "S", "row", "col", "down", "right", "overview"], update);
  return w.close;
}

/* max(7, 1, 3, 0) = or (7 + 1 + 3 + 0) ÷ 4 = */
function calculation(window, winner) {
  const term = winner < 0 ? bracketed : number;
  const terms = window.flatMap((value, k) => [
    k ? (winner < 0 ? " + " : ", ") : "",
    h("span", { class: k === winner ? "cw-in pe-won" : "cw-in" }, term(value)),
  ]);
  return winner < 0 ? ["(", ...terms, `) ÷ ${window.length} = `] : ["max(", ...terms, ") = "];
}

/* How much has changed, in the input and in both outputs. */
function tableOf(t) {
  const names = ["input", "max", "avg"];
  const rows = names.map((name) => [h("th", { scope: "row" }, t(`row_${name}`)), h("td", {}), h("td", {})]);
  const lines = rows.map((cells) => h("tr", {}, cells));
  const head = h("tr", {}, h("td", {}), ...["column_count", "column_percent"].map((key) => h("th", { scope: "col" }, t(key))));
  const el = h("table", { class: "pe-table" }, h("thead", {}, head), h("tbody", {}, lines));
  const update = (kind, changes) =>
    changes.forEach(({ changed, of, percent }, k) => {
      rows[k][1].textContent = `${changed} / ${of}`;
      rows[k][2].textContent = Number.isFinite(percent) ? `${number(percent, 0)}%` : "–";
      lines[k].classList.toggle("pe-chosen", names[k] === kind);
    });
  return { el, update };
}

export default { render };
