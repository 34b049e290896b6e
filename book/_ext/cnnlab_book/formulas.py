r"""Formulas as MathML, made while the site is built.

Browsers draw MathML themselves: no script, nothing to fetch, and a screen reader reads it. A formula that
cannot be translated is a warning, so it fails the build instead of showing raw TeX.
"""

import re
from functools import cache

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

logger = logging.getLogger(__name__)
LONG = 24  # signs
OPENING = re.compile(r"[（「『【〈《(\[“‘]*$")
CLOSING = re.compile(r"[、。，．,.;:!?…・）」』】〉》)\]”’%％]*[가-힣]*[,.)]*")


@cache
def _converter() -> LatexToMathML:
    return LatexToMathML(annotation=True, fancy_error=False)


@cache
def mathml(latex: str, display: bool) -> str:
    """MathML for a formula.

    Raises
    ------
    ValueError
        If the formula has a command that is not known or is not balanced.
    """
    # A \\ breaks a line only in an environment.
    if display and r"\\" in latex and r"\begin" not in latex:
        latex = rf"\begin{{aligned}}{latex}\end{{aligned}}"
    try:
        return _converter().convert_with_local_state(latex, displaystyle=display)
    except LatexError as error:
        raise ValueError(re.sub(r"\s+", " ", str(error)).strip()) from error


def _formula(node: nodes.Element, display: bool) -> str:
    try:
        return mathml(node.astext().strip(), display)
    except ValueError as error:
        logger.warning("formula %r: %s", node.astext(), error, location=node)
        return ""


def visit_math(self: HTML5Translator, node: nodes.math) -> None:
    kind = "math long" if _is_long(node) else "math"
    self.body.append(f'<span class="{kind} notranslate nohighlight">{_formula(node, False)}</span>')
    raise nodes.SkipNode


def visit_math_block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(self.starttag(node, "div", CLASS="math notranslate nohighlight", tabindex="0"))
    if node.get("number"):
        self.body.append(f'<span class="eqno">({get_node_equation_number(self, node)})</span>')
    self.body.append(_formula(node, True) + "</div>\n")
    raise nodes.SkipNode


def _is_long(node: nodes.math) -> bool:
    """Whether a formula may be wider than a phone, where it then scrolls."""
    return len(re.sub(r"\\[A-Za-z]+|[{}\s_^]", "", node.astext())) > LONG


def glue_signs(app: Sphinx, doctree: nodes.document) -> None:
    """Keep a formula on one line with the punctuation and the Korean particle next to it, as letters are."""
    for node in list(doctree.findall(nodes.math)):
        if _is_long(node) or not isinstance(node.parent, nodes.TextElement):
            continue
        siblings, position = node.parent.children, node.parent.index(node)
        before = siblings[position - 1] if position else None
        after = siblings[position + 1] if position + 1 < len(siblings) else None
        head = OPENING.search(before.astext())[0] if isinstance(before, nodes.Text) else ""
        tail = CLOSING.match(after.astext())[0] if isinstance(after, nodes.Text) else ""
        if not head and not tail:
            continue
        if head:
            node.parent.replace(before, nodes.Text(before.astext().removesuffix(head)))
        if tail:
            node.parent.replace(after, nodes.Text(after.astext().removeprefix(tail)))
        unit = nodes.inline("", "", classes=["unit"])
        node.replace_self(unit)
        unit += [nodes.Text(head), node, nodes.Text(tail)]


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", glue_signs)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
