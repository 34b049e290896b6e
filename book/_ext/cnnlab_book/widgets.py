"""Widgets on pages: the scripts of `cnnlab.widgets`, on those pages that have one.

A widget's cell puts a ``<div class="cw-host">`` into the page, with a picture for readers without JavaScript.
The modules lie in ``_static/widgets`` as they are, and once more as classic scripts, since no browser imports
a module from a folder on disk.
"""

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from .figures import inline_svg, palette

FOLDER = "widgets"
HOST = re.compile(r'<div class="cw-host" data-widget="(\w+)"')


def draw_pictures(app: Sphinx, doctree: nodes.document) -> None:
    """Give the picture that stands in a widget's place the colours of the theme."""
    hosts = [node for node in doctree.findall(nodes.raw) if HOST.search(node.rawsource or node.astext())]
    for number, node in enumerate(hosts):
        before, start, rest = node.astext().partition("<svg")
        if not start:
            continue
        svg, end, after = rest.rpartition("</svg>")
        drawn = inline_svg(start + svg + end, f"widget-{number}-", f"widget-{number}-text", palette())
        before = before.replace("<p>", f'<p id="widget-{number}-text">', 1)
        node.children[:] = [nodes.Text(before + drawn + after)]


def add_scripts(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    if HOST.search(context.get("body", "")):
        app.add_js_file(f"{FOLDER}/host.js", loading_method="defer")


def write_scripts(folder: Path) -> None:
    """Put all that a page with widgets loads into a folder."""
    from cnnlab.widgets.widget import linked

    folder.mkdir(parents=True, exist_ok=True)
    host = Path(__file__).with_name("host.js").read_text(encoding="utf-8")
    host = re.sub(r"^ */\*.*?\*/\n", "", host, flags=re.M | re.S)  # comments stay in the source
    folder.joinpath("host.js").write_text(host, encoding="utf-8", newline="\n")
    for file in resources.files("cnnlab.widgets").iterdir():
        if file.name.endswith((".mjs", ".css")):
            folder.joinpath(file.name).write_bytes(file.read_bytes())
        if file.name.endswith(".mjs"):
            name = file.name.removesuffix(".mjs")
            script = (
                f"(window.cnnlabWidgets ??= {{}})[{json.dumps(name)}] = {json.dumps(linked(file.name))};\n"
            )
            folder.joinpath(f"{name}.js").write_text(script, encoding="utf-8", newline="\n")


def write_modules(app: Sphinx, exception: Exception | None) -> None:
    if exception is None and app.builder.format == "html":
        write_scripts(Path(app.outdir, "_static", FOLDER))


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", draw_pictures, priority=130)
    app.connect("html-page-context", add_scripts)
    app.connect("build-finished", write_modules, priority=500)
