"""A network as a chain: data go down it, gradients come up."""

from typing import Any

from cnnlab.figures.arguments import as_shape
from cnnlab.figures.style import FONT_SIZE, Figure, arrow, box, canvas, shape_text, write

UNIT = 0.48  # inches
WIDTH = 9.6  # units
BOX, GAP = 0.95, 1.05  # units: height of a layer, and of the space between two
DOWN, UP = 3.5, 5.1  # where the arrows are
LEFT, RIGHT = 2.35, 6.25  # edges of the boxes


def propagation(layers) -> Figure:
    """What goes down through the layers to the loss, and the gradients that come back up, with their shapes.

    At the left the data, input blue, outputs green; at the right the gradients, purple. Beside a layer that
    learns stand its parameters and their gradients. The last layer is the loss: its output is one number, L,
    and the way back begins with 1.

    Parameters
    ----------
    layers : sequence of (name, shape) or (name, shape, parameters)
        The first entry is the input; each other one a layer with the shape of its output, 1 to 4 sizes. The
        last one, the loss, is a name alone: ``(name,)``. `parameters` is a sequence of symbols, such as
        ``("W", "b")``.
    """
    entries = list(layers)
    if len(entries) < 2:
        raise ValueError(f"propagation needs the input and the loss at least, got {len(entries)} entries")
    *given, last = [_as_entry(entry, index, len(entries)) for index, entry in enumerate(entries)]
    figure, axes = canvas(WIDTH, 0.75 + len(given) * (GAP + BOX) + GAP + 0.6, UNIT)
    write(axes, DOWN, 0.4, given[0][0], "input", FONT_SIZE + 1)
    write(axes, UP, 0.4, f"∂L/∂{given[0][0]}", "gradient", FONT_SIZE + 1)
    top = 0.75
    for index, (name, _, parameters) in enumerate([*given[1:], last]):
        role = "input" if index == 0 else "output"
        _arrows(axes, top, shape_text(given[index][1]), role)
        top += GAP
        learns = bool(parameters)
        fill, line = ("filter_fill", "filter") if learns else ("blank", "muted")
        look: dict[str, Any] = {"fill": fill, "line": line, "linewidth": 1.4, "label": f"layer {name}"}
        box(axes, LEFT, top, RIGHT - LEFT, BOX, **look)
        write(axes, (LEFT + RIGHT) / 2, top + BOX / 2, name, "ink")
        if learns:
            write(axes, RIGHT + 0.2, top + 0.23, ", ".join(parameters), "filter", FONT_SIZE, ha="left")
            grads = ", ".join(f"∂L/∂{symbol}" for symbol in parameters)
            write(axes, RIGHT + 0.2, top + 0.75, grads, "gradient", FONT_SIZE, ha="left")
        top += BOX
    _arrows(axes, top, "", "output")
    write(axes, DOWN, top + GAP + 0.25, "L", "output", FONT_SIZE + 1)
    write(axes, UP, top + GAP + 0.25, "1", "gradient", FONT_SIZE + 1)
    return figure


def _arrows(axes, top: float, words: str, role: str) -> None:
    """One arrow down and one up, each with the shape of what it carries."""
    arrow(axes, (DOWN, top + 0.04), (DOWN, top + GAP - 0.04), role, 2.0)
    arrow(axes, (UP, top + GAP - 0.04), (UP, top + 0.04), "gradient", 2.0)
    write(axes, DOWN - 0.25, top + GAP / 2, words, role, FONT_SIZE, ha="right")
    write(axes, UP + 0.25, top + GAP / 2, words, "gradient", FONT_SIZE, ha="left")


def _as_entry(entry, index: int, count: int) -> tuple[str, tuple[int, ...], tuple[str, ...]]:
    lengths = (1,) if index == count - 1 else (2, 3)
    if not isinstance(entry, (tuple, list)) or len(entry) not in lengths or not isinstance(entry[0], str):
        wanted = "(name,)" if lengths == (1,) else "(name, shape) or (name, shape, parameters)"
        raise ValueError(f"layers[{index}] must be {wanted}, got {entry!r}")
    if lengths == (1,):
        return entry[0], (), ()
    shape = as_shape(entry[1], f"shape of {entry[0]!r}", (1, 2, 3, 4))
    return entry[0], shape, tuple(entry[2]) if len(entry) == 3 else ()
