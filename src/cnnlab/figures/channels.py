"""Arrays with several channels: what a filter makes of all of them at once, and which channel meets which."""

import numpy as np

from cnnlab import ops
from cnnlab.figures.arguments import as_array, as_shape
from cnnlab.figures.grids import GAP, MARGIN, UNIT, WIDEST, Grid, _draw
from cnnlab.figures.style import FONT_SIZE, ROLES, Figure, box, canvas, colour, shape_text, write

NAME = 1.3  # cells for a name at the left of a row


def channel_sum(x, weight, at=(0, 0), *, names=None) -> Figure:
    """One position of one filter on an input with several channels: a sum for each channel, then their sum.

    Parameters
    ----------
    x : array_like, (C, H, W)
    weight : array_like, (C, KH, KW)
    at : (int, int)
        Row and column of the output cell; the others stay empty.
    names : sequence of C str, optional
        Written at the left of the channels.

    Source: the operation is `cnnlab.ops.conv2d`.
    """
    x, weight = as_array(x, "x", 3).astype(float), as_array(weight, "weight", 3).astype(float)
    (C, H, W), (_, KH, KW) = x.shape, weight.shape
    if len(weight) != C:
        raise ValueError(f"the filter has {len(weight)} channels, the input {C}")
    if names is not None and len(names) != C:
        raise ValueError(f"names must have one entry per channel, {C}, got {len(names)}")
    output = ops.conv2d(x[None], weight[None])[0, 0]  # (OH, OW)
    (OH, OW), (row, column) = output.shape, at
    if not (0 <= row < OH and 0 <= column < OW):
        raise ValueError(f"at {at!r} lies outside the output of shape {output.shape}")
    sums = (x[:, row : row + KH, column : column + KW] * weight).sum(axis=(1, 2))  # (C,)
    left = MARGIN + (NAME if names is not None else 0.0)
    filters = left + W + GAP
    cells = filters + KW + GAP
    result = cells + 1 + GAP
    across, step = result + OW + MARGIN, max(H, KH) + 0.6
    height = max(C * step - 0.6, OH) + 2 * MARGIN
    unit = min(UNIT, WIDEST / across)
    figure, axes = canvas(across, height, unit)
    for c in range(C):
        middle = MARGIN + c * step + (step - 0.6) / 2
        if names is not None:
            write(axes, left - NAME / 2, middle, str(names[c]), "input", FONT_SIZE + 1)
        _draw(axes, left, middle - H / 2, Grid("input", x[c], (row, column, KH, KW)), unit)
        write(axes, left + W + GAP / 2, middle, "∗", "ink", FONT_SIZE + 5)
        _draw(axes, filters, middle - KH / 2, Grid("filter", weight[c]), unit)
        write(axes, filters + KW + GAP / 2, middle, "=", "ink", FONT_SIZE + 5)
        _draw(axes, cells, middle - 0.5, Grid("plain", sums[c].reshape(1, 1)), unit)
        if c:
            write(axes, cells + 0.5, middle - step / 2, "+", "ink", FONT_SIZE + 5)
    shown = np.full((OH, OW), np.nan)
    shown[row, column] = output[row, column]
    write(axes, cells + 1 + GAP / 2, height / 2, "→", "ink", FONT_SIZE + 5)
    _draw(axes, result, (height - OH) / 2, Grid("output", shown, (row, column, 1, 1)), unit)
    return figure


def channel_grids(*rows) -> Figure:
    """Arrays with several channels, the channels side by side, one array below the other.

    Parameters
    ----------
    *rows
        Triples ``(role, array, name)`` with an array (C, H, W), or (H, W) for a single grid; the name stands
        above its grids.
    """
    if not rows:
        raise ValueError("channel_grids needs at least one (role, array, name)")
    parts = []
    for row in rows:
        if not (isinstance(row, tuple) and len(row) == 3) or row[0] not in ROLES:
            raise ValueError(
                f"a row must be (role, array, name) with a role of {', '.join(ROLES)}; got {row!r}"
            )
        array = as_array(row[1], "array", (2, 3)).astype(float)
        parts.append((row[0], array if array.ndim == 3 else array[None], str(row[2])))
    across = [len(array) * (array.shape[2] + 0.7) - 0.7 for _, array, _ in parts]
    width = max(across) + 2 * MARGIN
    unit = min(UNIT, WIDEST / width)
    letter = 0.64 * FONT_SIZE / 72 / unit  # cells per letter
    width = max(width, max(letter * len(name) for *_, name in parts) + 2 * MARGIN)
    above = 0.85 if unit > 0.3 else 1.1
    figure, axes = canvas(width, sum(array.shape[1] + above + 0.35 for _, array, _ in parts) + 0.2, unit)
    top = 0.1
    for role, array, name in parts:
        write(axes, MARGIN, top + above / 2, name, role, ha="left")
        for c, grid in enumerate(array):
            _draw(axes, MARGIN + c * (array.shape[2] + 0.7), top + above, Grid(role, grid), unit)
        top += array.shape[1] + above + 0.35
    return figure


def channel_links(*layers) -> Figure:
    """Which input channel meets which output channel; the shape of the weights stands below.

    Parameters
    ----------
    *layers
        Triples ``(C, OC, groups)``: channels of the input, filters, and the argument of `cnnlab.ops.conv2d`.
    """
    if not layers:
        raise ValueError("channel_links needs at least one (C, OC, groups)")
    parts = [as_shape(layer, "a layer", (3,)) for layer in layers]
    for C, OC, groups in parts:
        if C % groups or OC % groups:
            raise ValueError(f"groups={groups} must divide both the {C} channels and the {OC} filters")
    column, unit = 5.0, min(0.38, WIDEST / (5.0 * len(parts)))
    tallest = max(max(C, OC) for C, OC, _ in parts)
    figure, axes = canvas(column * len(parts), 1.25 * tallest + 2.4, unit)
    middle = 1.1 + 1.25 * tallest / 2
    for index, (C, OC, groups) in enumerate(parts):
        centre = column * (index + 0.5)
        write(axes, centre, 0.6, f"groups={groups}", "ink")
        starts, ends = ([middle + 1.25 * (k - (count - 1) / 2) for k in range(count)] for count in (C, OC))
        for d, end in enumerate(ends):
            for c in range(C // groups):
                c += d // (OC // groups) * (C // groups)
                line = axes.plot([centre - 1.0, centre + 1.0], [starts[c], end], zorder=2)[0]
                line.set(color=colour("filter"), linewidth=1.5, label=f"channel {c} to {d}")
        for k, y in enumerate(starts):
            box(axes, centre - 1.85, y - 0.42, 0.85, 0.84, fill="input_fill", line="input", linewidth=1.5)
            write(axes, centre - 1.42, y + 0.03, str(k), "ink")
        for k, y in enumerate(ends):
            box(axes, centre + 1.0, y - 0.42, 0.85, 0.84, fill="output_fill", line="output", linewidth=1.5)
            write(axes, centre + 1.42, y + 0.03, str(k), "ink")
        below = middle + 1.25 * tallest / 2 + 0.5
        write(axes, centre, below, shape_text((OC, C // groups, 3, 3)), "filter")
    return figure
