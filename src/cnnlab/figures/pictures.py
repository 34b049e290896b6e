"""Pictures as pixels: photographs, feature maps, filters, contact sheets of a data set."""

import numpy as np
from matplotlib.axes import Axes

from cnnlab.figures.arguments import as_array, as_images
from cnnlab.figures.style import FONT, FONT_SIZE, GRAY, SIGNED, Figure, colour, settings

WIDTH = 4.6  # inches
CAPTION = 0.32  # inches for the text above a picture
GAP = 0.1  # inches


def photo(size: int = 192) -> np.ndarray:
    """A photograph to try filters on: a tower by a lake, with walls, roofs, branches and sky.

    Parameters
    ----------
    size : int
        Rows and columns, one of 384, 192, 128, 96, 64, 48.

    Returns
    -------
    ndarray, (size, size), float64
        Brightness, 0 (black) to 1 (white), reduced by averaging square blocks of pixels.

    Source: part of ``china.jpg`` by danielbuechele (Flickr photo 6061409035), CC BY 2.0, which comes with
    scikit-learn; gray = 0.299 R + 0.587 G + 0.114 B. A page that shows it names the author and the licence.
    """
    if size not in (384, 192, 128, 96, 64, 48):
        raise ValueError(f"size must be one of 384, 192, 128, 96, 64, 48, got {size!r}")
    gray = _photo() @ np.array([0.299, 0.587, 0.114])  # (384, 384)
    block = 384 // size
    return gray.reshape(size, block, size, block).mean(axis=(1, 3))  # (size, size)


def photo_rgb() -> np.ndarray:
    """The photograph of `photo` in colour.

    Returns
    -------
    ndarray, (192, 192, 3), float64
        Red, green and blue, 0 to 1; channels last, as picture files hold them.

    Source and licence: see `photo`.
    """
    return _photo().reshape(192, 2, 192, 2, 3).mean(axis=(1, 3))  # (192, 192, 3)


def _photo() -> np.ndarray:
    from sklearn.datasets import load_sample_image

    return load_sample_image("china.jpg")[16:400, 14:398] / 255.0  # (384, 384, 3)


def pictures(images, titles=None, *, columns: int = 2, signed: bool | None = None) -> Figure:
    """Pictures beside each other, such as a photograph and what filters make of it.

    Parameters
    ----------
    images : sequence of array_like, each (H, W) or (H, W, 3)
        Brightness, or RGB in 0–1 or 0–255 (uint8).
    titles : sequence of str, optional
        Symbols or names of the code, written above the pictures.
    columns : int
        Pictures side by side.
    signed : bool, optional
        Draw values below zero in blue, above zero in orange, zero in white. Unless given, pictures with
        negative values are signed. Each picture has its own scale.
    """
    arrays = [as_array(image, f"images[{i}]", (2, 3)) for i, image in enumerate(images)]
    if not arrays:
        raise ValueError("images must hold at least one picture, got none")
    _check_count(titles, len(arrays), "titles")
    columns = min(columns, len(arrays))
    tallest = max(array.shape[0] / array.shape[1] for array in arrays)
    figure, places = _sheet(len(arrays), columns, tallest, bool(titles))
    for index, (array, place) in enumerate(zip(arrays, places, strict=True)):
        is_signed = bool((array < 0).any()) if signed is None else signed
        _show(figure, place, array, is_signed)
        if titles:
            _caption(figure, place, str(titles[index]))
    return figure


def images(images, labels=None, predictions=None, *, columns: int | None = None) -> Figure:
    """A contact sheet of small gray pictures; with `predictions`, wrong ones are framed and show "label →
    prediction".

    Parameters
    ----------
    images : array_like, (N, H, W) or (N, 1, H, W)
        One common scale from the smallest to the largest value.
    labels, predictions : sequence of N, optional
    columns : int, optional
        At most 5 by default, so that digits stay large on a phone.
    """
    array = as_images(images, "images")
    N = len(array)
    _check_count(labels, N, "labels")
    _check_count(predictions, N, "predictions")
    if predictions is not None and labels is None:
        raise ValueError("predictions need labels to be compared with, got labels=None")
    figure, places = _sheet(N, columns or min(N, 5), array.shape[1] / array.shape[2], labels is not None)
    limits = (float(array.min()), float(array.max()))
    for index, place in enumerate(places):
        axes = _show(figure, place, array[index], False, limits)
        if labels is None:
            continue
        wrong = predictions is not None and labels[index] != predictions[index]
        words = f"{labels[index]} → {predictions[index]}" if wrong else str(labels[index])
        _caption(figure, place, words, "highlight" if wrong else "ink", weight="bold" if wrong else "normal")
        if wrong:
            for spine in axes.spines.values():
                spine.set(edgecolor=colour("highlight"), linewidth=3)
    return figure


def filters(weight, *, signed: bool = True, columns: int | None = None) -> Figure:
    """The numbers of filters as small pictures, all on one scale.

    Parameters
    ----------
    weight : array_like, (OC, KH, KW) or (OC, C, KH, KW)
        With more than one input channel: one row per filter, one column per channel.
    signed : bool
        Blue below zero, white at zero, orange above; otherwise gray from the smallest to the largest.
    columns : int, optional
        Filters side by side when there is one input channel; 8 by default.
    """
    array = as_array(weight, "weight", (3, 4)).astype(float)
    if array.ndim == 4:
        columns = array.shape[1] if array.shape[1] > 1 else columns
        array = array.reshape(-1, *array.shape[2:])  # (OC*C, KH, KW)
    largest = float(np.abs(array).max()) or 1.0
    limits = (-largest, largest) if signed else (float(array.min()), float(array.max()))
    columns, ratio = columns or min(len(array), 8), array.shape[1] / array.shape[2]
    figure, places = _sheet(len(array), columns, ratio, False, 0.9)
    for values, place in zip(array, places, strict=True):
        _show(figure, place, values, signed, limits)
    return figure


def _sheet(
    count: int, columns: int, ratio: float, captions: bool, widest: float = 2.6
) -> tuple[Figure, list[tuple]]:
    """A figure, and the places (left, bottom, width, height) in inches of `count` pictures."""
    width = (WIDTH - (columns + 1) * GAP) / columns
    width = min(width, widest)
    height, above = width * ratio, CAPTION if captions else 0.0
    rows = -(-count // columns)
    total_width = columns * (width + GAP) + GAP
    total_height = rows * (height + above + GAP) + GAP
    places = []
    for index in range(count):
        row, column = divmod(index, columns)
        left = GAP + column * (width + GAP)
        places.append((left, total_height - (row + 1) * (height + above + GAP), width, height))
    return Figure(total_width, total_height), places


def _show(
    figure: Figure, place: tuple, values: np.ndarray, signed: bool, limits: tuple | None = None
) -> Axes:
    """One bitmap, each pixel a square with sharp edges."""
    if limits is None:
        largest = float(np.abs(values).max()) or 1.0
        limits = (-largest, largest) if signed else (float(values.min()), float(values.max()))
    if limits[0] == limits[1]:
        limits = (limits[0] - 0.5, limits[1] + 0.5)
    left, bottom, width, height = place
    whole_width, whole_height = figure.get_size_inches()
    area = (left / whole_width, bottom / whole_height, width / whole_width, height / whole_height)
    with settings():
        axes = figure.add_axes(area, facecolor="none")
        axes.imshow(
            values, cmap=SIGNED if signed else GRAY, vmin=limits[0], vmax=limits[1], interpolation="none"
        )
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(edgecolor=colour("grid"), linewidth=0.8)
    return axes


def _caption(figure: Figure, place: tuple, words: str, role: str = "ink", **options) -> None:
    left, bottom, width, height = place
    whole_width, whole_height = figure.get_size_inches()
    x, y = (left + width / 2) / whole_width, (bottom + height + 0.08) / whole_height
    look = {"ha": "center", "va": "baseline", "fontfamily": FONT, **options}
    figure.text(x, y, words, color=colour(role), fontsize=FONT_SIZE, **look)


def _check_count(values, count: int, name: str) -> None:
    if values is not None and len(values) != count:
        raise ValueError(f"{name} must have one entry per picture, {count}, got {len(values)}")
