"""Numbers over time and in tables: learning curves, bars, the confusion matrix."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cnnlab.figures.arguments import as_array
from cnnlab.figures.style import FONT, FONT_SIZE, Figure, box, canvas, colour, settings, write

# Colour, dashes and marker together, so that no line is told by its colour alone.
LINES = (
    ("input", "-", "o"),
    ("filter", (0, (5, 1.6)), "s"),
    ("output", (0, (1.2, 1.2)), "^"),
    ("gradient", (0, (6, 1.5, 1.2, 1.5)), "D"),
    ("accent", (0, (3, 1.2)), "v"),
    ("ink", "-", "x"),
)


def curves(
    values: dict, x=None, *, ylabel: str = "loss", xlabel: str = "epoch", ylim=None, log: bool = False
) -> Figure:
    """Lines with their names at their ends.

    Parameters
    ----------
    values : dict of str to sequence of number
        At most six lines; NaN and infinite values leave a gap. Lines may have different lengths.
    x : sequence of number, optional
        Common to all lines; 1, 2, 3, … unless given.
    ylabel, xlabel : str
    ylim : (float, float), optional
    log : bool
        Logarithmic vertical axis.
    """
    if not 1 <= len(values) <= len(LINES):
        raise ValueError(f"curves draws 1 to {len(LINES)} lines, got {len(values)}")
    lines = {name: as_array(line, name, 1).astype(float) for name, line in values.items()}
    longest = max(map(len, lines.values()))
    x = np.arange(1, longest + 1) if x is None else as_array(x, "x", 1)
    if len(x) < longest:
        raise ValueError(f"x must have at least {longest} entries, as many as the longest line, got {len(x)}")
    margin = 0.75 + 0.115 * max(len(name) for name in lines)  # inches for the names at the right
    figure, axes = _axes(3.3 + margin, 3.1, (0.78, 0.62, margin, 0.18), ylabel, xlabel)
    if log:
        axes.set_yscale("log")
    for (name, line), look in zip(lines.items(), LINES, strict=False):
        shown = np.where(np.isfinite(line), line, np.nan)
        thick = 2.0 if len(line) <= 60 else 1.3
        axes.plot(
            x[: len(line)], shown, label=name, markevery=max(1, len(line) // 10), **_stroke(*look, thick)
        )
    axes.set_ylim(ylim)
    axes.set_xlim(*_spread(x))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=bool(np.all(x == np.round(x)))))
    _name_lines(axes, lines, x)
    return figure


def bars(values: dict, *, xlabel: str = "", role: str = "input", digits: int = 1) -> Figure:
    """Horizontal bars, each with its name above it and its number at its end.

    Parameters
    ----------
    values : dict of str to number
        Non-negative and finite.
    xlabel : str
        Unit or quantity, such as ``s``; written after every number.
    role : str
        The bars' colour: a name in `PALETTE`.
    digits : int
        Decimals of the numbers; integers have none.
    """
    if not values:
        raise ValueError("bars needs at least one value, got none")
    numbers = {name: float(value) for name, value in values.items()}
    if not all(np.isfinite(n) and n >= 0 for n in numbers.values()):
        raise ValueError(f"bars needs finite values >= 0, got {values!r}")
    largest = max(numbers.values()) or 1.0
    figure, axes = canvas(9.2, 1.35 * len(numbers) + 0.3, 0.48)
    for row, (name, number) in enumerate(numbers.items()):
        top = 0.2 + 1.35 * row
        write(axes, 0.3, top + 0.3, name, "ink", ha="left")
        whole = isinstance(list(values.values())[row], (int, np.integer))
        box(axes, 0.3, top + 0.62, 6.2 * number / largest, 0.5, fill=role, line=None, label=name)
        shown = f"{number:,.0f}" if whole else f"{number:,.{digits}f}"
        write(axes, 0.5 + 6.2 * number / largest, top + 0.87, f"{shown} {xlabel}".strip(), "ink", ha="left")
    return figure


def confusion_matrix(matrix, names=None) -> Figure:
    """Counts by label (rows) and prediction (columns); right ones green, wrong ones red, more ink for more of
    them.

    Parameters
    ----------
    matrix : array_like of int, (K, K)
        ``matrix[i, j]`` samples of class i were taken for class j.
    names : sequence of K, optional
        0, 1, 2, … unless given.
    """
    counts = as_array(matrix, "matrix", 2)
    K = len(counts)
    if counts.shape != (K, K) or counts.dtype.kind not in "iu" or counts.min() < 0:
        raise ValueError(
            f"matrix must be square and hold counts, got shape {counts.shape}, dtype {counts.dtype}"
        )
    names = [str(k) for k in range(K)] if names is None else [str(name) for name in names]
    if len(names) != K:
        raise ValueError(f"names must have {K} entries, got {len(names)}")
    left = top = 1.75
    figure, axes = canvas(left + K + 0.25, top + K + 0.25, min(0.5, 5.6 / (K + 2)))
    wrong = counts - np.diag(np.diag(counts))
    most = {True: counts.max(), False: max(1, wrong.max())}
    for (row, column), count in np.ndenumerate(counts):
        right = row == column
        shade = 0.0 if count == 0 else 0.1 + 0.32 * float(np.sqrt(count / most[right]))
        role = "output" if right else "highlight"
        box(axes, left + column, top + row, 1, 1, fill="blank", line="grid", linewidth=0.8)
        if count:
            look: dict[str, Any] = {"line": None, "opacity": shade, "label": f"count[{row},{column}]"}
            box(axes, left + column, top + row, 1, 1, fill=role, **look)
            size = min(FONT_SIZE, 31 / (0.64 * len(str(count))))
            write(axes, left + column + 0.5, top + row + 0.52, str(count), "ink", size)
    for k, name in enumerate(names):
        write(axes, left - 0.4, top + k + 0.52, name, "muted")
        write(axes, left + k + 0.5, top - 0.4, name, "muted")
    write(axes, left + K / 2, 0.5, "prediction", "ink")
    write(axes, 0.5, top + K / 2, "label", "ink", rotation=90, va="center")
    return figure


def _axes(width: float, height: float, margins: tuple, ylabel: str, xlabel: str) -> tuple[Figure, Axes]:
    """Plain axes; `margins` in inches are left, bottom, right, top."""
    figure = Figure(width, height)
    left, bottom, right, top = margins
    place = (left / width, bottom / height, (width - left - right) / width, (height - bottom - top) / height)
    with settings():
        axes = figure.add_axes(place, facecolor="none")
    axes.grid(True, axis="y", color=colour("grid"), linewidth=0.7)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set(visible=side == "bottom", edgecolor=colour("muted"), linewidth=1)
    axes.tick_params(which="both", length=0, labelsize=12, labelcolor=colour("ink"), labelfontfamily=FONT)
    for set_label, words in ((axes.set_xlabel, xlabel), (axes.set_ylabel, ylabel)):
        set_label(words, color=colour("ink"), fontsize=FONT_SIZE, fontfamily=FONT)
    return figure, axes


def _spread(x: np.ndarray) -> tuple[float, float]:
    space = 0.04 * (float(x.max() - x.min()) or 1.0)
    return float(x.min()) - space, float(x.max()) + space


def _name_lines(axes: Axes, lines: dict, x: np.ndarray) -> None:
    """The name of each line at the height of its last value, moved apart where names would touch."""
    lowest, highest = axes.get_ylim()
    scale = axes.yaxis.get_transform()
    low, high = scale.transform(np.array([lowest, highest]))
    wanted = []
    for (name, line), look in zip(lines.items(), LINES, strict=False):
        finite = np.flatnonzero(np.isfinite(line))
        last = line[finite[-1]] if len(finite) else lowest
        wanted.append([float((scale.transform(np.array([last]))[0] - low) / (high - low)), name, look])
    wanted.sort(key=lambda entry: entry[0])
    step, floor = 0.085, 0.0
    for entry in wanted:
        entry[0] = floor = max(min(entry[0], 1.0), floor)
        floor += step
    excess = max(0.0, wanted[-1][0] - 1.0)
    for height, name, look in wanted:
        y = height - excess
        axes.plot(
            [1.04, 1.09, 1.14],
            [y, y, y],
            transform=axes.transAxes,
            clip_on=False,
            markevery=[1],
            **_stroke(*look),
        )
        write(axes, 1.17, y, name, look[0], ha="left", transform=axes.transAxes)


def _stroke(role: str, dashes, marker: str, linewidth: float = 2.0) -> dict:
    return {
        "color": colour(role),
        "linestyle": dashes,
        "marker": marker,
        "markersize": 5,
        "linewidth": linewidth,
    }
