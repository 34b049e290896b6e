"""Figures of code cells: drawn into the page, captioned, in the colours of the reader's theme.

The SVG that a cell shows is put into the page itself, so its colours can follow the theme: each light
colour of `cnnlab.figures.PALETTE` becomes ``var(--fig-<role>, <colour>)``. The paragraph that follows the
cell and begins with ``**図2.1**`` or ``**그림 2.1**`` becomes its caption and its accessible name. A figure
without caption, and an image without alternative text, is a warning and so fails the build.
"""

import base64
import io
import re
from pathlib import Path

from docutils import nodes
from PIL import Image, features
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

from . import languages
from .sections import cell_ids

logger = logging.getLogger(__name__)
DRAWN = re.compile(r"\.(svg|png|jpe?g|gif|webp)$")


class book_figure(nodes.General, nodes.Element):
    """A figure in the page: pictures, then perhaps a caption."""


class book_caption(nodes.General, nodes.TextElement):
    """The caption of a figure."""


def palette() -> dict[str, tuple[str, str]]:
    """Roles and their colours on light and on dark paper."""
    from cnnlab.figures import PALETTE

    return PALETTE


def repack(picture: str) -> str:
    """An embedded picture with the same pixels in fewer bytes; Matplotlib packs gray pictures as RGBA."""
    head, data = picture.split(",", 1)
    packed = base64.b64decode(data)
    with Image.open(io.BytesIO(packed)) as image:
        opaque = image.mode != "RGBA" or image.getextrema()[3][0] == 255
        pixels = image.convert("RGB" if opaque else "RGBA")
    kinds = {"webp": {"lossless": True, "exact": True, "method": 6}} if features.check("webp") else {}
    for kind, options in {**kinds, "png": {"optimize": True}}.items():
        stream = io.BytesIO()
        pixels.save(stream, kind, **options)
        if len(stream.getvalue()) < len(packed):
            head, packed = f"data:image/{kind};base64", stream.getvalue()
    return f"{head},{base64.b64encode(packed).decode()}"


def inline_svg(svg: str, prefix: str, caption_id: str, colours: dict[str, tuple[str, str]]) -> str:
    """An SVG document as an element of a page.

    Parameters
    ----------
    svg : str
        The document.
    prefix : str
        Put before each id, since a page may have the same picture twice.
    caption_id : str
        Id of the element that names the picture.
    colours : dict
        Colours by role; the light ones are replaced by variables.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.S)
    # Matplotlib's style sheet says `*`, which in a page would mean the whole page.
    svg = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>|<style[^>]*>.*?</style>", "", svg, flags=re.S)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    svg = re.sub(r'\sid="([^"]+)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'((?:xlink:)?href=")#', rf"\1#{prefix}", svg).replace("xlink:href", "href")
    svg = svg.replace("url(#", f"url(#{prefix}")
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    roles = {light.lower(): role for role, (light, _) in colours.items()}

    def variable(match: re.Match[str]) -> str:
        role = roles.get(match[0].lower())
        return f"var(--fig-{role}, {match[0].lower()})" if role else match[0]

    # var() is understood in style sheets only, so colours given as attributes become styles.
    svg = re.sub(
        r'\s(fill|stroke|stop-color)="(#[0-9a-fA-F]{6})"',
        lambda m: f' style="{m[1]}: {m[2]}"' if m[2].lower() in roles else m[0],
        svg,
    )
    svg = re.sub(r"#[0-9a-fA-F]{6}(?![0-9a-fA-F])(?=[^<>]*>)", variable, svg)
    svg = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=\s]+", lambda m: repack(m[0]), svg)
    svg = re.sub(r">\s+<", "><", svg).strip()
    return svg.replace(
        "<svg", f'<svg role="img" aria-labelledby="{caption_id}" class="book-drawing" focusable="false"', 1
    )


def caption_of(cell: nodes.Element, label: str) -> tuple[nodes.paragraph, str] | None:
    """The paragraph after a code cell if it is a caption, and the figure's number."""
    following = cell.parent.children[cell.parent.index(cell) + 1 :]
    after = next((node for node in following if not isinstance(node, (nodes.comment, nodes.target))), None)
    if not isinstance(after, nodes.paragraph):
        return None
    first = next(node for node in after.children if node.astext())
    match = re.fullmatch(rf"{label}\s?(\d+\.\d+)[.。:：]?", first.astext().strip())
    return (after, match[1]) if isinstance(first, nodes.strong) and match else None


def _draw(app: Sphinx, image: nodes.image, prefix: str, caption_id: str, name: str) -> nodes.Node:
    """Replace the node of a picture: drawn into the page if it is SVG, otherwise named."""
    path = Path(app.env.relfn2path(image["uri"], app.env.docname)[1])
    if not image["uri"].endswith(".svg"):
        image["alt"] = name
        return image
    svg = inline_svg(path.read_text(encoding="utf-8"), prefix, caption_id, palette())
    return nodes.raw("", svg, format="html")


def frame_figures(app: Sphinx, doctree: nodes.document) -> None:
    """Wrap what code cells draw in figures with captions."""
    source = Path(app.env.doc2path(app.env.docname))
    ids = cell_ids(source)
    label = re.escape(languages.load()[app.config.language]["figure"])
    for cell in list(
        doctree.findall(lambda node: isinstance(node, nodes.container) and "cell_index" in node)
    ):
        pictures = [image for image in cell.findall(nodes.image) if DRAWN.search(image["uri"])]
        if not pictures:
            continue
        name = ids[cell["cell_index"]] if cell["cell_index"] < len(ids) else str(cell["cell_index"])
        found = caption_of(cell, label)
        if found is None:
            logger.warning("the figure of cell %r has no caption paragraph after it", name, location=cell)
            continue
        paragraph, number = found
        anchor = f"fig-{number.replace('.', '-')}"
        for position, image in enumerate(pictures):
            frame = book_figure(ids=[anchor] if position == len(pictures) - 1 else [])
            drawn = _draw(app, image, f"{anchor}-{position}-", f"{anchor}-caption", paragraph.astext())
            image.replace_self(frame)
            frame += drawn
        paragraph.parent.remove(paragraph)
        frame += book_caption("", "", *paragraph.children, ids=[f"{anchor}-caption"])


def check_alternatives(app: Sphinx, doctree: nodes.document) -> None:
    for image in doctree.findall(nodes.image):
        if not image.get("alt", "").strip():
            logger.warning("image %s has no alternative text", image["uri"], location=image)


def visit_figure(self: HTML5Translator, node: book_figure) -> None:
    self.body.append(self.starttag(node, "figure", CLASS="book-figure"))


def depart_figure(self: HTML5Translator, node: book_figure) -> None:
    self.body.append("</figure>\n")


def visit_caption(self: HTML5Translator, node: book_caption) -> None:
    self.body.append(self.starttag(node, "figcaption", ""))


def depart_caption(self: HTML5Translator, node: book_caption) -> None:
    self.body.append("</figcaption>")


def setup(app: Sphinx) -> None:
    app.add_node(book_figure, html=(visit_figure, depart_figure))
    app.add_node(book_caption, html=(visit_caption, depart_caption))
    # Before Sphinx collects the images that it has to copy.
    app.connect("doctree-read", frame_figures, priority=110)
    app.connect("doctree-read", check_alternatives, priority=120)
