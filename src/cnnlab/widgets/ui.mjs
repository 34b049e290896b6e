/* What all widgets share: elements, a frame with reset and link, controls bound to the model, grids of numbers
 * and a window that is moved over one.
 *
 * A widget is a module with `export default { render({ model, el }) }`, as anywidget wants it. `model` has
 * `get`, `set`, `save_changes`, `on`, `off`; `model.get("labels")` are the words in the reader's language and
 * `model.get("spec")` says of each trait what it may be: {value, min, max, step, options}.
 */

const SVG = new Set(["svg", "g", "path", "rect", "line", "circle", "polyline", "polygon", "text", "tspan", "defs", "marker", "title"]);

/* An element. Attributes that are functions listen, as in `onclick`; null and false leave an attribute out. */
export function h(tag, attributes = {}, ...children) {
  const element = SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value != null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null));
  return element;
}

/* A number as a reader writes it: a true minus sign, no more digits than needed. */
export function number(value, digits = 2) {
  const rounded = Number(Number(value).toFixed(digits));
  return (Object.is(rounded, -0) ? 0 : rounded).toString().replace("-", "\u2212");
}

/* A number as a factor or a term: below zero in brackets. */
export const bracketed = (value) => (value < 0 ? `(${number(value)})` : number(value));

/* A count with commas: 1,437. */
export const grouped = (value) => value.toLocaleString("en-US");

/* What a reader has typed as a number, or NaN; the minus sign may be the true one. */
export const typed = (text) => (text.trim() === "" ? NaN : Number(text.trim().replace("\u2212", "-")));

/* Rows with another number at one place; where `value` is null, as it was typed in vain, with the old one. */
export const replaced = (rows, row, col, value) => rows.map((line, r) => line.map((old, c) => (r === row && c === col ? value ?? old : old)));

/* The arrow keys, as [rows, columns]. */
export const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
/* Whether the reader does not want movement that nobody has asked for. */
export const stillPlease = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
let ids = 0;

/* The outside of a widget. Returns what the parts below take as their first argument:
 *   root, body   elements; put your own into `body`
 *   t(key, values)   a label with its {placeholders} filled in
 *   say(text)    tells a screen reader
 *   get, set     of the model; `set({ row: 1, col: 2 })` sets several at once
 *   watch(names, update)   calls `update` now, and once per frame in which one of the traits has changed
 *   close        to be returned from render: stops watching
 */
export function frame({ model, el }, name) {
  const labels = model.get("labels");
  const spec = model.get("spec");
  const t = (key, values = {}) => {
    if (!(key in labels)) throw new Error(`no label ${key}`);
    return labels[key].replace(/\{(\w+)\}/g, (_, field) => String(values[field]));
  };
  const closers = [];
  const get = (key) => model.get(key);
  const set = (values) => {
    for (const [key, value] of Object.entries(values)) model.set(key, value);
    model.save_changes();
  };
  const watch = (names, update) => {
    let waiting = 0;
    const later = () => (waiting ||= requestAnimationFrame(() => ((waiting = 0), update())));
    for (const key of names) model.on(`change:${key}`, later);
    closers.push(() => {
      cancelAnimationFrame(waiting);
      for (const key of names) model.off(`change:${key}`, later);
    });
    update();
  };

  const live = h("p", { class: "cw-live", "aria-live": "polite" });
  let speaking = 0;
  const say = (text) => {
    clearTimeout(speaking);
    speaking = setTimeout(() => (live.textContent = text), 250); // only the last of many
  };
  closers.push(() => clearTimeout(speaking));

  const body = h("div", { class: "cw-body" });
  const titleId = `cw-title-${++ids}`;
  const reset = () => {
    set(Object.fromEntries(Object.entries(spec).map(([key, { value }]) => [key, structuredClone(value)])));
    say(t("reset_done"));
  };
  const tools = h("div", { class: "cw-tools" }, h("button", { type: "button", onclick: reset }, t("reset")));
  if (model.link) tools.append(linkButton({ t, say, model }));
  const root = h(
    "div",
    { class: `cw cw-${name}`, role: "group", "aria-labelledby": titleId },
    h("header", {}, h("p", { class: "cw-title", id: titleId }, t("title")), tools),
    body,
    live
  );
  el.replaceChildren(root);
  return { root, body, t, say, get, set, watch, spec, model, closers, close: () => closers.forEach((stop) => stop()) };
}

/* Copies the address of exactly this situation. Where copying is forbidden, the address bar has it anyway. */
function linkButton({ t, say, model }) {
  const button = h("button", { type: "button" }, t("link"));
  button.addEventListener("click", async () => {
    const address = model.link();
    const copied = await navigator.clipboard?.writeText(address).then(() => true, () => false);
    button.textContent = copied ? t("link_done") : t("link_in_address");
    say(button.textContent);
    setTimeout(() => (button.textContent = t("link")), 2500);
  });
  return button;
}

/* --- controls ----------------------------------------------------------------------------------------- */

export const button = (label, onclick, attributes = {}) => h("button", { type: "button", ...attributes, onclick }, label);

/* A group of controls, side by side where there is room. */
export const controls = (...children) => h("div", { class: "cw-controls" }, ...children);

/* Buttons behind a word that says what they are for. */
export const buttonRow = (label, buttons) => controls(h("span", {}, label), h("div", { class: "cw-buttons" }, ...buttons));

/* A range for a trait that is a number. `show` makes text of its value. */
export function slider(w, name, show = number) {
  const { min, max, step = 1 } = w.spec[name];
  const input = h("input", { type: "range", min, max, step, "data-trait": name });
  const output = h("output", {});
  input.addEventListener("input", () => w.set({ [name]: Number(input.value) }));
  w.watch([name], () => {
    input.value = w.get(name);
    output.textContent = show(w.get(name));
    input.setAttribute("aria-valuetext", output.textContent);
  });
  return h("label", { class: "cw-slider" }, h("span", {}, w.t(name)), input, output);
}

/* Radio buttons for a trait that is one of `options`; the label of "max" for `kind` is `kind_max`. */
export function choice(w, name, options = w.spec[name].options) {
  const group = `cw-choice-${++ids}`;
  const inputs = options.map((value) => h("input", { type: "radio", name: group, value, "data-trait": name }));
  inputs.forEach((input, k) => input.addEventListener("change", () => w.set({ [name]: options[k] })));
  w.watch([name], () => inputs.forEach((input, k) => (input.checked = options[k] === w.get(name))));
  return h(
    "fieldset",
    { class: "cw-choice" },
    h("legend", {}, w.t(name)),
    ...inputs.map((input, k) => h("label", {}, input, h("span", {}, w.t(`${name}_${options[k]}`))))
  );
}

/* A box to tick, for a trait that is true or false. */
export function check(w, name) {
  const input = h("input", { type: "checkbox", "data-trait": name });
  input.addEventListener("change", () => w.set({ [name]: input.checked }));
  w.watch([name], () => (input.checked = w.get(name)));
  return h("label", { class: "cw-check" }, input, h("span", {}, w.t(name)));
}

/* A number to type, for a trait that is a number. What is no number, or out of range, is put back. */
export function field(w, name) {
  const { min, max } = w.spec[name];
  const input = h("input", { type: "text", inputmode: "decimal", size: 4, "data-trait": name });
  input.addEventListener("change", () => {
    const value = typed(input.value);
    if (Number.isNaN(value)) w.say(w.t("no_number", { text: input.value }));
    else w.set({ [name]: clamp(value, min, max) });
    input.value = number(w.get(name));
  });
  w.watch([name], () => (input.value = number(w.get(name))));
  return h("label", { class: "cw-field" }, h("span", {}, w.t(name)), input);
}

/* A button that goes on by itself: `step()` every `interval` ms until it returns false, or pause is pressed. */
export function player(w, step, interval = 900) {
  let timer = 0;
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    toggle.textContent = w.t("play");
  };
  const toggle = button(w.t("play"), () => {
    if (timer) return stop();
    toggle.textContent = w.t("pause");
    timer = setInterval(() => step() === false && stop(), interval);
    step();
  });
  w.closers.push(() => clearInterval(timer));
  return toggle;
}

/* Step and play. `next` goes to the next place and returns false at the last; `once` does so at a press of "step". */
export const steps = (w, next, { once = next, interval } = {}) =>
  h("div", { class: "cw-buttons" }, button(w.t("step"), once), player(w, next, interval));

/* The place after [row, col], row by row, and whether that is the last; after the last comes the first. */
export function following([rows, cols], [row, col]) {
  const place = (row * cols + col + 1) % (rows * cols);
  return { row: Math.floor(place / cols), col: place % cols, last: place === rows * cols - 1 };
}

/* --- grids of numbers --------------------------------------------------------------------------------- */

/* A grid of numbers with a caption, drawn with the colours of a role: input, filter, output, gradient, accent.
 *
 *   label      text above it, which also names it for a screen reader
 *   onedit     (row, col, value): the cells can be typed into; arrow keys lead from cell to cell
 *   onpick     (row, col): a cell was clicked, or a finger or the pointer dragged over it
 *
 *   set(rows, show)   the numbers; another size makes another grid; null leaves a cell empty
 *   mark(test)        gives each cell the class names that `test(row, col)` returns
 */
export class NumberGrid {
  constructor(w, { label, role = "input", onedit = null, onpick = null }) {
    Object.assign(this, { w, role, onedit, onpick, rows: 0, cols: 0, cells: [], active: [0, 0] });
    this.cellsBox = h("div", { class: "cw-cells", role: onedit ? "grid" : "table", "aria-label": label });
    this.caption = h("div", { class: "cw-caption", "aria-hidden": "true" }, label);
    this.el = h("div", { class: `cw-grid cw-role-${role}` }, this.caption, this.cellsBox);
    if (onpick) this._follow();
  }

  label(text) {
    this.caption.textContent = text;
    this.cellsBox.setAttribute("aria-label", text);
  }

  set(rows, show = number) {
    if (rows.length !== this.rows || (rows[0]?.length ?? 0) !== this.cols) this._build(rows.length, rows[0]?.length ?? 0);
    rows.forEach((line, row) =>
      line.forEach((value, col) => {
        const cell = this.cells[row][col];
        const text = value == null ? "" : show(value);
        if (this.onedit) {
          if (document.activeElement !== cell.firstChild || typed(cell.firstChild.value) !== value) cell.firstChild.value = text;
        } else if (cell.textContent !== text) cell.textContent = text;
        cell.classList.toggle("cw-long", text.length > 3);
      })
    );
  }

  mark(test) {
    this.cells.forEach((line, row) =>
      line.forEach((cell, col) => {
        const name = `cw-cell ${test(row, col) ?? ""} ${cell.classList.contains("cw-long") ? "cw-long" : ""}`;
        if (cell.className !== name) cell.className = name; // most cells stay as they are
      })
    );
  }

  _build(rows, cols) {
    Object.assign(this, { rows, cols, active: [0, 0] });
    this.el.style.setProperty("--cols", cols);
    this.el.style.setProperty("--rows", rows);
    const kind = this.cellsBox.getAttribute("role") === "grid" ? "gridcell" : "cell";
    this.cells = Array.from({ length: rows }, (_, row) =>
      Array.from({ length: cols }, (_, col) => h("div", { class: "cw-cell", role: kind }, this.onedit ? this._input(row, col) : null))
    );
    for (const old of this.cellsBox.querySelectorAll(":scope > [role=row]")) old.remove();
    this.cellsBox.prepend(...this.cells.map((line) => h("div", { role: "row", class: "cw-row" }, line)));
  }

  /* One stop of the Tab key for the whole grid; within it, arrow keys. */
  _input(row, col) {
    const first = row === 0 && col === 0;
    const input = h("input", {
      type: "text", inputmode: "decimal", tabindex: first ? 0 : -1, autocomplete: "off",
      "aria-label": this.w.t("cell", { row, col }),
    });
    input.addEventListener("change", () => {
      const value = typed(input.value);
      if (Number.isNaN(value)) this.w.say(this.w.t("no_number", { text: input.value }));
      this.onedit(row, col, Number.isNaN(value) ? null : clamp(value, -99, 99));
    });
    input.addEventListener("focus", () => {
      const [oldRow, oldCol] = this.active;
      this.cells[oldRow]?.[oldCol]?.firstChild.setAttribute("tabindex", -1);
      input.setAttribute("tabindex", 0);
      this.active = [row, col];
      input.select();
    });
    input.addEventListener("keydown", (event) => {
      const way = { ...ARROWS, Enter: ARROWS.ArrowDown }[event.key];
      if (!way) return;
      event.preventDefault();
      const next = this.cells[row + way[0]]?.[col + way[1]]?.firstChild;
      if (next) next.focus();
      else input.dispatchEvent(new Event("change"));
    });
    return input;
  }

  /* Which cell lies under a point of the screen, or null. */
  at({ clientX, clientY }) {
    const box = this.cellsBox.getBoundingClientRect();
    const row = Math.floor(((clientY - box.top) / box.height) * this.rows);
    const col = Math.floor(((clientX - box.left) / box.width) * this.cols);
    return row >= 0 && col >= 0 && row < this.rows && col < this.cols ? [row, col] : null;
  }

  _follow() {
    this.cellsBox.classList.add("cw-pick");
    drag(this.cellsBox, {
      move: (event) => {
        const cell = this.at(event);
        if (cell) this.onpick(...cell);
      },
      tap: true,
    });
  }
}

/* Makes one cell of a grid the chosen one: by a click or tap, or with the arrow keys, as one stop of the Tab key.
 * Unlike with `onpick`, a finger can still scroll over the grid, and a window can be dragged over it.
 *
 *   index()            [row, col] of the chosen cell
 *   choose(row, col)   another cell was chosen
 *   spoken()           what a screen reader says of the chosen cell
 *   press(row, col)    Enter or the space bar on the chosen cell, if that means something
 *   click(row, col)    a click, if it means more than `choose`
 *
 * Returns what tells a screen reader; to be called after each change of the grid.
 */
export function chooser(grid, { index, choose, spoken, press = null, click = choose }) {
  const box = grid.cellsBox;
  box.setAttribute("role", "grid");
  box.setAttribute("tabindex", 0);
  box.classList.add("cw-choose");
  let from = null;
  box.addEventListener("pointerdown", (event) => (from = event));
  box.addEventListener("click", (event) => {
    const dragged = from && Math.hypot(event.clientX - from.clientX, event.clientY - from.clientY) > 4;
    const cell = grid.at(event);
    if (cell && !dragged) click(...cell);
  });
  box.addEventListener("keydown", (event) => {
    const [row, col] = index();
    const way = ARROWS[event.key];
    const next = way ? [row + way[0], col + way[1]] : { Home: [row, 0], End: [row, grid.cols - 1] }[event.key];
    if (next) choose(clamp(next[0], 0, grid.rows - 1), clamp(next[1], 0, grid.cols - 1));
    else if (press && (event.key === "Enter" || event.key === " ")) press(row, col);
    else return;
    event.preventDefault();
  });
  let told = null;
  return () => {
    const [row, col] = index();
    const cell = grid.cells[row]?.[col];
    if (!cell) return;
    if (told !== cell) told?.removeAttribute("aria-label");
    told = cell;
    cell.id ||= `cw-cell-${++ids}`;
    cell.setAttribute("aria-label", spoken());
    box.setAttribute("aria-activedescendant", cell.id);
  };
}

/* Scrolls `box`, and nothing else, until `cell` can be seen in it. */
export function reveal(box, cell) {
  const [outer, inner] = [box, cell].map((node) => node.getBoundingClientRect());
  box.scrollTop += Math.min(0, inner.top - outer.top) + Math.max(0, inner.bottom - outer.bottom);
  box.scrollLeft += Math.min(0, inner.left - outer.left) + Math.max(0, inner.right - outer.right);
}

/* Follows a pointer that is pressed on `element`. With `tap`, the press itself counts as a move; without, only
 * what has gone more than 4 pixels, so that a tap still reaches what lies below. */
export function drag(element, { move, start = () => {}, tap = false }) {
  let from = null;
  let moving = false;
  const begin = (event) => {
    moving = true;
    element.setPointerCapture(event.pointerId);
    getSelection()?.removeAllRanges(); // selected text would be dragged away instead
    if (element.contains(document.activeElement)) document.activeElement.blur(); // nothing is being typed
  };
  element.addEventListener("dragstart", (event) => event.preventDefault());
  element.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    from = event;
    moving = false;
    start(event);
    if (!tap) return;
    event.preventDefault();
    begin(event);
    move(event);
  });
  element.addEventListener("pointermove", (event) => {
    if (event.pointerId !== from?.pointerId) return;
    if (!moving && Math.hypot(event.clientX - from.clientX, event.clientY - from.clientY) > 4) begin(event);
    if (!moving) return;
    event.preventDefault();
    move(event);
  });
  for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => (from = null));
}

/* The window: a frame over a grid that is dragged, or moved with the arrow keys.
 *
 *   label      its name for a screen reader
 *   place()    {row, col, rows, cols}: where it lies, in cells of the grid; may be outside
 *   limits()   [rows, cols]: how many places there are
 *   index()    [row, col]: which of them is taken
 *   move(row, col)   takes another place
 *   step()     [rows, cols]: how many cells lie from one place to the next
 *   spoken()   what a screen reader says of the place
 */
export class MovingWindow {
  constructor(w, grid, { label, place, limits, index, move, spoken, step = () => [1, 1] }) {
    Object.assign(this, { w, grid, place, limits, index, move, spoken, step });
    this.el = h("div", { class: "cw-window", role: "slider", tabindex: 0, "aria-label": label, "aria-valuemin": 0 });
    // Beside the cells, not among them: a table may hold rows only.
    this.holder = h("div", { class: "cw-holder" });
    grid.cellsBox.replaceWith(this.holder);
    this.holder.append(grid.cellsBox, this.el);
    this.holder.classList.add("cw-pick");
    this.el.addEventListener("keydown", (event) => this._key(event));
    let grabbed = [0, 0];
    drag(this.holder, {
      start: (event) => {
        const cell = this._cell(event);
        const { row, col, rows, cols } = this.place();
        const inside = cell[0] >= row && cell[1] >= col && cell[0] < row + rows && cell[1] < col + cols;
        grabbed = inside ? [cell[0] - row, cell[1] - col] : [Math.floor(rows / 2), Math.floor(cols / 2)];
      },
      move: (event) => {
        const [row, col] = this._cell(event);
        this._nearest(row - grabbed[0], col - grabbed[1]);
      },
    });
  }

  /* The cell under a point, also beyond the edge. */
  _cell({ clientX, clientY }) {
    const box = this.grid.cellsBox.getBoundingClientRect();
    return [
      Math.floor(((clientY - box.top) / box.height) * this.grid.rows),
      Math.floor(((clientX - box.left) / box.width) * this.grid.cols),
    ];
  }

  /* Goes to the place whose window begins nearest to this cell. */
  _nearest(top, left) {
    const [row, col] = this.index();
    const now = this.place();
    const [down, right] = this.step();
    this._go(row + Math.round((top - now.row) / down), col + Math.round((left - now.col) / right));
  }

  _go(row, col) {
    const [rows, cols] = this.limits();
    const next = [clamp(row, 0, rows - 1), clamp(col, 0, cols - 1)];
    const now = this.index();
    if (next[0] !== now[0] || next[1] !== now[1]) this.move(...next);
  }

  _key(event) {
    const [row, col] = this.index();
    const [rows, cols] = this.limits();
    const way = ARROWS[event.key];
    const next = way ? [row + way[0], col + way[1]] : { Home: [0, 0], End: [rows - 1, cols - 1] }[event.key];
    if (!next) return;
    event.preventDefault();
    this._go(...next);
  }

  update() {
    const { row, col, rows, cols } = this.place();
    const [, across] = this.limits();
    const [m, n] = this.index();
    for (const [name, value] of Object.entries({ row, col, rows, cols })) this.el.style.setProperty(`--w-${name}`, value);
    this.el.setAttribute("aria-valuemax", this.limits()[0] * across - 1);
    this.el.setAttribute("aria-valuenow", m * across + n);
    this.el.setAttribute("aria-valuetext", this.spoken());
  }
}

/* --- pictures ----------------------------------------------------------------------------------------- */

/* Below zero blue, zero white, above zero orange: as `cnnlab.figures` draws signed values. */
const SIGNED = [[18, 74, 134], [121, 174, 221], [255, 255, 255], [242, 166, 94], [143, 65, 0]];

function signedColour(value) {
  const place = clamp((value + 1) / 2, 0, 1) * (SIGNED.length - 1);
  const k = Math.min(Math.floor(place), SIGNED.length - 2);
  return SIGNED[k].map((from, channel) => from + (SIGNED[k + 1][channel] - from) * (place - k));
}

/* The colours from -1 to 1, found once: a picture asks for tens of thousands of them in every frame. */
const SHADES = Array.from({ length: 513 }, (_, k) => signedColour(k / 256 - 1));

/* Draws H x W numbers on a canvas, one pixel each; the style sheet scales it. Gray from `low` to `high`, or, if
 * `signed`, from -high over white to high. */
export function drawPixels(canvas, data, H, W, { signed = false, low = 0, high = 1 } = {}) {
  if (canvas.width !== W || canvas.height !== H) Object.assign(canvas, { width: W, height: H });
  const context = canvas.getContext("2d");
  const image = context.createImageData(W, H);
  for (let p = 0; p < H * W; p++) {
    const shade = signed ? SHADES[Math.round(256 * (clamp(data[p] / (high || 1), -1, 1) + 1))] : null;
    const gray = ((data[p] - low) / (high - low || 1)) * 255; // beyond 0 and 255 the array itself clips
    for (let c = 0; c < 3; c++) image.data[4 * p + c] = shade ? shade[c] : gray;
    image.data[4 * p + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

export const largest = (data) => data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
