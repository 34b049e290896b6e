"""Grids of numbers: what a filter sees, what it makes of it, and how padding and stride change that."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from cnnlab import ops
from cnnlab.figures.arguments import as_array
from cnnlab.figures.style import FONT_SIZE, ROLES, Figure, arrow, box, canvas, colour, numeral, write
from cnnlab.shapes import conv_output_size, pair

UNIT = 0.42  # inches per cell of a small grid
WIDEST = 5.8  # inches; wider drawings get smaller cells
MARGIN = 0.35  # cells
SMALLEST = 11.0  # points; smaller numbers move the output to a line of its own
GAP = 1.2  # cells between two grids: room for one symbol


@dataclass(frozen=True)
class Grid:
    """A grid to draw: what it is, its numbers (NaN: empty cell), what is marked, how much is padding."""

    role: str
    array: np.ndarray  # (H, W)
    highlight: Any = None
    padding: tuple[int, int] = (0, 0)


def number_grid(array, *, role: str = "input", highlight=None, unit: float = UNIT) -> Figure:
    """A grid of numbers.

    Parameters
    ----------
    array : array_like, (H, W)
    role : {"input", "filter", "output", "gradient", "accent"}
        What the array is; this gives the colour.
    highlight : optional
        A window ``(row, column, height, width)``, a list of windows, or a boolean array (H, W).
    unit : float
        Inches per cell.
    """
    return equation((role, array), highlights={0: highlight}, unit=unit)


def equation(*terms, highlights: dict | None = None, unit: float = UNIT) -> Figure:
    """Grids and symbols in a row, such as input, "∗", filter, "+", 3, "=", output.

    Parameters
    ----------
    *terms
        A pair ``(role, array)`` with an array (H, W) for a grid; NaN leaves a cell empty. A string for a
        symbol; a number for a single cell without role, as a bias.
    highlights : dict, optional
        From the position among `terms` to what `number_grid` calls `highlight`.
    unit : float
        Side of a cell in inches.
    """
    if not terms:
        raise ValueError("equation needs at least one term, got none")
    marks = highlights or {}
    return _row([_as_part(term, marks.get(place)) for place, term in enumerate(terms)], unit)


def convolution(x, weight, at=(0, 0), *, stride=1, padding=0, bias=None, fill: str = "all") -> Figure:
    """One position of a filter on its input, and the output number that it gives.

    Parameters
    ----------
    x : array_like, (H, W)
    weight : array_like, (KH, KW)
    at : (int, int) or None
        Row and column of the output cell; None highlights nothing.
    stride, padding : int or (int, int)
    bias : number, optional
        Added to every output cell, and drawn.
    fill : {"all", "until", "only"}
        Which output cells are written: all, those up to `at` in reading order, or `at` alone.

    Source: the operation is `cnnlab.ops.conv2d`.
    """
    x, weight = as_array(x, "x", 2), as_array(weight, "weight", 2)
    padding = pair(padding, "padding", minimum=0)
    output = _convolve(x, weight, bias, stride, padding)  # (OH, OW)
    parts: list[Grid | str] = [Grid("input", _pad(x, padding), _window(at, weight, stride), padding), "∗"]
    parts += [Grid("filter", weight.astype(float))]
    parts += [] if bias is None else ["+", Grid("plain", np.array([[float(bias)]]))]
    parts += ["=", Grid("output", _written(output, at, fill), None if at is None else (*at, 1, 1))]
    return _row(parts)


def convolution_steps(x, weight, *, stride=1, padding=0, columns: int = 2) -> Figure:
    """Every position of the filter as a small picture, the output filling up in reading order.

    Parameters as for `convolution`; `columns` is the number of pictures side by side. At most 36 positions.
    """
    x, weight = as_array(x, "x", 2), as_array(weight, "weight", 2)
    padding = pair(padding, "padding", minimum=0)
    output = _convolve(x, weight, None, stride, padding)  # (OH, OW)
    (OH, OW), padded = output.shape, _pad(x, padding)
    if OH * OW > 36:
        raise ValueError(
            f"convolution_steps draws at most 36 positions, got an output of shape {output.shape}"
        )
    columns = min(columns, OH * OW)
    across, down = (
        padded.shape[1] + GAP + OW + 1.6,
        padded.shape[0] + 0.8,
    )  # one picture and the space after it
    width = 2 * MARGIN + columns * across - 1.6
    unit = min(UNIT, WIDEST / width)
    figure, axes = canvas(width, 2 * MARGIN - 0.8 - (-OH * OW // columns) * down, unit)
    for step in range(OH * OW):
        at = divmod(step, OW)
        left, top = (MARGIN + (step % columns) * across, MARGIN + (step // columns) * down)
        _draw(axes, left, top, Grid("input", padded, _window(at, weight, stride), padding), unit)
        middle = top + padded.shape[0] / 2
        write(axes, left + padded.shape[1] + GAP / 2, middle, "→", "ink", FONT_SIZE + 5)
        shown = Grid("output", _written(output, at, "until"), (*at, 1, 1))
        _draw(axes, left + padded.shape[1] + GAP, middle - OH / 2, shown, unit)
    return figure


def padding(x, padding) -> Figure:
    """The input with zeros around it; the zeros are outside the blue area.

    Parameters
    ----------
    x : array_like, (H, W)
    padding : int or (int, int)
        Rows above and below, columns left and right.
    """
    around = pair(padding, "padding", minimum=0)
    return _row([Grid("input", _pad(as_array(x, "x", 2), around), None, around)])


def stride(size, kernel_size, stride, *, padding=0) -> Figure:
    """Where the filter stands: its first position, the next one to the right and the next one below.

    Each window is outlined with its own colour and dashes, and so is the output cell that it gives. Rows and
    columns that no window reaches are struck out: they are what the floor in the formula of the output size
    drops.

    Parameters
    ----------
    size, kernel_size, stride, padding : int or (int, int)
    """
    (KH, KW), (SH, SW) = pair(kernel_size, "kernel_size"), pair(stride, "stride")
    (H, W), (PH, PW) = pair(size, "size"), pair(padding, "padding", minimum=0)
    OH, OW = conv_output_size(H, KH, SH, PH), conv_output_size(W, KW, SW, PW)
    H, W = H + 2 * PH, W + 2 * PW
    x, y = (2.2 * MARGIN, 2.2 * MARGIN)  # upper left corner of the input: room for the arrows
    width, height = x + W + 1.6 * GAP + OW + MARGIN, y + H + MARGIN
    left, top = x + W + 1.6 * GAP, y + (H - OH) / 2
    unit = min(UNIT, WIDEST / width)
    figure, axes = canvas(width, height, unit)
    _draw(axes, x, y, Grid("input", np.full((H, W), np.nan), None, (PH, PW)), unit)
    write(axes, x + W + 0.8 * GAP, y + H / 2, "→", "ink", FONT_SIZE + 5)
    _draw(axes, left, top, Grid("output", np.full((OH, OW), np.nan)), unit)
    for row in range((OH - 1) * SH + KH, H):
        _strike(axes, x, y + row + 0.5, x + W, y + row + 0.5)
    for column in range((OW - 1) * SW + KW, W):
        _strike(axes, x + column + 0.5, y, x + column + 0.5, y + H)
    for row, column, role, dashes, inset in _STRIDE_POSITIONS:
        if row < OH and column < OW:
            look: dict[str, Any] = {
                "line": role,
                "linewidth": 2.6,
                "linestyle": dashes,
                "inset": inset,
                "zorder": 4.0,
            }
            fill: dict[str, Any] = {"fill": f"{role}_fill"} if (row, column) == (0, 0) else {}
            box(axes, x + column * SW, y + row * SH, KW, KH, label="window", **look)
            box(axes, left + column, top + row, 1, 1, label="window", **look, **fill)
    if OW > 1:
        arrow(axes, (x, y - 0.25), (x + SW, y - 0.25), "gradient")
        write(axes, x + SW + 0.3, y - 0.28, str(SW), "gradient")
    if OH > 1:
        arrow(axes, (x - 0.25, y), (x - 0.25, y + SH), "accent")
        write(axes, x - 0.33, y + SH + 0.4, str(SH), "accent")
    return figure


_STRIDE_POSITIONS = (
    (0, 0, "filter", "-", 0.05),
    (0, 1, "gradient", (0, (4, 1.5)), 0.12),
    (1, 0, "accent", (0, (1.2, 1)), 0.19),
)


def pooling(x, kernel_size, *, stride=None, kind: str = "max") -> Figure:
    """Pooling windows on the input, and the output; with `kind` "max" the chosen numbers are highlighted.

    Parameters
    ----------
    x : array_like, (H, W)
    kernel_size, stride : int or (int, int)
        `stride` is `kernel_size` unless given. Windows are outlined where they do not overlap.
    kind : {"max", "avg"}
    """
    x, (KH, KW) = as_array(x, "x", 2).astype(float), pair(kernel_size, "kernel_size")
    SH, SW = (KH, KW) if stride is None else pair(stride, "stride")
    if kind not in ("max", "avg"):
        raise ValueError(f'kind must be "max" or "avg", got {kind!r}')
    pool = ops.max_pool2d if kind == "max" else ops.avg_pool2d
    output = pool(x[None, None], (KH, KW), stride=(SH, SW))[0, 0]  # (OH, OW)
    chosen = _winners(x, (KH, KW), (SH, SW), output.shape) if kind == "max" else np.zeros(x.shape, dtype=bool)
    figure = _row([Grid("input", x, chosen), "→", Grid("output", output)])
    if (SH, SW) >= (KH, KW):
        axes = figure.axes[0]
        _outline(axes, MARGIN, (axes.get_ylim()[0] - x.shape[0]) / 2, (KH, KW), (SH, SW), output.shape)
    return figure


def _winners(image: np.ndarray, kernel_size, stride, windows) -> np.ndarray:
    """Where the largest number of each window is, of equal ones the first: a mask (H, W)."""
    (KH, KW), (SH, SW) = kernel_size, stride
    mask = np.zeros(image.shape, dtype=bool)
    for row, column in np.ndindex(*windows):
        window = image[row * SH : row * SH + KH, column * SW : column * SW + KW]
        down, across = divmod(int(np.argmax(window)), KW)
        mask[row * SH + down, column * SW + across] = True
    return mask


def _outline(axes: Axes, left: float, top: float, kernel_size, stride, windows, role: str = "input") -> None:
    """The windows on a grid whose upper left corner is at (left, top)."""
    (KH, KW), (SH, SW) = kernel_size, stride
    for row, column in np.ndindex(*windows):
        look: dict[str, Any] = {"line": role, "linewidth": 2.4, "zorder": 5, "label": "window"}
        box(axes, left + column * SW, top + row * SH, KW, KH, **look)


def _row(parts: list[Grid | str], unit: float = UNIT) -> Figure:
    """Grids and symbols side by side; the last two go to a second line where numbers would get small."""
    lines = [parts]
    on_one_line = _number_size(parts, min(unit, WIDEST / _size(parts)[0]))
    if len(parts) > 3 and on_one_line < min(SMALLEST, _number_size(parts, unit)):
        lines = [parts[:-2], parts[-2:]]
    return _stack(lines, unit, _draw)


def _stack(lines: list[list[Grid | str]], unit: float, draw: Callable[..., None]) -> Figure:
    """Lines of grids and symbols below each other, each in the middle; `draw` draws a grid, as `_draw`."""
    width = max(_size(line)[0] for line in lines)
    unit = min(unit, WIDEST / width)
    figure, axes = canvas(width, sum(_size(line)[1] for line in lines), unit)
    top = 0.0
    for line in lines:
        own_width, height = _size(line)
        x = (width - own_width) / 2 + MARGIN
        for part in line:
            if isinstance(part, Grid):
                draw(axes, x, top + (height - part.array.shape[0]) / 2, part, unit)
                x += part.array.shape[1]
            else:
                write(axes, x + GAP / 2, top + height / 2, part, "ink", FONT_SIZE + 5)
                x += GAP
        top += height
    return figure


def _size(parts: list[Grid | str]) -> tuple[float, float]:
    """Width and height of one line, margins included."""
    shapes = [part.array.shape if isinstance(part, Grid) else (1, GAP) for part in parts]
    return 2 * MARGIN + sum(width for _, width in shapes), 2 * MARGIN + max(height for height, _ in shapes)


def _draw(axes: Axes, x: float, y: float, grid: Grid, unit: float) -> None:
    """A grid with its upper left corner at (x, y), one unit of `unit` inches per cell."""
    (rows, columns), (PH, PW) = grid.array.shape, grid.padding
    marked, windows = _as_highlight(grid.highlight, grid.array.shape)
    line = grid.role if grid.role in ROLES else "muted"
    mark = "filter" if grid.role == "input" and windows else "highlight"  # in an input: the filter lies on it
    size = _number_size([grid], unit)
    for (row, column), value in np.ndenumerate(grid.array):
        inside = PH <= row < rows - PH and PW <= column < columns - PW
        fill = f"{line}_fill" if line in ROLES else "blank"
        if not inside or (np.isnan(value) and grid.role == "output"):
            fill = "blank"
        if marked[row, column]:
            fill = f"{mark}_fill"
        label = f"{grid.role}[{row},{column}]" + ("*" if marked[row, column] else "")
        box(axes, x + column, y + row, 1, 1, fill=fill, line="grid", linewidth=0.8, label=label)
        if not np.isnan(value):
            ink = "ink" if inside or marked[row, column] else "muted"
            write(axes, x + column + 0.5, y + row + 0.53, numeral(value), ink, size)
    dashes: Any = (0, (3, 2)) if PH or PW else "-"
    box(axes, x, y, columns, rows, line=line, linewidth=1.6, linestyle=dashes, zorder=2)
    box(axes, x + PW, y + PH, columns - 2 * PW, rows - 2 * PH, line=line, linewidth=1.8, zorder=3)
    for row, column, height, width in windows:
        box(axes, x + column, y + row, width, height, line=mark, linewidth=2.8, zorder=4, label="window")


def _number_size(parts: list[Grid | str], unit: float) -> float:
    """Points that make the longest numeral of the grids fit into cells of `unit` inches."""
    numbers = [value for part in parts if isinstance(part, Grid) for value in part.array.flat]
    longest = max((_length(value) for value in numbers if not np.isnan(value)), default=1.0)
    return min(FONT_SIZE + 1, 0.82 * 72 * unit / (0.64 * longest))


def _length(value: float) -> float:
    """Width of a numeral in digits: a minus sign is wider than a digit, a point narrower."""
    shown = numeral(value)
    return len(shown) + 0.3 * shown.count("−") - 0.5 * shown.count(".")


def _as_part(term, highlight) -> Grid | str:
    if isinstance(term, str):
        return term
    if isinstance(term, tuple) and len(term) == 2 and isinstance(term[0], str):
        if term[0] not in ROLES:
            raise ValueError(f"unknown role {term[0]!r}; known roles: {', '.join(ROLES)}")
        return Grid(term[0], as_array(term[1], "array", 2).astype(float), highlight)
    return Grid("plain", as_array(term, "term", 0).astype(float).reshape(1, 1), highlight)


def _as_highlight(highlight, shape: tuple[int, ...]) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """Marked cells (H, W) and the windows to outline."""
    marked = np.zeros(shape, dtype=bool)
    if highlight is None:
        return marked, []
    if isinstance(highlight, np.ndarray) and highlight.dtype.kind == "b":
        if highlight.shape != shape:
            raise ValueError(f"highlight has shape {highlight.shape}, the grid {shape}")
        return highlight, []
    windows = [highlight] if isinstance(highlight[0], (int, np.integer)) else list(highlight)
    for window in windows:
        if len(window) != 4:
            raise ValueError(f"highlight must be (row, column, height, width), got {window!r}")
        row, column, height, width = window
        if not (0 <= row < row + height <= shape[0] and 0 <= column < column + width <= shape[1]):
            raise ValueError(f"highlight {window!r} lies outside the grid of shape {shape}")
        marked[row : row + height, column : column + width] = True
    return marked, windows


def _convolve(x, weight, bias, stride, padding) -> np.ndarray:
    x, weight = (
        x[None, None].astype(float),
        weight[None, None].astype(float),
    )  # (1, 1, H, W), (1, 1, KH, KW)
    bias = None if bias is None else np.array([float(bias)])  # (1,)
    return ops.conv2d(x, weight, bias, stride=stride, padding=padding)[0, 0]  # (OH, OW)


def _window(at, weight: np.ndarray, stride) -> tuple[int, int, int, int] | None:
    """The window of the padded input behind the output cell `at`."""
    SH, SW = pair(stride, "stride")
    return None if at is None else (at[0] * SH, at[1] * SW, *weight.shape)


def _written(output: np.ndarray, at, fill: str) -> np.ndarray:
    """The output with NaN where nothing is written yet."""
    if fill not in ("all", "until", "only"):
        raise ValueError(f'fill must be "all", "until" or "only", got {fill!r}')
    if at is None:
        return output
    OH, OW = output.shape
    if not (0 <= at[0] < OH and 0 <= at[1] < OW):
        raise ValueError(f"at {at!r} lies outside the output of shape {output.shape}")
    order, here = np.arange(OH * OW).reshape(OH, OW), at[0] * OW + at[1]  # (OH, OW)
    return np.where({"all": order >= 0, "until": order <= here, "only": order == here}[fill], output, np.nan)


def _pad(x: np.ndarray, padding: tuple[int, int]) -> np.ndarray:
    return np.pad(x.astype(float), [(n, n) for n in padding])


def _strike(axes: Axes, x0: float, y0: float, x1: float, y1: float) -> None:
    axes.plot([x0, x1], [y0, y1], color=colour("highlight"), linewidth=1.6, zorder=3)
