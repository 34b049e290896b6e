"""Fonts and colours of the site, cut down to what its pages use.

The themes bring a script of 1.5 MB for their icons, and a mathematical font has thousands of glyphs. After
the pages are written, this module looks at which icons and which signs they use and writes
``_static/generated.css`` with small fonts inside it. As they are inside the style sheet, they also work in
a folder opened from disk.
"""

import base64
import io
import logging
import re
from importlib import resources
from pathlib import Path

import pydata_sphinx_theme
from fontTools import subset
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx

GENERATED = "generated.css"
ICONS = Path(pydata_sphinx_theme.__file__).parent.joinpath(
    "theme/pydata_sphinx_theme/static/vendor/fontawesome/webfonts/fa-solid-900.ttf"
)
# Old names of icons that the themes still use, and the name of the glyph.
RENAMED = {"file-pdf": "file-pdf", "expand": "expand", "search": "magnifying-glass"}
# Icons that style sheets and scripts of the themes show.
ALWAYS = {
    "angle-left", "angle-right", "angle-down", "bell", "circle-check", "download", "circle-exclamation",
    "triangle-exclamation", "arrow-up-right-from-square", "circle-info", "lightbulb", "pencil", "share",
    "magnifying-glass-minus", "circle-xmark", "xmark",
}  # fmt: skip
# Greek and Latin letters are drawn as mathematical italics, so those are always needed.
LETTERS = [
    *range(0x20, 0x7F),
    *range(0x391, 0x3D6),
    *range(0x1D434, 0x1D468),
    *range(0x1D6E2, 0x1D71C),
    0x210E,
]
# What the themes bring and no page needs.
UNUSED = (
    "scripts/fontawesome.js*",
    "**/*.map",
    "*webpack-macros.html",
    "sphinx-thebe.*",
    "locales/**/*.[mp]o",
)
REMOVED = re.compile(
    r'\s*<script[^>]*src="[^"]*(?:fontawesome|searchtools|language_data|searchindex)\.js[^"]*"></script>'
)


def embed(font: TTFont, codepoints: set[int]) -> str:
    """A font cut down to these characters, as an address to be written into a style sheet."""
    options = subset.Options(
        layout_features=["kern", "ssty", "dtls", "flac", "liga"], hinting=False, desubroutinize=True,
        notdef_outline=True, name_IDs=[0, 1, 2, 13, 14],
    )  # fmt: skip
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    worker = subset.Subsetter(options)
    worker.populate(unicodes=codepoints)
    worker.subset(font)
    font.flavor = "woff"
    packed = io.BytesIO()
    font.save(packed)
    return f"data:font/woff;base64,{base64.b64encode(packed.getvalue()).decode()}"


def icon_css(pages: list[str]) -> str:
    """Rules for the icons that the pages use."""
    used = ALWAYS | {name for page in pages for name in re.findall(r"\bfa-([a-z][a-z0-9-]*)", page)}
    with TTFont(ICONS) as font:
        points: dict[str, int] = {}
        for point, name in sorted(font.getBestCmap().items()):
            if point >= 0xE000:
                points.setdefault(name, point)
    chosen = {
        name: points[RENAMED.get(name, name)] for name in sorted(used) if RENAMED.get(name, name) in points
    }
    rules = "".join(f'.fa-{name}::before{{content:"\\{point:x}"}}\n' for name, point in chosen.items())
    source = embed(TTFont(ICONS), {*chosen.values(), 0xF107})
    return (
        f'@font-face{{font-family:"Font Awesome 6 Free";font-weight:900;font-display:block;'
        f'src:url({source}) format("woff")}}\n'
        ".fa,.fas,.fa-solid{font-family:'Font Awesome 6 Free';font-weight:900;font-style:normal;"
        "line-height:1;display:inline-block;text-rendering:auto;-webkit-font-smoothing:antialiased}\n"
        ".fa-lg{font-size:1.25em;line-height:.05em;vertical-align:-.075em}\n" + rules
    )


def make_roots_equally_wide(font: TTFont) -> None:
    """Make the tall signs of a root as wide as the low one.

    Chromium leaves as much room for every root as the widest sign needs, so there was a gap after low roots.
    """
    variants = font["MATH"].table.MathVariants
    low = font.getBestCmap()[ord("√")]
    root = variants.VertGlyphConstruction[variants.VertGlyphCoverage.glyphs.index(low)]
    tall = {record.VariantGlyph for record in root.MathGlyphVariantRecord}
    tall |= {part.glyph for part in root.GlyphAssembly.PartRecords}
    width = font["hmtx"][low][0]
    for name in tall - {low}:
        glyph = font["glyf"][name]
        glyph.coordinates.scale((width / font["hmtx"][name][0], 1))
        glyph.coordinates.toInt()
        glyph.recalcBounds(font["glyf"])
        font["hmtx"][name] = (width, glyph.xMin)


def math_css(pages: list[str]) -> str:
    """The font for formulas."""
    signs = {
        ord(sign)
        for page in pages
        for formula in re.findall(r"<math.*?</math>", page, re.S)
        for sign in formula
    }
    if not signs:
        return ""
    signs = {sign for sign in signs if sign < 0x2E80 or sign > 0x10000}
    signs.add(ord("√"))  # what <msqrt> draws does not stand in the text
    path = resources.files("ziamath").joinpath("fonts/STIXTwoMath-Regular.ttf")
    with resources.as_file(path) as file, TTFont(file) as font:
        make_roots_equally_wide(font)
        source = embed(font, {*signs, *LETTERS})
    return f'@font-face{{font-family:"Book Math";src:url({source}) format("woff")}}\n'


def figure_css() -> str:
    """The colours of the figures in both themes; paper is always light."""
    from cnnlab.figures.style import variables

    light, dark = variables()
    return (
        f':root{{{light}}}\nhtml[data-theme="dark"]{{{dark}}}\n@media print{{html[data-theme]{{{light}}}}}\n'
    )


def write_assets(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    pages = [path.read_text(encoding="utf-8") for path in sorted(out.rglob("*.html"))]
    css = icon_css(pages) + math_css(pages) + figure_css()
    (out / "_static" / GENERATED).write_text(css, encoding="utf-8", newline="\n")
    static = out / "_static"
    for unused in {path for pattern in UNUSED for path in static.glob(pattern)}:
        unused.unlink()


def add_filter(app: Sphinx) -> None:
    environment = getattr(app.builder.templates, "environment", None)
    if environment is not None:
        environment.filters["without_unused_scripts"] = lambda text: REMOVED.sub("", text)


def leave_out_live_code(app: Sphinx, *_: object) -> None:
    """Jupyter Book loads sphinx-thebe on every page, which the book does not use."""
    for listeners in app.events.listeners.values():
        for listener in list(listeners):
            if listener.handler.__module__.startswith("sphinx_thebe"):
                app.disconnect(listener.id)
    app.registry.css_files[:] = [file for file in app.registry.css_files if file[0] != "sphinx-thebe.css"]


def setup(app: Sphinx) -> None:
    app.add_css_file(GENERATED, priority=900)
    app.connect("builder-inited", add_filter)
    app.connect("config-inited", leave_out_live_code)
    app.connect("build-finished", write_assets, priority=600)
