"""A network as the papers draw it: every block of data, and on it the window that makes the next one."""

from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Polygon

from cnnlab.figures.arguments import as_shape
from cnnlab.figures.style import FONT_SIZE, Figure, arrow, box, canvas, colour, shape_text, write
from cnnlab.figures.volumes import SLANT, block
from cnnlab.shapes import single

WIDTH, UNIT = 9.2, 0.5  # units; inches per unit
SPINE, LABELS = 1.85, 3.85  # where the middle of the blocks is, and the left end of the labels
LARGEST, FLAT, GAP = 2.3, 0.34, 0.9  # sides of the largest block, height of a bar, space between two


@dataclass(frozen=True)
class Stage:
    """A layer and what it gives: (C, H, W) or (features,); a window for convolution and pooling."""

    name: str
    shape: tuple[int, ...]
    kernel_size: int = 0
    stride: int = 1

    @property
    def pools(self) -> bool:
        return "Pool" in self.name


def architecture(layers) -> Figure:
    """Input, layers and what they give, from top to bottom, with kernel sizes and strides.

    Parameters
    ----------
    layers : sequence of (name, shape), (name, shape, kernel_size) or (name, shape, kernel_size, stride)
        The first entry is the input, each other one a layer with the shape of its output, without the batch
        axis: (C, H, W), or (features,). The window of a layer with a kernel is drawn on the block before it:
        orange for a convolution, violet and with dashes for one whose name holds "Pool". A stride of 1 is
        not written.

    Notes
    -----
    Sides and depths are in proportion to the square roots of sizes and channels, so that 224 and 6 fit into
    one picture; a window is in proportion to the side of its block.
    """
    stages = [_as_stage(entry, index) for index, entry in enumerate(layers)]
    if not stages:
        raise ValueError("architecture needs at least the input, got no layers")
    largest = max([side for stage in stages if len(stage.shape) == 3 for side in stage.shape[1:]] or [1])
    sizes = [_size(stage.shape, largest) for stage in stages]
    height = sum(h - depth * SLANT[1] for _, h, depth in sizes) + GAP * (len(stages) - 1) + 0.5
    figure, axes = canvas(WIDTH, height, UNIT)
    y = 0.25
    window = None
    for index, (stage, (width, tall, depth)) in enumerate(zip(stages, sizes, strict=True)):
        if index:
            y += GAP
            _label(axes, stage, y - GAP / 2)
        role = "input" if index == 0 else "output"
        left, top = SPINE - (width + depth * SLANT[0]) / 2, y - depth * SLANT[1]
        if index:
            end = (SPINE, y - 0.06) if window is None or len(stage.shape) == 1 else (left + width / 2, top)
            _lead(axes, stage, window, end, y)
        if len(stage.shape) == 1:
            box(axes, left, y, width, FLAT, fill=f"{role}_fill", line=role, linewidth=1.3)
        else:
            block(axes, left, top, role, width, tall, depth, 1)
        following = stages[index + 1] if index + 1 < len(stages) else None
        window = _window(axes, stage, following, left, top, width, tall)
        _write_shape(axes, stage, y, tall - depth * SLANT[1], role, first=index == 0)
        y += tall - depth * SLANT[1]
    return figure


def _size(shape: tuple[int, ...], largest: int) -> tuple[float, float, float]:
    """Drawn width, height and depth."""
    if len(shape) == 1:
        return min(3.2, 0.3 + 0.042 * float(shape[0]) ** 0.5), FLAT, 0.0
    C, H, W = shape
    width, height = (max(0.3, LARGEST * float(n / largest) ** 0.5) for n in (W, H))
    return width, height, 0.12 + 0.075 * float(C) ** 0.5


def _label(axes: Axes, stage: Stage, y: float) -> None:
    """Name, kernel and stride of a layer, beside the gap that it fills."""
    role = "accent" if stage.pools else "filter"
    words = stage.name
    if stage.kernel_size:
        words += f" {stage.kernel_size}×{stage.kernel_size}"
    if stage.stride > 1:
        words += f", stride {stage.stride}"
    box(axes, LABELS, y - 0.3, 0.14, 0.6, fill=role, line=None, label=f"layer {stage.name}")
    write(axes, LABELS + 0.35, y, words, role, FONT_SIZE, ha="left")


def _write_shape(axes: Axes, stage: Stage, y: float, height: float, role: str, first: bool) -> None:
    words = f"{stage.name} {shape_text(stage.shape)}" if first else shape_text(stage.shape)
    write(axes, LABELS, y + height / 2, words, role, FONT_SIZE, ha="left", weight="bold")


def _window(
    axes: Axes, stage: Stage, following: Stage | None, left: float, top: float, width: float, tall: float
) -> tuple[float, float, float, float, str] | None:
    """The next layer's window on the front of this block: its place, to draw lines from."""
    if following is None or not following.kernel_size or len(stage.shape) == 1:
        return None
    _, H, W = stage.shape
    w, h = (max(0.09, n) for n in (width * following.kernel_size / W, tall * following.kernel_size / H))
    role = "accent" if following.pools else "filter"
    x, y = left + (width - w) / 2, top + (tall - h) / 2
    look: dict[str, Any] = {"fill": f"{role}_fill", "line": role, "linewidth": 1.5, "zorder": 3}
    box(axes, x, y, w, h, label=f"window {following.kernel_size}", **look)
    return x, y, w, h, role


def _lead(
    axes: Axes, stage: Stage, window: tuple[float, float, float, float, str] | None, end: tuple, y: float
) -> None:
    """From a window to one number of the next block; an arrow where there is no window."""
    if window is None:
        arrow(axes, (SPINE, y - GAP + 0.08), (SPINE, y - 0.06), "muted")
        return
    x, top, w, h, role = window
    corners = [(x, top + h), (x + w, top + h), end]
    beam = {"facecolor": (colour(role), 0.12), "edgecolor": "none", "zorder": 2.5}
    axes.add_patch(Polygon(corners, closed=True, **beam))
    for corner in corners[:2]:
        xs, ys = zip(corner, end, strict=True)
        dashes = (0, (3, 2)) if stage.pools else "-"
        axes.plot(xs, ys, color=colour(role), linewidth=1.1, linestyle=dashes, zorder=2.5)


def _as_stage(entry, index: int) -> Stage:
    if not isinstance(entry, (tuple, list)) or len(entry) not in (2, 3, 4) or not isinstance(entry[0], str):
        raise ValueError(
            f"layers[{index}] must be (name, shape), with kernel_size and stride where it has them; "
            f"got {entry!r}"
        )
    name, shape, *window = entry
    shape = as_shape(shape, f"shape of {name!r}", (1, 3))
    return Stage(name, shape, *(single(n, word) for n, word in zip(window, ("kernel_size", "stride"))))
