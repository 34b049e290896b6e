/* Small behaviour of the book's pages. The text that it shows stands in book/languages.toml. */
(() => {
  "use strict";
  const holder = document.getElementById("book-strings");
  const strings = holder ? JSON.parse(holder.textContent) : {};

  const remember = (key, value) => {
    try {
      localStorage.setItem(key, value);
    } catch {
      /* Storage may be forbidden; then nothing is remembered. */
    }
  };

  /* The last section whose beginning the reader has passed. */
  const currentSection = () => {
    let found = "";
    for (const section of document.querySelectorAll("article section section[id]")) {
      if (section.getBoundingClientRect().top > window.innerHeight * 0.4) break;
      found = section.id;
    }
    return found;
  };

  const leadToSameSection = () => {
    for (const link of document.querySelectorAll(".language-switch a")) {
      const page = link.getAttribute("href").split(/[?#]/)[0];
      const update = () => {
        const section = currentSection();
        link.setAttribute("href", page + window.location.search + (section ? `#${section}` : ""));
      };
      for (const event of ["pointerenter", "focus", "click"]) link.addEventListener(event, update);
    }
  };

  /* The copy buttons know a few European languages only, and take English otherwise. */
  const translateCopyButtons = () => {
    if (typeof messages === "undefined" || !messages.en) return;
    for (const key of Object.keys(messages.en)) messages.en[key] = strings[key] || messages.en[key];
    if (typeof iconCopy === "string") iconCopy = iconCopy.replace("Copy to clipboard", strings.copy_to_clipboard);
    if (typeof iconCheck === "string") iconCheck = iconCheck.replace("Copied!", strings.copy_success);
  };

  const labelToggles = () => {
    for (const button of document.querySelectorAll(".toggle-button")) button.setAttribute("aria-label", strings.toggle);
  };

  /* The index holds pairs of characters; what is marked in the text is the reader's own words. */
  const searchWholeWords = () => {
    if (typeof Search === "undefined") return;
    /* A page opened from disk may not read other pages, so there it has to do without excerpts. */
    if (window.location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
    Object.assign(Documentation.TRANSLATIONS, strings.search);
    const parse = Search._parseQuery;
    Search._parseQuery = (query) => {
      const parts = parse(query);
      const words = new Set(query.toLowerCase().trim().split(/\s+/).filter(Boolean));
      remember("sphinx_highlight_terms", [...words].join(" "));
      parts[3] = words;
      return parts;
    };
    /* Excerpts of the text alone, without the buttons and the table of contents around it. */
    Search.htmlToText = (page, anchor) => {
      const text = new DOMParser().parseFromString(page, "text/html");
      const article = text.querySelector("article.bd-article");
      if (!article) return "";
      for (const part of article.querySelectorAll("h1, .headerlink, .cell_input, script, style, annotation, svg")) part.remove();
      const target = anchor ? text.getElementById(decodeURIComponent(anchor.slice(1))) : null;
      return (target || article).textContent.replace(/\s+/g, " ");
    };
  };

  if (strings.language) remember("cnnlab-language", strings.language);
  translateCopyButtons();
  document.addEventListener("DOMContentLoaded", () => {
    searchWholeWords();
    leadToSameSection();
    labelToggles();
  });
  window.addEventListener("load", labelToggles);
})();
