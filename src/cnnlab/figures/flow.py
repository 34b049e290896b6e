"""How gradients flow: from an output back to the inputs and weights that made it (chapter 07)."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from cnnlab import ops
from cnnlab.figures.arguments import as_array
from cnnlab.figures.grids import MARGIN, UNIT, WIDEST, Grid, _as_highlight, _draw, _outline, _stack
from cnnlab.figures.style import FONT_SIZE, Figure, arrow, box, canvas, colour, numeral, write
from cnnlab.shapes import conv_output_size, pair

TAPS = ("-", (0, (5, 1.8)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5)))  # dashes of the first weights
STEP = 1.7  # cells from one input to the next


def connections(x, weight, grad_out=None, *, tap: int | None = None, pixel: int | None = None) -> Figure:
    """A convolution in one dimension as lines: inputs above, outputs below, one line per product.

    Lines of the same weight have the same dashes.

    Parameters
    ----------
    x : array_like, (W,)
    weight : array_like, (K,)
        At most four weights.
    grad_out : array_like, (OW,), optional
        Gradient of the outputs. It takes their place; without it the picture shows the way forward.
    tap : int, optional
        With `grad_out`: mark the lines of this weight, whose gradient multiplies what stands at both ends.
    pixel : int, optional
        With `grad_out`: mark the lines of this input; the inputs' gradients stand in place of the inputs.

    Source: forward is `cnnlab.ops.conv2d`, backward `cnnlab.ops.conv2d_backward`, in one dimension.
    """
    x, weight = as_array(x, "x", 1).astype(float), as_array(weight, "weight", 1).astype(float)
    W, K = len(x), len(weight)
    OW = conv_output_size(W, K, 1, 0)
    if len(TAPS) < K:
        raise ValueError(f"connections draws at most {len(TAPS)} weights, got {K}")
    if (tap is not None or pixel is not None) and grad_out is None:
        raise ValueError("tap and pixel need grad_out")
    if (tap is not None and not 0 <= tap < K) or (pixel is not None and not 0 <= pixel < W):
        raise ValueError(f"there are {K} weights and {W} inputs, got tap={tap!r}, pixel={pixel!r}")
    above: Grid = Grid("input", x[None])  # (1, W)
    below: Grid = Grid("output", np.correlate(x, weight)[None])  # (1, OW)
    if grad_out is not None:
        grad_out = as_array(grad_out, "grad_out", 1).astype(float)
        if grad_out.shape != (OW,):
            raise ValueError(f"grad_out must have shape {(OW,)}, got {grad_out.shape}")
        below = Grid("gradient", grad_out[None])
    if pixel is not None:
        above = Grid("gradient", np.convolve(grad_out, weight)[None])
    left, top, drop = 1.15, 0.3, 3.2
    width, height = left + STEP * (W - 1) + 1 + MARGIN, top + 2 + drop + 0.3
    unit = min(0.62, WIDEST / width)
    figure, axes = canvas(width, height, unit)
    for m, i in np.ndindex(OW, K):
        marked = i == tap or m + i == pixel
        plain = tap is None and pixel is None
        start = np.array([left + STEP * (m + i) + 0.5, top + 1])
        end = np.array([left + STEP * (m + (K - 1) / 2) + 0.5, top + 1 + drop])
        role = "gradient" if marked else ("filter" if plain else "grid")
        line = {"linestyle": TAPS[i], "linewidth": 2.4 if marked else 1.7, "zorder": 1.5 + marked}
        axes.plot(*zip(start, end, strict=True), color=colour(role), label=f"k{i}", **line)
        if marked or plain:
            where = end + 0.33 * (start - end)
            paper = {"facecolor": colour("paper"), "edgecolor": "none", "pad": 1.5}
            write(axes, where[0], where[1], numeral(weight[i]), "filter", FONT_SIZE + 1, bbox=paper, zorder=4)
    for grid, first, y in ((above, left, top), (below, left + STEP * (K - 1) / 2, top + 1 + drop)):
        for n, value in enumerate(grid.array[0]):
            at = f"{grid.role}[0,{n}]" + ("*" if grid is above and n == pixel else "")
            fill = "highlight_fill" if at.endswith("*") else f"{grid.role}_fill"
            look: dict[str, Any] = {"fill": fill, "line": grid.role, "linewidth": 1.8, "zorder": 3}
            box(axes, first + STEP * n, y, 1, 1, label=at, **look)
            write(axes, first + STEP * n + 0.5, y + 0.53, numeral(value), size=FONT_SIZE + 2, zorder=5)
    names = {"input": "I", "output": "O", "gradient": "G"}
    write(axes, 0.5, top + 0.53, "∂I" if above.role == "gradient" else "I", above.role)
    write(axes, 0.5, top + 1 + drop + 0.53, names[below.role], below.role)
    return figure


def gradient_stamp(x, weight, at, value=1) -> Figure:
    """What the gradient of a single output leaves behind: a copy of the filter, and a copy of the window.

    Above the input's gradient, below the filter's, each for the output at `at` alone.

    Parameters
    ----------
    x : array_like, (H, W)
    weight : array_like, (KH, KW)
    at : (int, int)
        Row and column of the output.
    value : number
        Its gradient.
    """
    x, weight = as_array(x, "x", 2).astype(float), as_array(weight, "weight", 2).astype(float)
    (KH, KW), (m, n) = weight.shape, at
    OH, OW = conv_output_size(x.shape[0], KH, 1, 0), conv_output_size(x.shape[1], KW, 1, 0)
    if not (0 <= m < OH and 0 <= n < OW):
        raise ValueError(f"at {at!r} lies outside the output of shape {(OH, OW)}")
    stamp = np.full(x.shape, np.nan)  # (H, W)
    stamp[m : m + KH, n : n + KW] = value * weight
    number = Grid("gradient", np.array([[float(value)]]))
    copy = Grid("gradient", value * x[m : m + KH, n : n + KW])
    return _lines(
        [number, "×", Grid("filter", weight), "→", Grid("gradient", stamp)],
        [number, "×", Grid("input", x, (m, n, KH, KW)), "→", copy],
    )


def windows_added(windows, *, stride=1, columns: int = 2) -> Figure:
    """Windows put back where they came from, one by one, and their sum: `cnnlab.ops.col2im`.

    Parameters
    ----------
    windows : array_like, (OH, OW, KH, KW)
        What is to be added at each position of the window; at most 9 positions.
    stride : int or (int, int)
    columns : int
        Pictures side by side.
    """
    windows = as_array(windows, "windows", 4).astype(float)
    (OH, OW, KH, KW), (SH, SW) = windows.shape, pair(stride, "stride")
    if OH * OW > 9:
        raise ValueError(f"windows_added draws at most 9 positions, got {OH * OW}")
    H, W = (OH - 1) * SH + KH, (OW - 1) * SW + KW
    total = np.zeros((H, W))
    parts: list[Grid | str] = []
    for m, n in np.ndindex(OH, OW):
        alone = np.full((H, W), np.nan)
        alone[m * SH : m * SH + KH, n * SW : n * SW + KW] = windows[m, n]
        total += np.nan_to_num(alone)
        parts += ["+", Grid("gradient", alone)]
    lines = [parts[place : place + 2 * columns] for place in range(0, len(parts), 2 * columns)]
    lines[0][0] = " "
    return _lines(*lines, ["=", Grid("gradient", total)])


def full_correlation(grad_out, weight, at=None, *, stride=1) -> Figure:
    """The input's gradient as a convolution: the gradient with zeros around, and the flipped filter.

    Parameters
    ----------
    grad_out : array_like, (OH, OW)
    weight : array_like, (KH, KW)
        As used forward; it is drawn flipped.
    at : (int, int), optional
        Pixel of the input whose gradient is marked, and the window that gives it.
    stride : int or (int, int)
        With a stride above 1 the gradients stand apart, with zeros between them.
    """
    grad_out = as_array(grad_out, "grad_out", 2).astype(float)
    weight = as_array(weight, "weight", 2).astype(float)
    (OH, OW), (KH, KW), (SH, SW) = grad_out.shape, weight.shape, pair(stride, "stride")
    spread = np.full(((OH - 1) * SH + 1, (OW - 1) * SW + 1), np.nan)
    spread[::SH, ::SW] = grad_out
    padded = np.pad(spread, [(KH - 1, KH - 1), (KW - 1, KW - 1)], constant_values=np.nan)
    flipped = weight[::-1, ::-1]
    grad_x = ops.conv2d(np.nan_to_num(padded)[None, None], flipped[None, None].copy())[0, 0]  # (H, W)
    if at is not None and not (0 <= at[0] < grad_x.shape[0] and 0 <= at[1] < grad_x.shape[1]):
        raise ValueError(f"at {at!r} lies outside the input of shape {grad_x.shape}")
    window = None if at is None else (*at, KH, KW)
    marked = None if at is None else (*at, 1, 1)
    left = Grid("gradient", padded, window, (KH - 1, KW - 1))
    return _lines([left, "∗", Grid("filter", flipped), "=", Grid("gradient", grad_x, marked)], zeros=True)


def pooling_backward(x, grad_out, kernel_size, *, stride=None, kind: str = "max") -> Figure:
    """The input of a pooling with its windows, and how the outputs' gradients reach it.

    Parameters
    ----------
    x : array_like, (H, W)
    grad_out : array_like, (OH, OW)
    kernel_size, stride : int or (int, int)
        `stride` is `kernel_size` unless given. Windows are outlined where they do not overlap.
    kind : {"max", "avg"}
        With "max" the winners are highlighted; each gets its window's gradient.
    """
    x, grad_out = as_array(x, "x", 2).astype(float), as_array(grad_out, "grad_out", 2).astype(float)
    KH, KW = pair(kernel_size, "kernel_size")
    SH, SW = (KH, KW) if stride is None else pair(stride, "stride")
    if kind not in ("max", "avg"):
        raise ValueError(f'kind must be "max" or "avg", got {kind!r}')
    pool = ops.max_pool2d_backward if kind == "max" else ops.avg_pool2d_backward
    grad_x = pool(grad_out[None, None], x[None, None], (KH, KW), stride=(SH, SW))[0, 0]  # (H, W)
    won = None
    if kind == "max":
        ones = np.ones_like(grad_out)[None, None]  # (1, 1, OH, OW)
        won = ops.max_pool2d_backward(ones, x[None, None], (KH, KW), stride=(SH, SW))[0, 0] > 0  # (H, W)
        grad_x = np.where(won, grad_x, np.nan)
    sides = Grid("input", x, won), Grid("gradient", grad_x, won)
    figure = _lines([sides[0], " ", sides[1], "←", Grid("gradient", grad_out)])
    if (SH, SW) >= (KH, KW):
        axes = figure.axes[0]
        cells = [patch for patch in reversed(axes.patches) if isinstance(patch, Rectangle)]
        corners = {str(cell.get_label()).rstrip("*"): cell.get_xy() for cell in cells}
        for role in ("input", "gradient"):
            left, top = corners[f"{role}[0,0]"]
            _outline(axes, left, top, (KH, KW), (SH, SW), grad_out.shape, role)
    return figure


def backward_flow(*stages, names=()) -> Figure:
    """A network's numbers on their way down, and beside each its gradient on the way back up.

    Parameters
    ----------
    *stages
        Pairs ``(values, gradient)`` of arrays (H, W) of one shape, the input first. Gradients that are 0 are
        drawn pale.
    names : sequence of str
        The operations between the stages, one less than stages.
    """
    pairs = [
        (as_array(a, "values", 2).astype(float), as_array(b, "gradient", 2).astype(float)) for a, b in stages
    ]
    if len(pairs) < 2 or len(names) != len(pairs) - 1:
        raise ValueError(f"backward_flow needs two stages or more and a name between each two, "
                         f"got {len(pairs)} and {len(names)}")  # fmt: skip
    if any(values.shape != gradient.shape for values, gradient in pairs):
        raise ValueError("values and gradient of a stage must have the same shape")
    widest = max(values.shape[1] for values, _ in pairs)
    between, drop = 3.6, 1.5
    width = 2 * MARGIN + 2 * widest + between
    height = 2 * MARGIN + sum(values.shape[0] for values, _ in pairs) + drop * len(names)
    unit = min(UNIT, WIDEST / width)
    figure, axes = canvas(width, height, unit)
    y = MARGIN
    for place, (values, gradient) in enumerate(pairs):
        H, W = values.shape
        forth, back = MARGIN + widest / 2, width - MARGIN - widest / 2  # middles of the columns
        role = "output" if place else "input"
        _draw(axes, forth - W / 2, y, Grid(role, values), unit)
        sparse = Grid("gradient", np.where(gradient == 0, np.nan, gradient))
        _draw_sparse(axes, back - W / 2, y, sparse, unit, zeros=True)
        y += H
        if place < len(names):
            arrow(axes, (forth, y + 0.2), (forth, y + drop - 0.2), role)
            arrow(axes, (back, y + drop - 0.2), (back, y + 0.2), "gradient")
            write(axes, width / 2, y + drop / 2, names[place])
            y += drop
    return figure


def _lines(*lines: list[Grid | str], zeros: bool = False) -> Figure:
    """Lines of grids and symbols; empty cells of a gradient are blank, or hold a pale zero."""

    def draw(axes: Axes, x: float, y: float, grid: Grid, unit: float) -> None:
        _draw_sparse(axes, x, y, grid, unit, zeros)

    return _stack(list(lines), UNIT, draw)


def _draw_sparse(axes: Axes, x: float, y: float, grid: Grid, unit: float, zeros: bool) -> None:
    _draw(axes, x, y, grid, unit)
    marked, _ = _as_highlight(grid.highlight, grid.array.shape)
    for row, column in np.argwhere(np.isnan(grid.array)):
        if not marked[row, column]:
            box(axes, x + column, y + row, 1, 1, fill="blank", line="grid", linewidth=0.8)
        if zeros:
            write(axes, x + column + 0.5, y + row + 0.53, "0", "muted", min(FONT_SIZE + 1, 30 * unit))
