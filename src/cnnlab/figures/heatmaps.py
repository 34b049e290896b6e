"""Where a network looks: heat maps on the image that they belong to, and boxes around parts of it."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from cnnlab.figures.arguments import as_array
from cnnlab.figures.pictures import _caption, _check_count, _sheet, _show
from cnnlab.figures.style import Figure, box, colour

# No heat black, then red, then yellow: what matters now.
HEAT = LinearSegmentedColormap.from_list("heat", ["#000000", colour("highlight"), colour("highlight_fill")])
DIM = 0.55  # brightness that the image keeps below its heat map


def heatmaps(images, heats=None, titles=None, *, boxes=None, columns: int = 4) -> Figure:
    """Gray images side by side, each with a heat map on it or without one.

    Parameters
    ----------
    images : sequence of array_like, each (H, W)
        Brightness 0–1. Drawn darker where a heat map lies on it.
    heats : sequence of N, optional
        For each image None, or a heat map (h, w) without negative values, where h divides H and w divides W;
        each of its cells covers a block of pixels. Zero is transparent, the largest value yellow: every heat
        map has its own scale. A map of zeros leaves its image dark.
    titles : sequence of N str, optional
        Symbols, numbers or names of the code, written above the pictures.
    boxes : sequence of N, optional
        For each image None, or a part of it to outline: ``(row, column, height, width)`` in pixels.
    columns : int
        Pictures side by side.
    """
    arrays = [as_array(image, f"images[{i}]", 2).astype(float) for i, image in enumerate(images)]
    if not arrays:
        raise ValueError("images must hold at least one picture, got none")
    for values, name in ((heats, "heats"), (titles, "titles"), (boxes, "boxes")):
        _check_count(values, len(arrays), name)
    columns = min(columns, len(arrays))
    tallest = max(array.shape[0] / array.shape[1] for array in arrays)
    figure, places = _sheet(len(arrays), columns, tallest, titles is not None)
    for index, (array, place) in enumerate(zip(arrays, places, strict=True)):
        heat = None if heats is None else heats[index]
        shown = array if heat is None else _on(array, _enlarged(heat, array.shape, f"heats[{index}]"))
        axes = _show(figure, place, shown, False, (0.0, 1.0))
        if titles is not None:
            _caption(figure, place, str(titles[index]))
        if boxes is not None and boxes[index] is not None:
            row, column, height, width = boxes[index]
            place = (column - 0.5, row - 0.5, width, height)
            box(axes, *place, line="paper", linewidth=3.6, zorder=4.0)
            box(axes, *place, line="highlight", linewidth=2.0, zorder=5.0, label="box")
    return figure


def _enlarged(heat, shape: tuple[int, ...], name: str) -> np.ndarray:
    """A heat map as large as its image, 0–1."""
    values = as_array(heat, name, 2).astype(float)
    rows, columns = (size // part for size, part in zip(shape, values.shape, strict=True))
    if (values.shape[0] * rows, values.shape[1] * columns) != tuple(shape):
        raise ValueError(f"{name} has shape {values.shape}, which does not divide that of its image, {shape}")
    if values.min() < 0:
        raise ValueError(f"{name} must not have negative values, got {values.min():g}")
    values = values / (values.max() or 1.0)
    return np.kron(values, np.ones((rows, columns)))  # (H, W)


def _on(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """The darkened image (H, W) below a heat map (H, W) that is the more opaque the hotter: (H, W, 3)."""
    gray = DIM * np.clip(image, 0, 1)[..., None]  # (H, W, 1)
    return (1 - heat[..., None]) * gray + heat[..., None] * HEAT(heat)[..., :3]  # (H, W, 3)
