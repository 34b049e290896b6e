"""im2col as pictures: the matrix filled window by window, the blocks behind it, the axes that are summed."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from cnnlab import ops
from cnnlab.figures.arguments import as_array, as_shape
from cnnlab.figures.grids import GAP, MARGIN, UNIT, WIDEST, Grid, _draw, _pad
from cnnlab.figures.style import FONT_SIZE, Figure, arrow, box, canvas, colour, shape_text, write
from cnnlab.figures.volumes import SLANT, block
from cnnlab.shapes import conv_output_size, pair

BETWEEN = 1.3  # cells between two pictures of a row


def unfold_steps(
    x, kernel_size, *, stride=1, padding=0, mark=None, by: str = "window", columns: int = 2
) -> Figure:
    """The matrix of im2col growing: row by row, or column by column.

    Parameters
    ----------
    x : array_like, (H, W)
    kernel_size, stride, padding : int or (int, int)
    mark : (int, int), optional
        Row and column of a pixel of the padded input; it is highlighted wherever it goes.
    by : {"window", "pixel"}
        What one picture adds: a window, which is a row of the matrix, or one pixel of all windows, which is a
        slice of the input and a column of the matrix.
    columns : int
        Pictures side by side. At most 12 pictures are drawn.

    Source: the operation is `cnnlab.ops.im2col_matrix`.
    """
    if by not in ("window", "pixel"):
        raise ValueError(f'by must be "window" or "pixel", got {by!r}')
    around = pair(padding, "padding", minimum=0)
    padded = _pad(as_array(x, "x", 2), around)  # (H+2*PH, W+2*PW)
    if mark is not None and not (0 <= mark[0] < padded.shape[0] and 0 <= mark[1] < padded.shape[1]):
        raise ValueError(f"mark {mark!r} lies outside the padded input of shape {padded.shape}")
    matrix, places = (_matrix(array, kernel_size, stride) for array in (padded, _places(padded)))
    rows, taps = matrix.shape
    steps = rows if by == "window" else taps
    if steps > 12:
        raise ValueError(f"unfold_steps draws at most 12 pictures, got a matrix of shape {matrix.shape}")
    columns = min(columns, steps)
    across = padded.shape[1] + GAP + taps + BETWEEN
    tall = max(padded.shape[0], rows)
    width = 2 * MARGIN + columns * across - BETWEEN
    unit = min(UNIT, WIDEST / width)
    figure, axes = canvas(width, 2 * MARGIN + -(-steps // columns) * (tall + 0.8) - 0.8, unit)
    for step in range(steps):
        left, top = MARGIN + step % columns * across, MARGIN + step // columns * (tall + 0.8)
        line = (step, 0, 1, taps) if by == "window" else (0, step, rows, 1)
        here = (
            (slice(step, step + 1), slice(None)) if by == "window" else (slice(None), slice(step, step + 1))
        )
        seen = np.isin(_places(padded), places[here])  # (H+2*PH, W+2*PW)
        order = np.arange(rows)[:, None] if by == "window" else np.arange(taps)[None]
        shown = np.where(np.broadcast_to(order <= step, matrix.shape), matrix, np.nan)
        middle, right = top + tall / 2, left + padded.shape[1] + GAP
        high = middle - padded.shape[0] / 2
        _draw(axes, left, high, Grid("input", padded, _bounds(seen), around), unit)
        write(axes, left + padded.shape[1] + GAP / 2, middle, "→", "ink", FONT_SIZE + 5)
        _draw(axes, right, middle - rows / 2, Grid("input", shown, line), unit)
        for row, column in np.argwhere(np.isnan(shown)):
            box(axes, right + column, middle - rows / 2 + row, 1, 1, fill="blank", linewidth=0.8, zorder=1.5)
        if mark is not None:
            _mark(axes, left, high, _places(padded) == _index(mark, padded))
            _mark(axes, right, middle - rows / 2, (places == _index(mark, padded)) & ~np.isnan(shown))
    return figure


def unfold_blocks(x_shape, kernel_size, *, stride=1, padding=0) -> Figure:
    """The three shapes of im2col: images (N, C, H, W), windows (N, C, KH, KW, OH, OW), and the matrix.

    The windows are drawn as KH × KW blocks (C, OH, OW) per image, one for each place in the window. In the
    matrix, thick lines part the images (rows) and the channels (columns).

    Parameters
    ----------
    x_shape : (N, C, H, W)
        At most 3 images.
    kernel_size, stride, padding : int or (int, int)
        At most 9 pixels in a window.
    """
    N, C, H, W = x_shape = as_shape(x_shape, "x_shape", (4,))
    (KH, KW), (SH, SW) = pair(kernel_size, "kernel_size"), pair(stride, "stride")
    PH, PW = pair(padding, "padding", minimum=0)
    OH, OW = conv_output_size(H, KH, SH, PH), conv_output_size(W, KW, SW, PW)
    if N > 3 or KH * KW > 9:
        raise ValueError(f"unfold_blocks draws at most 3 images and 9 pixels, got {N} and {KH * KW}")
    scale = 2.0 / max(H, W)  # units per pixel
    depth = 0.3 + 0.25 * (C - 1)
    dx, dy = depth * SLANT[0], -depth * SLANT[1]
    across, down = OW * scale + dx + 0.25, OH * scale + dy + 0.3
    tall = max(H * scale + dy, KH * down - 0.3) + 0.7  # one image and the space below it
    grid_width, shapes = KW * across - 0.25, ((N, C, H, W), (N, C, KH, KW, OH, OW))
    matrix_shape = (N * OH * OW, C * KH * KW)
    matrix_width, matrix_height = 2.6, N * tall - 0.7
    lefts = [0.6, 0.6 + max(W * scale + dx, 2.9) + 0.9]
    lefts += [lefts[1] + max(grid_width, 4.2) + 0.9]
    figure, axes = canvas(lefts[2] + matrix_width + 0.5, N * tall + 0.75, min(0.5, 5.8 / 13))
    for n in range(N):
        top = 0.3 + n * tall
        centre = top + (tall - 0.7) / 2
        block(axes, lefts[0] + 0.4, centre - (H * scale - dy) / 2, "input", W * scale, H * scale, depth, C)
        write(axes, lefts[1] - 0.55, centre, "→", "ink", FONT_SIZE + 5)
        write(axes, lefts[2] - 0.55, centre, "→", "ink", FONT_SIZE + 5)
        first = lefts[1] + max(0.0, 4.2 - grid_width) / 2
        for i, j in np.ndindex(KH, KW):
            x, y = first + j * across, centre - (KH * down - 0.3) / 2 + i * down + dy
            block(axes, x, y, "input", OW * scale, OH * scale, depth, C)
    _table(axes, lefts[2], 0.3, matrix_width, matrix_height, matrix_shape, (N, C))
    names = (*map(shape_text, shapes), shape_text(matrix_shape))
    centres = (lefts[0] + 0.4 + (W * scale + dx) / 2, lefts[1] + 2.1, lefts[2] + matrix_width / 2)
    for centre, name in zip(centres, names, strict=True):
        write(axes, centre, N * tall + 0.3, name, "input")
    return figure


def tensordot_axes(left, right, axes) -> Figure:
    """Which axes `tensordot` sums over, and which stay, in which order.

    Parameters
    ----------
    left, right : sequence of str
        Names of the axes of the two arrays.
    axes : ((int, …), (int, …))
        As for `numpy.tensordot`: positions in `left` and in `right`, pair by pair; the axes of a pair stand
        for the same size.
    """
    summed = [tuple(int(n) for n in part) for part in axes]
    for name, names, part in (("left", left, summed[0]), ("right", right, summed[1])):
        if not all(0 <= n < len(names) for n in part):
            raise ValueError(f"axes {part} lie outside {name} with {len(names)} axes")
    if len(summed[0]) != len(summed[1]):
        raise ValueError(f"axes must come in pairs, got {len(summed[0])} and {len(summed[1])}")
    kept = [(name, "input") for n, name in enumerate(left) if n not in summed[0]]
    kept += [(name, "filter") for n, name in enumerate(right) if n not in summed[1]]
    count = max(len(left), len(right), len(kept))
    width, step = count * 1.6 + 0.8, 1.6
    figure, drawing = canvas(width, 6.6, min(0.5, WIDEST / width))
    for names, part, role, y in ((left, summed[0], "input", 0.95), (right, summed[1], "filter", 2.85)):
        for n, name in enumerate(names):
            x = 0.4 + n * step
            fill = "highlight" if n in part else role
            _axis(drawing, x, y, name, fill)
            write(drawing, x + 0.7, y - 0.35 if role == "input" else y + 1.25, str(n), "muted")
    for one, other in zip(*summed, strict=True):
        ends = [0.4 + n * step + 0.7 for n in (one, other)]
        for shift in (-0.08, 0.08):
            drawing.plot(
                [ends[0] + shift, ends[1] + shift], [1.85, 2.85], color=colour("highlight"), linewidth=1.4
            )
    middle = (0.4 + count * step - 0.2) / 2 + 0.2
    arrow(drawing, (middle, 4.45), (middle, 5.2))
    for n, (name, role) in enumerate(kept):
        _axis(drawing, middle - len(kept) * step / 2 + 0.1 + n * step, 5.4, name, role)
    return figure


def _axis(axes: Axes, x: float, y: float, name: str, role: str) -> None:
    """One axis as a labelled box."""
    box(axes, x, y, 1.4, 0.9, fill=f"{role}_fill", line=role, linewidth=1.5, label=f"{role}:{name}")
    write(axes, x + 0.7, y + 0.47, name)


def _table(
    axes: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    shape: tuple[int, int],
    parts: tuple[int, int],
) -> None:
    """An empty matrix whose rows and columns fall into equal parts."""
    box(axes, x, y, width, height, fill="input_fill", line=None, zorder=3, label="matrix")
    box(axes, x, y, width, height, line="input", linewidth=1.8, zorder=6)
    for n in range(1, shape[0]):
        thick = n % (shape[0] // parts[0]) == 0
        _rule(axes, [x, x + width], [y + n * height / shape[0]] * 2, thick)
    for n in range(1, shape[1]):
        thick = n % (shape[1] // parts[1]) == 0
        _rule(axes, [x + n * width / shape[1]] * 2, [y, y + height], thick)


def _rule(axes: Axes, xs: list[float], ys: list[float], thick: bool) -> None:
    look = ("input", 1.8) if thick else ("grid", 0.6)
    axes.plot(xs, ys, color=colour(look[0]), linewidth=look[1], zorder=5 if thick else 4)


def _mark(axes: Axes, x: float, y: float, cells: np.ndarray) -> None:
    """Highlight the true ones of `cells`: over their fill, under their number."""
    for row, column in np.argwhere(cells):
        look: dict[str, Any] = {"fill": "highlight_fill", "line": "highlight", "linewidth": 2.0}
        box(axes, x + column, y + row, 1, 1, inset=0.07, zorder=1.5, label="mark", **look)


def _matrix(array: np.ndarray, kernel_size, stride) -> np.ndarray:
    """One row per window: (OH*OW, KH*KW)."""
    return ops.im2col_matrix(array[None, None], kernel_size, stride=stride)


def _places(array: np.ndarray) -> np.ndarray:
    """Every cell's number in reading order."""
    return np.arange(array.size).reshape(array.shape)


def _index(mark: tuple[int, int], array: np.ndarray) -> int:
    return mark[0] * array.shape[1] + mark[1]


def _bounds(seen: np.ndarray) -> tuple[int, int, int, int] | np.ndarray:
    """The cells as one window where they lie together, else as they are."""
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    window = (int(rows[0]), int(columns[0]), int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1)
    return window if window[2] * window[3] == seen.sum() else seen
