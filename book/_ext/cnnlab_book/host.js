/* Runs the widgets of `cnnlab.widgets` on a page: no kernel, no server.
 *
 * Each `.cw-host` holds a picture, the name of a module and the model's first state. The module is the one that
 * runs in notebooks, so this file plays the part of anywidget. What the reader changes stands behind the # of
 * the address: `#conv_explorer.row=1&conv_explorer.col=0` leads to exactly this situation.
 */
(() => {
  "use strict";
  const base = document.currentScript.src.replace(/[^/]*$/, "");

  /* --- values in addresses: 2, true, max, 1,0;0,1 ----------------------------------------------------- */

  const written = (value) => (Array.isArray(value) ? value.map((part) => (Array.isArray(part) ? part.join(",") : part)).join(Array.isArray(value[0]) ? ";" : ",") : String(value));

  /* The value that a text stands for, or undefined if the trait may not have it. */
  const read = (text, spec) => {
    const numberOf = (part) => {
      const value = part.trim() === "" ? NaN : Number(part);
      return Number.isFinite(value) && value >= (spec.min ?? -Infinity) && value <= (spec.max ?? Infinity) ? value : undefined;
    };
    const { value } = spec;
    if (typeof value === "boolean") return { true: true, false: false }[text];
    if (typeof value === "number") {
      const found = numberOf(text);
      return spec.integer && !Number.isInteger(found) ? undefined : found;
    }
    if (typeof value === "string") return spec.options ? spec.options.find((option) => option === text) : spec.pattern && new RegExp(spec.pattern).test(text) ? text : undefined;
    if (Array.isArray(value)) {
      const rows = text.split(";").map((row) => row.split(",").map(numberOf));
      if (rows.some((row) => row.length !== rows[0].length || row.includes(undefined))) return undefined;
      if (!spec.rows) return rows.length === 1 && rows[0].length === value.length ? rows[0] : undefined;
      const fits = ([low, high], length) => length >= low && length <= high;
      return fits(spec.rows, rows.length) && fits(spec.cols, rows[0].length) ? rows : undefined;
    }
    return undefined;
  };

  const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

  /* --- a model as anywidget has it -------------------------------------------------------------------- */

  class Model {
    constructor(id, { labels, spec }, saved) {
      this.id = id;
      this.state = { labels, spec };
      this.listeners = new Map();
      this.saved = saved;
      for (const [key, { value }] of Object.entries(spec)) this.state[key] = structuredClone(value);
    }
    get(key) {
      return this.state[key];
    }
    set(key, value) {
      if (same(this.state[key], value)) return;
      this.state[key] = value;
      for (const listener of this.listeners.get(`change:${key}`) ?? []) listener();
    }
    save_changes() {
      this.saved();
    }
    on(event, listener) {
      if (!this.listeners.has(event)) this.listeners.set(event, new Set());
      this.listeners.get(event).add(listener);
    }
    off(event, listener) {
      this.listeners.get(event)?.delete(listener);
    }
    link() {
      writeAddress();
      return location.href;
    }
    /* What differs from the beginning, as parts of an address. */
    differences() {
      return Object.entries(this.state.spec)
        .filter(([key, spec]) => spec.link !== false && !same(this.state[key], spec.value))
        .map(([key]) => `${this.id}.${key}=${encodeURIComponent(written(this.state[key])).replace(/%2C/g, ",").replace(/%3B/g, ";")}`);
    }
    /* Takes what the address says, and the beginning for all else. */
    take(values) {
      for (const [key, spec] of Object.entries(this.state.spec)) {
        if (spec.link === false) continue;
        const text = values.get(`${this.id}.${key}`);
        const value = text === null ? undefined : read(text, spec);
        this.set(key, value === undefined ? structuredClone(spec.value) : value);
      }
    }
  }

  /* --- the address ------------------------------------------------------------------------------------ */

  const models = [];
  let ownAddress = null;
  let waiting = 0;

  const writeAddress = () => {
    clearTimeout(waiting);
    waiting = 0;
    const parts = models.flatMap((model) => model.differences());
    if (!parts.length && ownAddress === null) return; // a section's address stays
    ownAddress = parts.length ? `#${parts.join("&")}` : "";
    history.replaceState(history.state, "", ownAddress || location.pathname + location.search);
  };
  const later = () => (waiting ||= setTimeout(writeAddress, 300)); // browsers forbid more than a few a second

  const show = (host) => host.scrollIntoView({ block: "center", behavior: "instant" });

  /* Takes what the address says; returns the widget that it leads to, or null. */
  const readAddress = (hosts) => {
    const values = new URLSearchParams(location.hash.slice(1));
    const first = models.findIndex(({ id }) => [...values.keys()].some((key) => key.startsWith(`${id}.`)));
    if (first < 0) return null;
    ownAddress = location.hash;
    models.forEach((model) => model.take(values));
    show(hosts[first]);
    return hosts[first];
  };

  /* --- modules ---------------------------------------------------------------------------------------- */

  /* Browsers do not import modules from a folder on disk; there the same text comes as a classic script. */
  const fromDisk = (name) =>
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = `${base}${name}.js`;
      script.onload = () => resolve(import(URL.createObjectURL(new Blob([window.cnnlabWidgets[name]], { type: "text/javascript" }))));
      script.onerror = () => reject(new Error(`${script.src} cannot be loaded`));
      document.head.append(script);
    });
  const load = (name) => (location.protocol === "file:" ? fromDisk(name) : import(`${base}${name}.mjs`));

  /* The style sheet, with the first widget. */
  let styled = null;
  const style = () =>
    (styled ??= new Promise((resolve) => {
      const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: `${base}widgets.css` });
      link.onload = link.onerror = resolve;
      document.head.append(link);
    }));

  const start = () => {
    const hosts = [...document.querySelectorAll(".cw-host[data-widget]")];
    const taken = {};
    for (const host of hosts) {
      const name = host.dataset.widget;
      taken[name] = (taken[name] ?? 0) + 1;
      const id = taken[name] > 1 ? `${name}-${taken[name]}` : name;
      host.id ||= id;
      models.push(new Model(id, JSON.parse(host.dataset.model), later));
    }
    const target = readAddress(hosts);
    const run = async (host) => {
      try {
        const [module] = await Promise.all([load(host.dataset.widget), style()]);
        await module.default.render({ model: models[hosts.indexOf(host)], el: host });
        host.dataset.ready = "";
        if (host === target) show(host); // now that it has its height
      } catch (error) {
        console.error(error); // the picture stays
      }
    };
    /* A widget starts when the reader is at most a screen away from it. */
    const observer = new IntersectionObserver(
      (entries) =>
        entries.forEach(({ target: host, isIntersecting }) => {
          if (!isIntersecting) return;
          observer.unobserve(host);
          run(host);
        }),
      { rootMargin: "100%" }
    );
    hosts.forEach((host) => (host === target ? run(host) : observer.observe(host)));
    window.addEventListener("hashchange", () => location.hash !== ownAddress && readAddress(hosts));
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
