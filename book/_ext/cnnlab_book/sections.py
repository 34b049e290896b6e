"""Anchors that are the same in every language.

The first heading of a notebook cell gets the cell's id as its anchor (``11_training.html#learning-rate``),
since cells have the same ids in every language; any other heading gets its number on the page
(``#section-3``).
"""

import json
import re
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx


def cell_ids(path: Path) -> list[str]:
    """The ids of a notebook's cells, in order; empty for other files."""
    if path.suffix != ".ipynb":
        return []
    return [cell.get("id", "") for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]]


def cell_of_line(line: int | None) -> int | None:
    """Position of the cell that MyST-NB means by a line number: it counts 10,000 lines for each cell."""
    return line // 10000 - 1 if line is not None and line >= 10000 else None


def name_sections(app: Sphinx, doctree: nodes.document) -> None:
    ids = cell_ids(Path(app.env.doc2path(app.env.docname)))
    taken = {name for node in doctree.findall(nodes.Element) for name in node["ids"]}
    for number, section in enumerate(doctree.findall(nodes.section), start=1):
        position = cell_of_line(section.line)
        name = ids[position] if position is not None and position < len(ids) else ""
        if not re.fullmatch("[A-Za-z][A-Za-z0-9-]*", name) or name in taken - set(section["ids"]):
            name = f"section-{number}"
        if name in taken - set(section["ids"]):
            continue
        taken.add(name)
        section["ids"] = [name, *(other for other in section["ids"] if other != name)]
        # So that links from other pages, `[…](11_training.ipynb#learning-rate)`, find it.
        anchors = app.env.metadata[app.env.docname].setdefault("myst_slugs", {})
        anchors[name] = (section.line or 0, name, section.next_node(nodes.title).astext())


def setup(app: Sphinx) -> None:
    # Before the table of contents is collected, which takes the first anchor of each section.
    app.connect("doctree-read", name_sections, priority=100)
