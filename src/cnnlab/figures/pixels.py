"""Pictures as arrays: pixels and their numbers, colours as planes, the axes of a mini-batch, flattening."""

import numpy as np

from cnnlab.figures.arguments import as_array, as_shape
from cnnlab.figures.grids import MARGIN, UNIT, WIDEST, Grid, _draw
from cnnlab.figures.pictures import _show
from cnnlab.figures.style import FONT_SIZE, Figure, arrow, box, canvas, write
from cnnlab.figures.volumes import SLANT, block

APART = 0.8  # cells between a picture and its numbers
ABOVE = 0.9  # cells for a name above a grid


def pixel_values(array, *, highlight=None) -> Figure:
    """The numbers of a gray picture, with row and column numbers, and the picture itself at the right.

    Parameters
    ----------
    array : array_like, (H, W)
        Drawn black at the smallest value, white at the largest.
    highlight : (int, int), optional
        Row and column of a pixel to mark in both.
    """
    values = as_array(array, "array", 2).astype(float)
    H, W = values.shape
    windows = None
    if highlight is not None:
        _check_place(highlight, (H, W))
        windows = [(*highlight, 1, 1)]
    left, top = MARGIN + 0.6, MARGIN + 0.6
    right = left + W + APART
    unit = min(UNIT, WIDEST / (right + W + MARGIN))
    figure, axes = canvas(right + W + MARGIN, top + H + MARGIN, unit)
    _draw(axes, left, top, Grid("input", values, windows), unit)
    for row in range(H):
        write(axes, left - 0.45, top + row + 0.52, str(row), "muted", 12)
    for column in range(W):
        write(axes, left + column + 0.5, top - 0.4, str(column), "muted", 12)
    _picture(figure, unit, right, top, values)
    if highlight is not None:
        _mark(figure, unit, right + highlight[1], top + highlight[0])
    return figure


def color_planes(image) -> Figure:
    """A small colour picture, and the three arrays of numbers that it is made of.

    Parameters
    ----------
    image : array_like of uint8, (H, W, 3)
        Red, green and blue, 0 to 255.
    """
    values = as_array(image, "image", 3)
    H, W, C = values.shape
    if C != 3 or values.dtype != np.uint8:
        raise ValueError(f"image must be uint8 (H, W, 3), got {values.dtype} {values.shape}")
    across = 4 * W + 3 * APART + 2 * MARGIN
    unit = min(0.6, WIDEST / across)
    figure, axes = canvas(across, MARGIN + ABOVE + H + MARGIN, unit)
    top = MARGIN + ABOVE
    for place, name in enumerate(("RGB", "R", "G", "B")):
        x = MARGIN + place * (W + APART)
        write(axes, x + W / 2, top - 0.5, name, "ink", FONT_SIZE + 1)
        if place:
            _draw(axes, x, top, Grid("input", values[:, :, place - 1].astype(float)), unit)
    write(axes, MARGIN + W + APART / 2, top + H / 2, "=", "ink", FONT_SIZE + 5)
    _picture(figure, unit, MARGIN, top, values)
    return figure


def tensor_axes(shape) -> Figure:
    """A mini-batch as a row of blocks, with the length of every axis where it runs.

    Parameters
    ----------
    shape : (N, C, H, W)
        At most three images are drawn; dots stand for the others.
    """
    N, C, H, W = as_shape(shape, "shape", (4,))
    shown, slices = min(N, 3), C if C <= 8 else 1
    width, height = 2.6 * W / max(H, W), 2.6 * H / max(H, W)
    depth = min(3.0, 0.9 + 0.35 * C)
    dx, dy = depth * SLANT[0], -depth * SLANT[1]
    step = width + dx + 0.55
    left, top = 2.9, 0.95 + dy
    dots = 0.9 if shown < N else 0.0
    across = left + shown * step + dots + 0.3
    unit = min(0.5, WIDEST / across)
    figure, axes = canvas(across, top + height + 2.35, unit)
    for index in range(shown):
        x = left + index * step
        block(axes, x, top, "input", width, height, depth, slices)
        write(axes, x + width / 2, top + height / 2, str(index), "input", FONT_SIZE + 3)
    if dots:
        write(axes, left + shown * step + 0.25, top + (height - dy) / 2, "…", "input", FONT_SIZE + 5)
    bottom = top + height
    arrow(axes, (left - 0.3, top), (left - 0.3, bottom), "ink")
    write(axes, left - 0.5, top + height / 2, f"H = {H}", "ink", ha="right")
    arrow(axes, (left, bottom + 0.3), (left + width, bottom + 0.3), "ink")
    write(axes, left + width / 2, bottom + 0.75, f"W = {W}", "ink")
    arrow(axes, (left - 0.2, top - 0.2), (left - 0.2 + dx, top - 0.2 - dy), "ink")
    write(axes, left + dx / 2 - 0.75, top - dy / 2 - 0.35, f"C = {C}", "ink", ha="right")
    end = left + shown * step - 0.55 + dots
    arrow(axes, (left, bottom + 1.3), (end, bottom + 1.3), "accent", 2.0)
    write(axes, (left + end) / 2, bottom + 1.8, f"N = {N}", "accent")
    return figure


def flattening(array, at=None) -> Figure:
    """A grid of numbers, and below it the same numbers in one row, in reading order, with their indices.

    Parameters
    ----------
    array : array_like, (H, W)
        At most 16 numbers.
    at : (int, int), optional
        Row and column of a pixel; it is framed and its four neighbours are marked, in both places.
    """
    values = as_array(array, "array", 2).astype(float)
    H, W = values.shape
    if H * W > 16:
        raise ValueError(f"flattening draws at most 16 numbers, got shape {values.shape}")
    near = np.zeros((H, W), dtype=bool)
    if at is not None:
        _check_place(at, (H, W))
        rows, columns = np.indices((H, W))  # (H, W) each
        near = np.abs(rows - at[0]) + np.abs(columns - at[1]) <= 1
    across = H * W + 2 * MARGIN
    unit = min(UNIT, WIDEST / across)
    figure, axes = canvas(across, MARGIN + H + 2.4 + 1.6, unit)
    x, below = (across - W) / 2, MARGIN + H + 2.0
    _draw(axes, x, MARGIN, Grid("input", values, near), unit)
    arrow(axes, (across / 2, MARGIN + H + 0.35), (across / 2, below - 0.35))
    _draw(axes, MARGIN, below, Grid("input", values.reshape(1, -1), near.reshape(1, -1)), unit)
    for index in range(H * W):
        write(axes, MARGIN + index + 0.5, below + 1.45, str(index), "muted", 12)
    if at is not None:
        index = at[0] * W + at[1]
        for column, row in ((x + at[1], MARGIN + at[0]), (MARGIN + index, below)):
            box(axes, column, row, 1, 1, line="highlight", linewidth=2.8, zorder=4, label="window")
    return figure


def _picture(figure: Figure, unit: float, x: float, y: float, values: np.ndarray) -> None:
    """A bitmap with its upper left corner at (x, y), one cell for each pixel."""
    H, W = values.shape[:2]
    bottom = figure.get_size_inches()[1] - (y + H) * unit
    _show(figure, (x * unit, bottom, W * unit, H * unit), values, False)


def _mark(figure: Figure, unit: float, x: float, y: float) -> None:
    """A frame around the pixel whose upper left corner is (x, y), above the bitmap."""
    axes = figure.axes[-1]
    left, top = axes.get_position().x0, axes.get_position().y1
    width, height = figure.get_size_inches()
    column, row = x - left * width / unit, y - (height - top * height) / unit
    box(axes, column - 0.5, row - 0.5, 1, 1, line="filter", linewidth=2.8, zorder=4, label="window")


def _check_place(place, shape: tuple[int, int]) -> None:
    row, column = place
    if not (0 <= row < shape[0] and 0 <= column < shape[1]):
        raise ValueError(f"the pixel {place!r} lies outside the picture of shape {shape}")
