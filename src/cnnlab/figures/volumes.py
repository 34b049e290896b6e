"""Arrays as blocks: channels in depth, filters and mini-batches as rows of blocks."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Polygon

from cnnlab.figures.arguments import as_shape
from cnnlab.figures.style import FONT_SIZE, ROLES, Figure, canvas, colour, shape_text, write
from cnnlab.shapes import conv_output_size, pair

SLANT = (0.42, -0.30)  # where one unit of depth goes: to the right and up
UNIT, WIDEST, GAP = (0.56, 10.4, 0.16)  # inches per unit; units per line; units between items
SHADES = {"front": 1.0, "top": 0.62, "side": 0.34}  # opacity of the faces


def blocks(*items) -> Figure:
    """Blocks and symbols, such as input, "∗", filters, "→", output, each block with its shape below.

    Parameters
    ----------
    *items
        A pair ``(role, shape)`` with role "input", "filter", "output", "gradient" or "accent" and shape (C,
        H, W) or (N, C, H, W): depth is C, and four sizes give blocks above each other. Or a string for a
        symbol. A triple ``(role, shape, name)`` writes a name above the block.

    What is too wide for one line goes on from the last symbol on a second one.
    """
    if not any(isinstance(item, tuple) for item in items):
        raise ValueError("blocks needs at least one (role, shape)")
    parts = [_as_part(item) for item in items]
    lines = [parts]
    symbols = [index for index, (_, shape, _) in enumerate(parts) if shape is None]
    if _width(parts) > WIDEST and len(symbols) > 1:
        lines = [parts[: symbols[-1]], parts[symbols[-1] :]]
    width = max(_width(line) for line in lines)
    heights = [max(_extent(shape, parts)[1] for _, shape, _ in line) + 1.3 for line in lines]
    figure, axes = canvas(width, sum(heights), UNIT)
    top = 0.0
    for line, height in zip(lines, heights, strict=True):
        x = (width - _width(line)) / 2 + GAP
        for role, shape, name in line:
            w, h = _extent(shape, parts)
            if shape is None:
                write(axes, x + w / 2, top + height / 2, name, "ink", FONT_SIZE + 5)
            else:
                _draw(axes, x + w / 2, top + (height - h) / 2, role, shape, parts)
                write(axes, x + w / 2, top + (height + h) / 2 + 0.36, shape_text(shape), role)
                if name:
                    write(axes, x + w / 2, top + (height - h) / 2 - 0.36, name, role)
            x += w + GAP
        top += height
    return figure


def convolution_blocks(x_shape, weight_shape, *, stride=1, padding=0, bias: bool = False) -> Figure:
    """A convolution as blocks; the output's shape is worked out.

    Parameters
    ----------
    x_shape : (C, H, W) or (N, C, H, W)
    weight_shape : (OC, C, KH, KW)
    stride, padding : int or (int, int)
    bias : bool
        Draw the (OC, 1, 1) bias as well.
    """
    x_shape = as_shape(x_shape, "x_shape", (3, 4))
    OC, C, KH, KW = weight_shape = as_shape(weight_shape, "weight_shape", (4,))
    if x_shape[-3] != C:
        raise ValueError(f"the filters take {C} channels, the input {x_shape} has {x_shape[-3]}")
    (SH, SW), (PH, PW) = pair(stride, "stride"), pair(padding, "padding", minimum=0)
    OH, OW = (conv_output_size(x_shape[-2], KH, SH, PH), conv_output_size(x_shape[-1], KW, SW, PW))
    output = (*x_shape[:-3], OC, OH, OW)
    middle = ("+", ("filter", (OC, 1, 1))) if bias else ()
    items = (("input", x_shape), "∗", ("filter", weight_shape), *middle, "→", ("output", output))
    return blocks(*items)


def block(
    axes: Axes, x: float, y: float, role: str, width: float, height: float, depth: float, slices: int
) -> None:
    """One cuboid; (x, y) is the upper left corner of its front, `slices` the channels marked on it."""
    dx, dy = depth * SLANT[0], depth * SLANT[1]
    front = [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]
    top = [(x, y), (x + dx, y + dy), (x + width + dx, y + dy), (x + width, y)]
    side = [front[1], (x + width + dx, y + dy), (x + width + dx, y + height + dy), front[2]]
    for points, name in ((front, "front"), (top, "top"), (side, "side")):
        paper = {"facecolor": colour("paper"), "edgecolor": "none", "zorder": 1}
        axes.add_patch(Polygon(points, closed=True, **paper))
        shade = (colour(f"{role}_fill"), 1.0) if name == "front" else (colour(role), 0.5 * SHADES[name])
        line = {"edgecolor": colour(role), "linewidth": 1.3, "joinstyle": "round", "zorder": 1}
        axes.add_patch(Polygon(points, closed=True, facecolor=shade, **line))
    if depth * SLANT[0] / slices < 0.07:
        return
    for step in range(1, slices):
        t = step / slices
        xs = [x + t * dx, x + width + t * dx, x + width + t * dx]
        ys = [y + t * dy, y + t * dy, y + height + t * dy]
        axes.plot(xs, ys, color=colour(role), linewidth=0.7, zorder=1, solid_joinstyle="round")


def edges(shape: tuple[int, ...], largest: int, scale: float) -> tuple[float, float, float]:
    """Drawn width, height and depth of (C, H, W); square roots, so that 224 and 6 fit into one picture."""
    C, H, W = shape[-3:]
    width, height = (max(0.16, scale * float(np.sqrt(n / largest))) for n in (W, H))
    return width, height, min(3.2, 0.3 + 0.33 * float(np.sqrt(C - 1)))


def _measure(shape: tuple[int, ...], parts: list) -> tuple[float, float, float]:
    """`edges` in proportion to the largest block of the drawing."""
    largest = max(max(shape[-2:]) for _, shape, _ in parts if shape)
    crowded = any(len(shape) == 4 and shape[0] > 1 for _, shape, _ in parts if shape)
    return edges(shape, largest, 1.0 if crowded else 1.9)


def _extent(shape: tuple[int, ...] | None, parts: list) -> tuple[float, float]:
    """Width and height that a block, or the blocks above each other, take up with their text."""
    if shape is None:
        return 0.5, 0.5
    width, height, depth = _measure(shape, parts)
    text = 0.6 * FONT_SIZE / 72 / UNIT * len(shape_text(shape))
    copies = _copies(shape)
    dots = 0.45 if len(shape) == 4 and shape[0] > copies else 0.0
    return max(width + depth * SLANT[0], text), copies * (height - depth * SLANT[1] + 0.14) - 0.14 + dots


def _width(line: list) -> float:
    return sum(_extent(shape, line)[0] for _, shape, _ in line) + GAP * (len(line) + 1)


def _copies(shape: tuple[int, ...]) -> int:
    """How many blocks stand for the first of four sizes."""
    return min(3, shape[0]) if len(shape) == 4 else 1


def _draw(axes: Axes, centre: float, top: float, role: str, shape: tuple[int, ...], parts: list) -> None:
    width, height, depth = _measure(shape, parts)
    slices = shape[-3] if shape[-3] <= 8 else 1
    for copy in range(_copies(shape)):
        if copy == 2 and shape[0] > 3:
            write(axes, centre, top + 0.18, "⋮", role, FONT_SIZE + 3)
            top += 0.45
        block(
            axes,
            centre - (width + depth * SLANT[0]) / 2,
            top - depth * SLANT[1],
            role,
            width,
            height,
            depth,
            slices,
        )
        top += height - depth * SLANT[1] + 0.14


def _as_part(item) -> tuple[str, tuple[int, ...] | None, str]:
    if isinstance(item, str):
        return "symbol", None, item
    if not (isinstance(item, tuple) and len(item) in (2, 3)) or item[0] not in ROLES:
        raise ValueError(
            f"an item must be (role, shape) with a role of {', '.join(ROLES)}, or a symbol; got {item!r}"
        )
    return (item[0], as_shape(item[1], "shape", (3, 4)), item[2] if len(item) == 3 else "")
