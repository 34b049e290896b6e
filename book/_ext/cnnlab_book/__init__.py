"""What the site of the book needs from Sphinx beyond Jupyter Book.

One module per concern: `languages` (interface strings, switcher), `search`, `figures`, `formulas`,
`glossary` (its entries and the links to them), `assets` (fonts and the colours of figures, made small and
kept on the site), `sections` (anchors that are the same in every language), `breaks` (of lines).
"""

from typing import Any

from sphinx.application import Sphinx

from . import assets, breaks, figures, formulas, glossary, languages, search, sections, widgets


def setup(app: Sphinx) -> dict[str, Any]:
    for part in (languages, search, sections, figures, formulas, glossary, breaks, widgets, assets):
        part.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
