"""The glossary, and links to it.

``glossary.md`` is a definition list whose entries are terms of ``book/terms.toml``. Each entry gets an anchor
that is the same in every language (``glossary.html#term-padding``) and, behind it, the term in the other
languages. On every other page, the first place in running text where a term stands links to its entry.
"""

import re
from functools import cache
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util import logging

from .languages import BOOK

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

logger = logging.getLogger(__name__)
PAGE = "glossary"
# Words in these are left alone: they are links, titles, code or formulas already, or tell about a picture.
SKIPPED = (
    nodes.title,
    nodes.reference,
    nodes.literal,
    nodes.literal_block,
    nodes.math,
    nodes.math_block,
    nodes.raw,
    nodes.term,
    addnodes.pending_xref,
    addnodes.desc,
)
KANJI, KATAKANA = "\u3400-\u9fff々", "\u30a0-\u30ff"


@cache
def terms() -> dict[str, dict[str, Any]]:
    return tomllib.loads((BOOK / "terms.toml").read_text(encoding="utf-8"))


def linked(language: str) -> dict[str, str]:
    """Keys of the terms that pages link, by the word; a term with ``unlinked`` has a word with other uses."""
    found = {
        term[language]: key
        for key, term in terms().items()
        if term.get("glossary", True) and language not in term.get("unlinked", [])
    }
    return dict(sorted(found.items(), key=lambda item: -len(item[0])))


def whole(word: str, language: str) -> str:
    """A pattern that finds a word, but not inside a longer one.

    Korean words begin after a blank or a sign and take particles at their end. In Japanese a word ends where
    the script changes: 層 is a word in 畳み込み層, not in 層化.
    """
    if language == "ko":
        return rf"(?<![가-힣]){re.escape(word)}"
    before = after = ""
    for script in (KANJI, KATAKANA):
        before += rf"(?<![{script}])" if re.match(f"[{script}]", word) else ""
        after += rf"(?![{script}])" if re.search(f"[{script}]$", word) else ""
    return f"{before}{re.escape(word)}{after}"


@cache
def pattern(language: str) -> re.Pattern[str]:
    """Finds the terms of a language, longer ones first."""
    return re.compile("|".join(f"({whole(word, language)})" for word in linked(language)))


def split(text: str, language: str, seen: set[str]) -> list[tuple[str, str]]:
    """Cut a text into (words, key of a term), with an empty key for what is no link; adds to `seen`."""
    keys = list(linked(language).values())
    pieces, done = [], 0
    for match in pattern(language).finditer(text):
        key = keys[match.lastindex - 1] if match.lastindex else ""
        if key in seen:
            continue
        seen.add(key)
        pieces += [(text[done : match.start()], ""), (match[0], key)]
        done = match.end()
    return [(words, key) for words, key in [*pieces, (text[done:], "")] if words]


def name_entries(app: Sphinx, doctree: nodes.document) -> None:
    """Anchors for the entries of the glossary, and the term in the other languages."""
    if app.env.docname != PAGE:
        return
    language = app.config.language
    keys = {term[language]: key for key, term in terms().items()}
    for entry in doctree.findall(nodes.term):
        key = keys.get(entry.astext())
        if key is None:
            logger.warning("%r is no term of book/terms.toml", entry.astext(), location=entry)
            continue
        entry["ids"].append(f"term-{key}")
        entry += nodes.raw("", '<span class="other-names">', format="html")
        for other, word in terms()[key].items():
            if isinstance(word, str) and other != language:
                entry += nodes.raw("", f'<span lang="{other}">', format="html")
                entry += nodes.Text(word)
                entry += nodes.raw("", "</span>", format="html")
        entry += nodes.raw("", "</span>", format="html")


def link_terms(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Link the first occurrence of each term, where the book has a glossary."""
    if docname == PAGE or PAGE not in app.env.all_docs or app.builder.format != "html":
        return
    language = app.config.language
    if language not in {"ja", "ko"}:
        return
    seen: set[str] = set()
    address = app.builder.get_relative_uri(docname, PAGE)
    for text in list(doctree.findall(nodes.Text)):
        if not isinstance(text.parent, nodes.TextElement) or inside(text, SKIPPED):
            continue
        pieces = split(text.astext(), language, seen)
        if any(key for _, key in pieces):
            new = [
                nodes.reference("", words, refuri=f"{address}#term-{key}", internal=True, classes=["term"])
                if key
                else nodes.Text(words)
                for words, key in pieces
            ]
            text.parent.replace(text, new)


def inside(node: nodes.Node, kinds: tuple[type, ...]) -> bool:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, kinds):
            return True
    return False


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", name_entries)
    app.connect("doctree-resolved", link_terms)
