"""How far a unit sees: layers above each other, down to the pixels of the input."""

from math import prod

from matplotlib.axes import Axes

from cnnlab import shapes
from cnnlab.figures.style import FONT_SIZE, Figure, box, canvas, colour, write
from cnnlab.shapes import single

UNIT, WIDEST = 0.42, 5.8  # inches per pixel; inches
HEIGHT, SPACE, NUMBERS = 0.8, 1.1, 1.7  # units: a cell, the lines between two layers, the numbers at the side


def receptive_field(layers) -> Figure:
    """One output unit and everything that it is made from, along one axis, without padding.

    The output is at the top, the input at the bottom; each unit is joined to what its window sees, and each
    line of cells ends in the number of input pixels between the first and the last that it reaches.

    Parameters
    ----------
    layers : sequence of (kernel_size, stride) or (kernel_size, stride, dilation)
        From the input to the unit, as for `cnnlab.shapes.receptive_field`; at most 31 pixels are drawn.
    """
    triples = [_as_triple(layer, index) for index, layer in enumerate(layers)]
    if not triples:
        raise ValueError("receptive_field needs at least one layer, got none")
    units = [[0]]  # from the output to the input: which units of a layer the output needs
    for kernel_size, stride, dilation in reversed(triples):
        seen = {u * stride + i * dilation for u in units[-1] for i in range(kernel_size)}
        units.append(sorted(seen))
    fields = [shapes.receptive_field(triples[:depth]) for depth in range(len(triples) + 1)]
    steps = [prod(stride for _, stride, _ in triples[:depth]) for depth in range(len(triples) + 1)]
    if (field := fields[-1]) > 31:
        raise ValueError(f"receptive_field draws at most 31 pixels, these layers see {field}")
    width = field + 0.8 + NUMBERS
    figure, axes = canvas(
        width, 0.3 + (len(triples) + 1) * (HEIGHT + SPACE) - SPACE + 0.3, min(UNIT, WIDEST / width)
    )
    places = []
    for row, needed in enumerate(units):
        level = len(triples) - row  # 0: the input
        top = 0.3 + row * (HEIGHT + SPACE)
        centres = {u: 0.4 + u * steps[level] + fields[level] / 2 for u in needed}
        places.append(centres)
        role = "input" if level == 0 else "output"
        for u, centre in centres.items():
            name = f"unit[{level},{u}]"
            box(
                axes,
                centre - 0.5,
                top,
                1,
                HEIGHT,
                fill=f"{role}_fill",
                line=role,
                inset=0.06,
                zorder=3,
                label=name,
            )
        middle = top + HEIGHT / 2
        if level:
            write(axes, width - NUMBERS / 2, middle, str(fields[level]), role, FONT_SIZE)
        if row:
            kernel_size, stride, dilation = triples[level]
            for u, above in places[row - 1].items():
                for i in range(kernel_size):
                    _line(axes, above, top - SPACE, centres[u * stride + i * dilation], top)
    return figure


def _line(axes: Axes, x0: float, y0: float, x1: float, y1: float) -> None:
    axes.plot([x0, x1], [y0, y1], color=colour("filter"), linewidth=1.1, zorder=2)


def _as_triple(layer, index: int) -> tuple[int, int, int]:
    if not isinstance(layer, (tuple, list)) or len(layer) not in (2, 3):
        raise ValueError(f"layers[{index}] must be (kernel_size, stride) or (…, dilation), got {layer!r}")
    kernel_size, stride, dilation = (*layer, 1)[:3]
    return single(kernel_size, "kernel_size"), single(stride, "stride"), single(dilation, "dilation")
