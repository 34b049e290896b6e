"""What the site of the book needs from Sphinx beyond Jupyter Book.

One module per concern: `languages` (interface strings, switcher), `search`, `figures`, `formulas`, `assets`
(fonts and the colours of figures, made small and kept on the site), `sections` (anchors that are the same
in every language).
"""

from typing import Any

from sphinx.application import Sphinx

from . import assets, figures, formulas, languages, search, sections


def setup(app: Sphinx) -> dict[str, Any]:
    for part in (languages, search, sections, figures, formulas, assets):
        part.setup(app)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
