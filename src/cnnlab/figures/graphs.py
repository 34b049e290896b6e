"""Graphs of a computation: the values on the way forward, the gradients on the way back."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Circle

from cnnlab.figures.style import FONT_SIZE, Figure, arrow, box, canvas, colour, numeral, write

UNIT = 0.5  # inches
WIDTH, SPINE, STEP = 8.4, 4.75, 2.35  # units: the drawing's width, the column of results, one operation
VALUE, GRADIENT, HIGH = 2.3, 1.3, 0.66  # units: width of the boxes, and their height


def computation(first, steps) -> Figure:
    """A chain of operations with every value, and beside it, in purple, the loss's gradient with respect to
    it.

    Parameters
    ----------
    first : (name, value)
        Where the chain begins.
    steps : sequence of (symbol, operand, result)
        `operand`, a pair (name, value) or None, comes in from the left; `result` is a pair (name, value). A
        value is a number or a tensor of one number. The gradient is what stands in the tensor's ``grad``: a
        result in the middle has one after ``retain_grad()``.
    """
    entries = [_as_step(step, index) for index, step in enumerate(steps)]
    if not entries:
        raise ValueError("computation needs at least one step, got none")
    figure, axes = canvas(WIDTH, 0.7 + HIGH + STEP * len(entries), UNIT)
    y = 0.35 + HIGH / 2  # the middle of the box of the last result
    _value(axes, SPINE, y, *first, role="input" if _gradient(first[1]) is None else "filter")
    came_back = _gradient(first[1]) is not None
    for symbol, operand, result in entries:
        centre = y + STEP / 2
        _both(axes, (SPINE, y + HIGH / 2), (SPINE, centre - 0.36), came_back)
        if operand is not None:
            learned = _gradient(operand[1]) is not None
            _operand(axes, centre, *operand)
            _both(axes, (0.4 + VALUE, centre), (SPINE - 0.36, centre), learned)
            came_back = came_back or learned
        axes.add_patch(Circle((SPINE, centre), 0.36, facecolor=colour("blank"), edgecolor=colour("ink")))
        write(axes, SPINE, centre, symbol, "ink", FONT_SIZE + (3 if len(symbol) == 1 else 0))
        y += STEP
        _both(axes, (SPINE, centre + 0.36), (SPINE, y - HIGH / 2), came_back)
        _value(axes, SPINE, y, *result, role="output")
    return figure


def autograd_graph(loss, parameters) -> Figure:
    """What autograd has recorded: from the loss back to the first layer, with the parameters on the way.

    Parameters
    ----------
    loss : tensor
        The result of a computation that needs gradients. The longest way from its ``grad_fn`` back is drawn,
        with the names of the nodes without their ending ``Backward0``.
    parameters : dict or iterable of (name, tensor)
        As ``model.named_parameters()`` gives them.
    """
    node = getattr(loss, "grad_fn", None)
    if node is None:
        raise ValueError("loss has no grad_fn: nothing has been recorded")
    names = {id(tensor): name for name, tensor in dict(parameters).items()}
    rows = []
    while node is not None:
        children = [child for child, _ in node.next_functions if child is not None]
        leaves = [variable for variable in map(_leaf, children) if variable is not None]
        known = [name for key, name in names.items() if key in {id(variable) for variable in leaves}]
        rows.append((type(node).__name__.removesuffix("Backward0"), known))
        node = max((child for child in children if _leaf(child) is None), key=_depth, default=None)
    heights = [max(0.95, 0.35 + 0.62 * len(known)) for _, known in rows]
    figure, axes = canvas(10.2, 0.2 + sum(heights), 0.43)
    top, before = 0.1, 0.0
    for (name, known), height in zip(rows, heights, strict=True):
        y = top + height / 2
        if before:
            arrow(axes, (2.9, before + 0.29), (2.9, y - 0.31), "gradient")
        box(axes, 0.2, y - 0.29, 5.4, 0.58, fill="gradient_fill", line="gradient", label=f"node {name}")
        write(axes, 2.9, y, name, "ink")
        for place, parameter in enumerate(known):
            middle = y + 0.62 * (place - (len(known) - 1) / 2)
            arrow(axes, (5.6, y), (6.55, middle), "gradient", 1.2)
            box(axes, 6.6, middle - 0.26, 3.3, 0.52, fill="filter_fill", line="filter", label=parameter)
            write(axes, 8.25, middle, parameter, "ink")
        top, before = top + height, y
    return figure


def _value(axes: Axes, x: float, y: float, name: str, value, *, role: str) -> None:
    """A box on the spine, and to its right the gradient."""
    _boxed(axes, x - VALUE / 2, y, VALUE, f"{name} = {_number(value)}", role)
    if _gradient(value) is not None:
        _boxed(axes, x + VALUE / 2, y, GRADIENT, _number(_gradient(value)), "gradient")


def _operand(axes: Axes, y: float, name: str, value) -> None:
    """A box at the left, and below it the gradient."""
    gradient = _gradient(value)
    words = f"{name} = {_number(value)}"
    if gradient is None:
        return _boxed(axes, 0.4, y, VALUE, words, "input")
    _boxed(axes, 0.4, y - HIGH / 2, VALUE, words, "filter")
    return _boxed(axes, 0.4, y + HIGH / 2, VALUE, _number(gradient), "gradient")


def _boxed(axes: Axes, left: float, y: float, width: float, words: str, role: str) -> None:
    look: dict[str, Any] = {"fill": f"{role}_fill", "line": role, "linewidth": 1.4, "label": role}
    box(axes, left, y - HIGH / 2, width, HIGH, **look)
    write(axes, left + width / 2, y, words, "ink", FONT_SIZE + 1)


def _both(axes: Axes, start: tuple[float, float], end: tuple[float, float], back: bool) -> None:
    """An arrow forward, and beside it a purple one back where a gradient goes that way."""
    vertical = start[0] == end[0]
    aside = 0.17 if back else 0.0
    dx, dy = (aside, 0.0) if vertical else (0.0, -aside)
    arrow(axes, (start[0] - dx, start[1] + dy), (end[0] - dx, end[1] + dy), "muted")
    if back:
        arrow(axes, (end[0] + dx, end[1] - dy), (start[0] + dx, start[1] - dy), "gradient")


def _gradient(value) -> float | None:
    """What stands in ``grad``; asking a result that does not keep its gradient would be a warning."""
    kept = getattr(value, "is_leaf", False) or getattr(value, "retains_grad", False)
    return None if not kept or value.grad is None else float(value.grad)


def _number(value) -> str:
    if hasattr(value, "detach"):
        value = value.detach()
    array = np.asarray(value)
    if array.size != 1 or array.dtype.kind not in "biuf":
        raise ValueError(f"a value must be one real number, got {value!r}")
    return numeral(array.reshape(()))


def _as_step(step, index: int) -> tuple[str, tuple | None, tuple]:
    if not isinstance(step, (tuple, list)) or len(step) != 3 or not isinstance(step[0], str):
        raise ValueError(f"steps[{index}] must be (symbol, operand, result), got {step!r}")
    return step[0], step[1], step[2]


def _leaf(node):
    """The tensor whose gradient a node collects, also where it is only transposed on the way; else None."""
    if type(node).__name__ in ("TBackward0", "TransposeBackward0"):
        node = node.next_functions[0][0]
    return getattr(node, "variable", None)


def _depth(node) -> int:
    children = [child for child, _ in node.next_functions if child is not None]
    return 1 + max(map(_depth, children), default=0)
