"""Numbers that differ by factors of thousands, on a scale where one step is a factor of ten."""

import numpy as np
from matplotlib.axes import Axes

from cnnlab.figures.style import Figure, box, canvas, colour, write

UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def durations(values: dict, *, role: str = "input") -> Figure:
    """Horizontal bars of times on a logarithmic scale, each with its name above it and its time at its end.

    Parameters
    ----------
    values : dict of str to number
        Seconds, more than 0. The scale begins at the power of ten below the shortest.
    role : str
        The bars' colour: a name in `PALETTE`.
    """
    if not values:
        raise ValueError("durations needs at least one value, got none")
    seconds = {name: float(value) for name, value in values.items()}
    if not all(np.isfinite(s) and s > 0 for s in seconds.values()):
        raise ValueError(f"durations needs finite values > 0, got {values!r}")
    low = int(np.ceil(np.log10(min(seconds.values())) - 1e-9)) - 1
    high = max(low + 1, int(np.ceil(np.log10(max(seconds.values())) - 1e-9)))
    figure, axes = canvas(10.6, 1.35 * len(seconds) + 1.15, 0.48)
    step, bottom = 7.4 / (high - low), 1.35 * len(seconds) + 0.3
    for n in range(high - low + 1):
        x = 0.6 + n * step
        axes.plot([x, x], [0.15, bottom], color=colour("grid"), linewidth=0.8, zorder=0)
        if (high - n - low) % (1 + (high - low) // 8) == 0:
            write(axes, x, bottom + 0.4, duration(10.0 ** (low + n)), "muted", 11.0)
    for row, (name, value) in enumerate(seconds.items()):
        top, length = 0.2 + 1.35 * row, step * (float(np.log10(value)) - low)
        _clear(axes, 0.6, top + 0.1, name)
        write(axes, 0.65, top + 0.3, name, "ink", ha="left")
        box(axes, 0.6, top + 0.62, length, 0.5, fill=role, line=None, label=name)
        _clear(axes, 0.62 + length, top + 0.62, duration(value))
        write(axes, 0.8 + length, top + 0.87, duration(value), "ink", ha="left")
    return figure


def _clear(axes: Axes, x: float, y: float, words: str) -> None:
    """Paper behind words, so that no line of the grid runs through them."""
    box(axes, x, y, 0.3 + 0.235 * len(words), 0.48, fill="paper", line=None, zorder=0.5)


def duration(seconds: float) -> str:
    """A time with two digits and its unit."""
    shown = float(f"{seconds:.1e}")
    size, unit = next((u for u in UNITS if shown >= u[0] * (1 - 1e-9)), UNITS[-1])
    number = shown / size
    return f"{number:,.0f} {unit}" if number >= 9.95 else f"{number:.1f}".removesuffix(".0") + f" {unit}"
