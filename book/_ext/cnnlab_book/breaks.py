"""Where lines break.

Browsers end a line at the hyphen of a name, between 図 and its number, and in Korean before a particle that
follows a sign or a formula. Here such a name gets an element that forbids it, and before the particle comes
an empty element that the style sheet gives a word joiner, as it does at the end of code: the text itself,
which readers copy and search, stays as it is. Outputs that are no tables get a class with which their lines
may break.
"""

import re
from functools import cache

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

from . import languages
from .glossary import inside

SKIPPED = (nodes.FixedTextElement, nodes.literal, nodes.math, addnodes.desc_signature)
SIGNS = "])}%’”\"'』」》〉✓✗²³"
PARTICLE = re.compile(rf"(?<=[{re.escape(SIGNS)}])(?=[가-힣])")


@cache
def kept(language: str) -> re.Pattern[str]:
    """Finds what stays on one line: names with hyphens, and numbers of figures with the word before them."""
    letters = "A-Za-z0-9가-힣" if language == "ko" else "A-Za-z0-9"
    name = rf"(?<![{letters}/.@_-])[{letters}]+(?:-[{letters}]+)+(?![{letters}/@_-]|\.[{letters}])"
    figure = re.escape(languages.load()[language]["figure"]) + r"\s?\d+\.\d+"
    return re.compile(f"({name}|{figure})")


def joiner() -> nodes.inline:
    return nodes.inline("", "", classes=["joiner"])


def split(text: str, language: str) -> list[nodes.Node]:
    """Cut a text into what may be broken, what may not, and joiners."""
    pieces: list[nodes.Node] = []
    for position, words in enumerate(kept(language).split(text)):
        if position % 2:
            pieces.append(nodes.inline("", words, classes=["kept"]))
        elif words:
            first, *others = PARTICLE.split(words) if language == "ko" else [words]
            pieces.append(nodes.Text(first))
            for part in others:
                pieces += [joiner(), nodes.Text(part)]
    return pieces


def follows_sign(parent: nodes.Element, position: int) -> bool:
    """Whether a text begins with Hangul right behind a formula or an element that ends with a sign."""
    if not re.match("[가-힣]", parent[position].astext()):
        return False
    while position == 0 and isinstance(parent, nodes.Inline):
        parent, position = parent.parent, parent.parent.index(parent)
    if position == 0:
        return False
    before = parent[position - 1]
    return isinstance(before, nodes.math) or before.astext().endswith(tuple(SIGNS))


def keep_together(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    language = app.config.language
    if app.builder.format != "html" or language not in {"ja", "ko"}:
        return
    for element in list(doctree.findall(nodes.TextElement)):
        if isinstance(element, SKIPPED) or inside(element, SKIPPED):
            continue
        for position in reversed(range(len(element))):
            if not isinstance(element[position], nodes.Text):
                continue
            pieces = split(element[position].astext(), language)
            if language == "ko" and follows_sign(element, position):
                pieces.insert(0, joiner())
            element[position : position + 1] = pieces


def let_outputs_wrap(app: Sphinx, doctree: nodes.document) -> None:
    """An error, and an output of a single line, has no columns to keep."""
    for block in doctree.findall(nodes.literal_block):
        kinds = set(block["classes"])
        if "output" in kinds and (kinds & {"traceback", "stderr"} or "\n" not in block.astext().strip()):
            block["classes"].append("wraps")


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", let_outputs_wrap)
    # After the links of the glossary, which are found in whole texts.
    app.connect("doctree-resolved", keep_together, priority=600)
