"""A network as a column: the data as blocks drawn from their real shapes, the layers between them."""

from cnnlab.figures.arguments import as_shape
from cnnlab.figures.style import FONT_SIZE, Figure, arrow, box, canvas, shape_text, write
from cnnlab.figures.volumes import SLANT, block, edges

WIDTH = 8.6  # units
UNIT = 0.5  # inches
ROW = 0.78  # units between layers without a block


def network(layers) -> Figure:
    """Input, layers and the shapes between them, from top to bottom.

    Parameters
    ----------
    layers : sequence of (name, shape) or (name, shape, parameters)
        The first entry is the input, each other one a layer with the shape of its output, without the batch
        axis: (C, H, W), or (features,). A layer that changes the shape gets a block; `parameters` is the
        number of its parameters: layers that have some are orange.
    """
    entries = [_as_layer(entry, index) for index, entry in enumerate(layers)]
    if not entries:
        raise ValueError("network needs at least the input, got no layers")
    largest = max([max(shape[-2:]) for _, shape, _ in entries if len(shape) == 3] or [1])
    changed = [i == 0 or entries[i - 1][1] != shape for i, (_, shape, _) in enumerate(entries)]
    tall = [
        _height(shape, largest) if new else 0.0 for (_, shape, _), new in zip(entries, changed, strict=True)
    ]
    total = 0.3 + sum(h + 0.42 for h in tall if h) + ROW * (len(entries) - 1) - 0.02
    figure, axes = canvas(WIDTH, total, UNIT)
    y, spine = 0.3, 1.75
    for index, ((name, shape, parameters), height) in enumerate(zip(entries, tall, strict=True)):
        if index:
            has_block = height > 0
            arrow(axes, (spine, y), (spine, y + ROW - 0.06), "muted")
            role = "filter" if parameters else "muted"
            _layer(axes, spine, y + ROW / 2, name, parameters, role)
            y += ROW
            if not has_block:
                continue
        y += 0.1
        last = index == len(entries) - 1
        role = "input" if index == 0 else "output"
        _data(axes, spine, y, shape, largest, role)
        words = shape_text(shape)
        write(
            axes, 3.75, y + height / 2, words, role, FONT_SIZE, ha="left", weight="bold" if last else "normal"
        )
        if index == 0:
            write(axes, 3.75, y + height / 2 - 0.5, name, "ink", FONT_SIZE, ha="left")
        y += height + 0.32
    return figure


def _layer(axes, spine: float, y: float, name: str, parameters: int, role: str) -> None:
    box(axes, 3.75, y - 0.31, 0.16, 0.62, fill=role, line=None, label=f"layer {name}")
    write(axes, 4.1, y, name, "ink", FONT_SIZE, ha="left")
    if parameters:
        write(axes, WIDTH - 0.25, y, f"{parameters:,}", role, FONT_SIZE, ha="right")


def _data(axes, spine: float, y: float, shape: tuple[int, ...], largest: int, role: str) -> None:
    """A block for (C, H, W), a bar for (features,), centred on the spine."""
    if len(shape) == 1:
        length = _bar(shape[0])
        box(axes, spine - length / 2, y, length, _BAR, fill=f"{role}_fill", line=role, linewidth=1.3)
        return
    width, height, depth = edges(shape, largest, _SCALE)
    block(axes, spine - (width + depth * SLANT[0]) / 2, y - depth * SLANT[1], role, width, height, depth, 1)


_SCALE, _BAR = 1.7, 0.34


def _bar(features: int) -> float:
    return min(3.0, 0.5 + 0.05 * float(features) ** 0.5)


def _height(shape: tuple[int, ...], largest: int) -> float:
    if len(shape) == 1:
        return _BAR
    _, height, depth = edges(shape, largest, _SCALE)
    return height - depth * SLANT[1]


def _as_layer(entry, index: int) -> tuple[str, tuple[int, ...], int]:
    if not isinstance(entry, (tuple, list)) or len(entry) not in (2, 3) or not isinstance(entry[0], str):
        raise ValueError(f"layers[{index}] must be (name, shape) or (name, shape, parameters), got {entry!r}")
    parameters = int(entry[2]) if len(entry) == 3 else 0
    return entry[0], as_shape(entry[1], f"shape of {entry[0]!r}", (1, 3)), parameters
