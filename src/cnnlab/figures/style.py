"""Colours, the `Figure` that a notebook shows as one SVG, and the few strokes that all drawings share.

Vector parts use the light colours of `PALETTE` and nothing else. Each light colour belongs to one role, so a
page can replace it by a variable, and `Figure.to_svg` by the dark one. Shades are made with opacity, never
with a colour of their own. A drawing is wordless: numerals, symbols, names of the code, and a few axis names.
"""

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure as MatplotlibFigure
from matplotlib.patches import Rectangle

# role: (on light paper, on dark paper). Lines and text have a contrast of at least 4.5 with the paper and,
# as far as text is set on them, with the fills.
PALETTE: dict[str, tuple[str, str]] = {
    "paper": ("#fffdf9", "#17191e"),
    "ink": ("#1f242d", "#ece9e3"),
    "muted": ("#5c6470", "#a7aeb9"),
    "grid": ("#c3c8d0", "#4a515c"),
    "blank": ("#f3f3f1", "#22262d"),
    "input": ("#1f65ad", "#79b6f2"),
    "input_fill": ("#deebf8", "#1c3651"),
    "filter": ("#ad5200", "#f6a55a"),
    "filter_fill": ("#fee3c4", "#56330f"),
    "output": ("#087253", "#55c9a0"),
    "output_fill": ("#d4efe3", "#123f31"),
    "gradient": ("#97278a", "#e48fd8"),
    "gradient_fill": ("#f4dcf1", "#4a2046"),
    "accent": ("#5546b0", "#aca1f7"),
    "accent_fill": ("#e4e0fa", "#322a66"),
    "highlight": ("#bd1f36", "#ff8a8f"),
    "highlight_fill": ("#ffe08a", "#5f4c00"),
}
# Roles that an array can play; each has a line colour and a `_fill`.
ROLES = ("input", "filter", "output", "gradient", "accent")

GRAY = "gray"
# Signed values: below zero blue, zero white, above zero orange.
SIGNED = LinearSegmentedColormap.from_list("signed", ["#124a86", "#79aedd", "#ffffff", "#f2a65e", "#8f4100"])

FONT = "DejaVu Sans"  # comes with matplotlib, so text is drawn alike everywhere
FONT_SIZE = 13.0  # points
# The reader's own settings of matplotlib do not reach the drawings of the book.
SETTINGS = {
    **{name: value for name, value in matplotlib.rcParamsDefault.items() if not name.startswith("backend")},
    "svg.fonttype": "path",
    "svg.hashsalt": "cnnlab",
    "svg.image_inline": True,
    "path.simplify": False,
    "font.family": [FONT],
    "mathtext.fontset": "dejavusans",
    "axes.unicode_minus": True,
}


def variables() -> tuple[str, str]:
    """The colours as CSS variables, ``--fig-input:#1f65ad;…``: for light paper, for dark paper."""
    light, dark = ("".join(f"--fig-{role}:{pair[k]};" for role, pair in PALETTE.items()) for k in (0, 1))
    return light, dark


def colour(role: str) -> str:
    """The light colour of a role."""
    if role not in PALETTE:
        raise ValueError(f"unknown colour role {role!r}; known roles: {', '.join(PALETTE)}")
    return PALETTE[role][0]


@contextmanager
def settings() -> Iterator[None]:
    """matplotlib with the book's settings."""
    with matplotlib.rc_context(SETTINGS):
        yield


class Figure(MatplotlibFigure):
    """A matplotlib figure, made without pyplot, that shows itself as one SVG wherever HTML is shown.

    Parameters
    ----------
    width, height : float
        Natural size in inches; a page narrower than that scales the picture down.
    """

    def __init__(self, width: float, height: float):
        with settings():
            super().__init__(
                figsize=(round(width, 2), round(height, 2)), facecolor=colour("paper"), edgecolor="none"
            )

    def to_svg(self, dark: bool = False) -> str:
        """The drawing as an ``<svg>`` element: no date, text as paths, ids that differ from figure to figure.

        The same drawing gives the same text. With `dark`, the colours are those for dark paper.
        """
        buffer = io.StringIO()
        with settings():
            self.savefig(
                buffer,
                format="svg",
                dpi=72,
                facecolor=self.get_facecolor(),
                metadata={"Date": None, "Creator": None},
            )
        svg = _own_ids(_slim(buffer.getvalue()))
        return _darken(svg) if dark else svg

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def _ipython_display_(self) -> None:
        # IPython's inline backend would add a PNG of every matplotlib figure to the output; this shows the
        # SVG alone.
        from IPython.display import display

        display({"image/svg+xml": self.to_svg(), "text/plain": repr(self)}, raw=True)


def canvas(width: float, height: float, unit: float) -> tuple[Figure, Axes]:
    """An empty figure of `width` × `height` units of `unit` inches; x goes right, y goes down like rows."""
    figure = Figure(width * unit, height * unit)
    with settings():
        axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes


def write(
    axes: Axes, x: float, y: float, words: str, role: str = "ink", size: float = FONT_SIZE, **options
) -> None:
    """Text centred on (x, y)."""
    options = {"ha": "center", "va": "center_baseline", **options}
    axes.text(x, y, words, color=colour(role), fontsize=size, fontfamily=FONT, **options)


def box(
    axes: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    *,
    fill: str | None = None,
    line: str | None = "grid",
    linewidth: float = 1.0,
    opacity: float = 1.0,
    linestyle: str = "-",
    inset: float = 0.0,
    zorder: float = 1.0,
    label: str | None = None,
) -> Rectangle:
    """A rectangle from its upper left corner; `label` names it among the figure's patches."""
    rectangle = Rectangle(
        (x + inset, y + inset),
        width - 2 * inset,
        height - 2 * inset,
        facecolor=(colour(fill), opacity) if fill else "none",
        edgecolor=colour(line) if line else "none",
        linewidth=linewidth if line else 0,
        linestyle=linestyle,
        zorder=zorder,
        joinstyle="miter",
    )
    rectangle.set_label(label or "")
    axes.add_patch(rectangle)
    return rectangle


def arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], role: str = "muted", width=1.6
) -> None:
    """A straight arrow."""
    shape = {"arrowstyle": "-|>,head_length=0.35,head_width=0.2", "color": colour(role), "linewidth": width}
    axes.annotate("", end, start, arrowprops={**shape, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 14})


def numeral(value) -> str:
    """A number as it is written in a cell: at most two decimals, a real minus sign."""
    if isinstance(value, (bool, np.bool_)):
        return str(int(value))
    value = float(value)
    if not np.isfinite(value):
        return "NaN" if np.isnan(value) else ("∞" if value > 0 else "−∞")
    shown = f"{value:.2f}".rstrip("0").rstrip(".") if abs(value) < 1e4 else f"{value:.3g}"
    return "0" if shown in ("-0", "0") else shown.replace("-", "−")


def shape_text(shape: tuple[int, ...]) -> str:
    """A shape as Python prints it."""
    return str(tuple(int(n) for n in shape))


def _slim(svg: str) -> str:
    """Without prologue, metadata, comments and unreferenced ids; as wide as the page at most."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    # matplotlib's style sheet would reach the whole page that the drawing is put into.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", svg, flags=re.DOTALL)
    referenced = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in referenced else "", svg)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    return svg.replace("<svg ", f"<svg {_ROOT} ", 1)


_ROOT = 'role="img" style="max-width: 100%; height: auto" stroke-linejoin="round" stroke-linecap="butt"'


def _own_ids(svg: str) -> str:
    """Ids with a prefix made from the drawing, so that several drawings can share a page."""
    prefix = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8] + "-"
    return re.sub(r'( id="|href="#|url\(#)', lambda found: found[0] + prefix, svg)


def _darken(svg: str) -> str:
    dark = dict(PALETTE.values())
    return re.sub("|".join(dark), lambda found: dark[found[0]], svg)
