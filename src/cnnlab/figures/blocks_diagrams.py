"""Blocks of modern networks: branches that part and meet, stacked filters, and networks as points."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from cnnlab.figures.curves import _axes
from cnnlab.figures.grids import MARGIN, Grid, _draw
from cnnlab.figures.style import FONT_SIZE, Figure, arrow, box, canvas, colour, write
from cnnlab.shapes import receptive_field, single

UNIT = 0.5  # inches
ROW, LAYER = 1.15, 0.7  # units from one layer to the next; height of a layer
WITH_WEIGHTS = ("×", "Conv", "Linear")  # what the name of a layer with weights contains


def branches(
    *paths: Sequence[str], merge: str = "+", names: tuple[str, str] = ("x", "y"), after: Sequence[str] = ()
) -> Figure:
    """Paths that start at one input, run side by side and meet again, from top to bottom.

    Parameters
    ----------
    *paths : sequence of str
        The layers of each path; an empty path is a shortcut. Layers with weights are orange: those whose name
        contains ``×``, ``Conv`` or ``Linear``.
    merge : str
        What joins the paths: ``"+"``, or a word such as ``"cat"``.
    names : (str, str)
        What is written at the input and at the output.
    after : sequence of str
        Layers behind the place where the paths meet.
    """
    if not paths:
        raise ValueError("branches needs at least one path, got none")
    letters = max([len(name) for path in [*paths, after] for name in path] or [1])
    across = 0.9 + 0.24 * letters  # units from path to path
    width = across * max(len(paths), 2) + 0.5
    join = 2.0 + ROW * max(1, *map(len, paths))
    figure, axes = canvas(width, join + 1.6 + ROW * len(after), UNIT)
    middle = width / 2
    spines = [middle + across * (i - (len(paths) - 1) / 2) for i in range(len(paths))]
    write(axes, middle, 0.4, names[0], "input", FONT_SIZE + 2)
    _line(axes, (middle, 0.75), (middle, 1.15), "input")
    _line(axes, (spines[0], 1.15), (spines[-1], 1.15), "input")
    for spine, path in zip(spines, paths, strict=True):
        y = _layers(axes, spine, 1.15, path, across - 0.4)
        role = "muted" if path else "input"
        if abs(spine - middle) < 1e-9:
            arrow(axes, (spine, y), (spine, join - 0.36), role)
            continue
        _line(axes, (spine, y), (spine, join), role)
        reach = 0.36 if merge == "+" else 0.8
        if abs(spine - middle) < 1.1 * across:
            arrow(axes, (spine, join), (middle + reach * np.sign(spine - middle), join), role)
        else:
            _line(axes, (spine, join), (middle, join), role)
    if merge == "+":
        axes.add_patch(
            Circle((middle, join), 0.36, facecolor=colour("output_fill"), edgecolor=colour("output"))
        )
    else:
        box(axes, middle - 0.8, join - 0.36, 1.6, 0.72, fill="output_fill", line="output", zorder=3)
    write(axes, middle, join + 0.02, merge, "ink", FONT_SIZE + (3 if merge == "+" else 0), zorder=5)
    y = _layers(axes, middle, join + 0.36, after, across - 0.4)
    arrow(axes, (middle, y), (middle, y + 0.5), "output")
    write(axes, middle, y + 0.82, names[1], "output", FONT_SIZE + 2)
    return figure


def stacked_filters(*kernel_sizes: int) -> Figure:
    """How far one number sees through stacked convolutions of stride 1, from the input to the output.

    The first filter stands at the corners of what it passes on, so that the edges of what is seen show.

    Parameters
    ----------
    *kernel_sizes : int
        One per layer. The sizes of the grids are those that `cnnlab.shapes.receptive_field` gives.
    """
    kernels = [single(k, "kernel_sizes") for k in kernel_sizes]
    if not kernels:
        raise ValueError("stacked_filters needs at least one layer, got none")
    sizes = [receptive_field((k, 1) for k in kernels[i:]) for i in range(len(kernels))] + [1]
    gap = 2.0
    width = 2 * MARGIN + sum(sizes) + gap * len(kernels) + 1.4
    height = sizes[0] + 2 * MARGIN + 1.1
    unit = min(0.42, 5.6 / width)
    figure, axes = canvas(width, height, unit)
    x, centre = MARGIN + 0.6, MARGIN + sizes[0] / 2
    for layer, size in enumerate(sizes):
        role = "input" if layer == 0 else "output"
        top = centre - size / 2
        _draw(axes, x, top, Grid(role, np.full((size, size), np.nan)), unit)
        box(axes, x, top, size, size, fill=f"{role}_fill", line=role, linewidth=1.6, zorder=1.5)
        for step in range(1, size):
            _line(axes, (x + step, top), (x + step, top + size), "grid", 0.8)
            _line(axes, (x, top + step), (x + size, top + step), "grid", 0.8)
        label = f"{size}×{size}"
        write(axes, x + size / 2, centre + sizes[0] / 2 + 0.75, label, role)
        if layer < len(kernels):
            k, right = kernels[layer], x + size + gap
            look: dict[str, Any] = {"line": "filter", "linewidth": 2.4, "zorder": 4, "label": "window"}
            box(axes, x, top, k, k, fill="filter_fill", opacity=0.6, **look)
            target = centre - sizes[layer + 1] / 2
            for corner, end in ((top, target), (top + k, target + 1)):
                _line(axes, (x + k, corner), (right, end), "filter", 1.2)
            box(axes, right, target, 1, 1, fill="filter_fill", opacity=0.6, **look)
            x = right
    return figure


def points(values: dict, *, xlabel: str, ylabel: str, log: str = "", xlim=None, ylim=None) -> Figure:
    """Named points in a plane, such as networks by year and by size.

    Parameters
    ----------
    values : dict of str to (number, number)
        The place of each point, right and up.
    xlabel, ylabel : str
    log : {"", "x", "y", "xy"}
        Which axes are logarithmic; on those, values have to be positive.
    xlim, ylim : (float, float), optional
    """
    if not values:
        raise ValueError("points needs at least one point, got none")
    if log not in ("", "x", "y", "xy"):
        raise ValueError(f'log must be "", "x", "y" or "xy", got {log!r}')
    places = {name: (float(x), float(y)) for name, (x, y) in values.items()}
    if not all(np.isfinite(place).all() for place in places.values()):
        raise ValueError(f"points needs finite values, got {values!r}")
    figure, axes = _axes(5.2, 3.5, (0.85, 0.65, 0.2, 0.2), ylabel, xlabel)
    for axis, set_scale in (("x", axes.set_xscale), ("y", axes.set_yscale)):
        if axis in log:
            set_scale("log")
    axes.margins(0.12)
    for x, y in places.values():
        axes.plot([x], [y], "o", color=colour("filter"), markersize=8, zorder=3)
    axes.set(**{name: limit for name, limit in (("xlim", xlim), ("ylim", ylim)) if limit is not None})
    axes.autoscale_view()
    _name_points(axes, places)
    return figure


def _name_points(axes: Axes, places: dict[str, tuple[float, float]]) -> None:
    """Each name where it covers nothing: right of its point, left, above or below."""
    box_of = axes.get_window_extent()
    pixels = {name: axes.transData.transform(place) for name, place in places.items()}
    scale = axes.figure.dpi / 72
    high = 1.25 * FONT_SIZE * scale
    taken = [(x - 7, y - 7, x + 7, y + 7) for x, y in pixels.values()]
    for name, (x, y) in pixels.items():
        wide = 0.66 * FONT_SIZE * len(name) * scale
        tries = []
        for away in (8 * scale, 20 * scale, 32 * scale):
            tries += [(x + away, y - high / 2), (x - away - wide, y - high / 2)]
            tries += [(x - wide / 2, y + away), (x - wide / 2, y - away - high)]
            tries += [(x + side * away / 2 - wide * (side < 0), y + away / 2) for side in (1, -1)]
            tries += [(x + side * away / 2 - wide * (side < 0), y - away / 2 - high) for side in (1, -1)]
        spots = [(left, low, left + wide, low + high) for left, low in tries]
        free = [spot for spot in spots if not _touches(spot, taken) and _within(spot, box_of)]
        spot = (free or [spot for spot in spots if _within(spot, box_of)] or spots)[0]
        taken.append(spot)
        centre = axes.transAxes.inverted().transform(((spot[0] + spot[2]) / 2, (spot[1] + spot[3]) / 2))
        write(axes, centre[0], centre[1], name, "ink", transform=axes.transAxes)


def _touches(spot: tuple, taken: list[tuple]) -> bool:
    left, low, right, high = spot
    return any(left < b[2] and b[0] < right and low < b[3] and b[1] < high for b in taken)


def _within(spot: tuple, frame) -> bool:
    return spot[0] >= frame.x0 and spot[2] <= frame.x1 and spot[1] >= frame.y0 and spot[3] <= frame.y1


def _layers(axes: Axes, spine: float, y: float, names: Sequence[str], width: float) -> float:
    """Layers below each other from `y` on; returns where the last one ends."""
    for name in names:
        weights = any(part in name for part in WITH_WEIGHTS)
        fill, line = ("filter_fill", "filter") if weights else ("blank", "muted")
        arrow(axes, (spine, y), (spine, y + ROW - LAYER), "muted")
        look: dict[str, Any] = {"fill": fill, "line": line, "linewidth": 1.4, "zorder": 3}
        box(axes, spine - width / 2, y + ROW - LAYER, width, LAYER, label=f"layer {name}", **look)
        write(axes, spine, y + ROW - LAYER / 2 + 0.02, name, "ink", zorder=5)
        y += ROW
    return y


def _line(axes: Axes, start: tuple, end: tuple, role: str, linewidth: float = 1.6) -> None:
    axes.plot(*zip(start, end, strict=True), color=colour(role), linewidth=linewidth, zorder=2)
