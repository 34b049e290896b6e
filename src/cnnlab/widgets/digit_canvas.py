"""Draw a digit and look into the network that reads it (chapter 12)."""

import re
from typing import Any

import numpy as np
import traitlets

from cnnlab import figures
from cnnlab.widgets.widget import Widget

PATTERN = r"^([0-9a-g]{64}|[0-9a-f]{784})?(~([0-9a-zA-Z_-]{2})+)*$"
SEVEN = "~hgmfsfyeEeJeIiGnDsAyxEvKtR"
SHAPES = [
    ("x", (1, 28, 28)),
    ("Conv2d, ReLU", (8, 28, 28), 208),
    ("MaxPool2d", (8, 14, 14)),
    ("Conv2d, ReLU", (16, 14, 14), 1168),
    ("MaxPool2d", (16, 7, 7)),
    ("Conv2d, ReLU", (24, 5, 5), 3480),
    ("Linear", (10,), 6010),
]


class DigitCanvas(Widget):
    """A trained network reads what is drawn, and shows all that it computes on the way (chapter 12).

    Attributes
    ----------
    drawing : str
        The drawing as text: 28x28 pixels as hexadecimal digits, or 8x8 with digits from 0 to g, or nothing;
        then strokes, each after a ``~``, with two characters per point. `text_of` makes it from an image.
    view : {"pixels", "occlusion", "saliency"}
        What lies over the picture that the network sees.
    cover : {"black", "gray"}
        Brightness of the square that covers a part of the picture.
    layer : {"conv1", "pool1", "conv2", "pool2", "conv3", "logits"}
    map, row, col : int
        The unit that is explained; of ``"logits"``, `map` is the digit.
    channel : int
        The map of the layer below of which pixels and weights are shown.

    Examples
    --------
    >>> image = np.zeros((28, 28))
    >>> image[5:23, 13:15] = 1
    >>> DigitCanvas(drawing=DigitCanvas.text_of(image))
    DigitCanvas()
    """

    module = "digit_canvas"

    drawing = traitlets.Unicode(SEVEN).tag(sync=True, spec={"pattern": PATTERN})
    view = traitlets.Enum(["pixels", "occlusion", "saliency"], "pixels").tag(sync=True)
    cover = traitlets.Enum(["black", "gray"], "black").tag(sync=True)
    layer = traitlets.Enum(["conv1", "pool1", "conv2", "pool2", "conv3", "logits"], "conv1").tag(sync=True)
    map = traitlets.Int(0, min=0, max=23).tag(sync=True)
    row = traitlets.Int(6, min=0, max=27).tag(sync=True)
    col = traitlets.Int(17, min=0, max=27).tag(sync=True)
    channel = traitlets.Int(0, min=0, max=23).tag(sync=True)

    @traitlets.validate("drawing")
    def _well_formed(self, proposal: Any) -> str:
        if not re.match(PATTERN, proposal["value"]):
            raise traitlets.TraitError("drawing: neither pixels nor strokes; see DigitCanvas.text_of")
        return proposal["value"]

    @staticmethod
    def text_of(image: Any) -> str:
        """An image as text for `drawing`.

        Parameters
        ----------
        image : array_like, (28, 28) or (1, 28, 28)
            Brightness from 0 to 1 or, as whole numbers, from 0 to 255; ink is bright.
        """
        array = np.asarray(image)
        if array.shape not in {(28, 28), (1, 28, 28)}:
            raise ValueError(f"wanted an image of shape (28, 28), got {array.shape}")
        levels = np.rint(array * (15 / 255 if array.dtype.kind in "iu" else 15))
        if not (levels.min() >= 0 and levels.max() <= 15):
            raise ValueError(f"wanted brightness from 0 to 1, got {array.min()} to {array.max()}")
        return "".join(f"{int(level):x}" for level in levels.ravel())

    def picture(self) -> str:
        return figures.network(SHAPES).to_svg()
