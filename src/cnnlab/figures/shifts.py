"""What pooling makes of an image, and of the image after it has moved."""

import numpy as np

from cnnlab import ops
from cnnlab.figures.arguments import as_array
from cnnlab.figures.grids import GAP, MARGIN, UNIT, WIDEST, Grid, _draw, _outline, _winners
from cnnlab.figures.style import FONT_SIZE, Figure, canvas, write
from cnnlab.shapes import pair

BETWEEN = 0.6  # cells between the two lines


def pooled_pair(before, after, kernel_size, *, stride=None, kind: str = "max") -> Figure:
    """Two images, one above the other, each with its pooled output; what differs in the second is framed.

    Parameters
    ----------
    before, after : array_like, (H, W)
    kernel_size, stride : int or (int, int)
        `stride` is `kernel_size` unless given. Windows are outlined where they do not overlap.
    kind : {"max", "avg"}
        With "max" the chosen numbers are marked; of equal ones the first.

    Source: the operations are `cnnlab.ops.max_pool2d` and `cnnlab.ops.avg_pool2d`.
    """
    images = [as_array(before, "before", 2).astype(float), as_array(after, "after", 2).astype(float)]
    if images[0].shape != images[1].shape:
        raise ValueError(f"before and after must have one shape, got {images[0].shape} and {images[1].shape}")
    if kind not in ("max", "avg"):
        raise ValueError(f'kind must be "max" or "avg", got {kind!r}')
    kernel = pair(kernel_size, "kernel_size")
    step = kernel if stride is None else pair(stride, "stride")
    pool = ops.max_pool2d if kind == "max" else ops.avg_pool2d
    outputs = [pool(image[None, None], kernel, stride=step)[0, 0] for image in images]  # (OH, OW)
    changed = [(*place, 1, 1) for place in np.argwhere(~np.isclose(*outputs)).tolist()]
    (H, W), (OH, OW) = images[0].shape, outputs[0].shape
    width, height = 2 * MARGIN + W + GAP + OW, 2 * MARGIN + 2 * H + BETWEEN
    unit = min(UNIT, WIDEST / width)
    figure, axes = canvas(width, height, unit)
    for line, (image, output) in enumerate(zip(images, outputs, strict=True)):
        top = MARGIN + line * (H + BETWEEN)
        marks = _winners(image, kernel, step, (OH, OW)) if kind == "max" else None
        _draw(axes, MARGIN, top, Grid("input", image, marks), unit)
        if step[0] >= kernel[0] and step[1] >= kernel[1]:
            _outline(axes, MARGIN, top, kernel, step, (OH, OW))
        write(axes, MARGIN + W + GAP / 2, top + H / 2, "→", "ink", FONT_SIZE + 5)
        frames = (changed or None) if line else None
        _draw(axes, MARGIN + W + GAP, top + (H - OH) / 2, Grid("output", output, frames), unit)
    return figure
