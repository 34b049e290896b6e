"""Gradients flow back through a convolution (chapter 07)."""

import numpy as np
import traitlets

from cnnlab import figures, ops
from cnnlab.shapes import conv_output_size
from cnnlab.widgets.conv_explorer import W, X
from cnnlab.widgets.widget import Grid, Widget

G = [[0, 0], [3, 0]]


class BackwardExplorer(Widget):
    """Gradients of outputs, and where they flow: into the input's gradient and the filter's (chapter 07).

    Attributes
    ----------
    x : table of numbers, (H, W)
        3 to 6 rows and columns.
    weight : table of numbers, (KH, KW)
        2 or 3 rows and columns.
    grad : table of numbers, (OH, OW)
        The outputs' gradient; outputs that it does not reach have 0.
    stride, padding : int
    view : {"scatter", "col2im"}
        Both gradients at once, or the input's gradient growing window by window.
    row, col : int
        Which output is chosen.
    explain : {"output", "pixel", "weight"}
        What the sums below tell about: the chosen output, pixel or weight.
    pixel_row, pixel_col, tap_row, tap_col : int
        Which pixel of the input and which weight are chosen.
    alone : bool
        Whether only what comes from the chosen output is shown.
    """

    module = "backward_explorer"

    x = Grid(X, rows=(3, 6), cols=(3, 6)).tag(sync=True)
    weight = Grid(W, rows=(2, 3), cols=(2, 3)).tag(sync=True)
    grad = Grid(G, rows=(1, 7), cols=(1, 7)).tag(sync=True)
    stride = traitlets.Int(1, min=1, max=2).tag(sync=True)
    padding = traitlets.Int(0, min=0, max=1).tag(sync=True)
    view = traitlets.Enum(["scatter", "col2im"], "scatter").tag(sync=True)
    row = traitlets.Int(1, min=0, max=6).tag(sync=True)
    col = traitlets.Int(0, min=0, max=6).tag(sync=True)
    explain = traitlets.Enum(["output", "pixel", "weight"], "output").tag(sync=True)
    pixel_row = traitlets.Int(1, min=0, max=5).tag(sync=True)
    pixel_col = traitlets.Int(1, min=0, max=5).tag(sync=True)
    tap_row = traitlets.Int(0, min=0, max=2).tag(sync=True)
    tap_col = traitlets.Int(0, min=0, max=2).tag(sync=True)
    alone = traitlets.Bool(False).tag(sync=True)

    def picture(self) -> str:
        x, weight = np.array(self.x, dtype=float), np.array(self.weight, dtype=float)
        sides = [
            conv_output_size(size, kernel, self.stride, self.padding)
            for size, kernel in zip(x.shape, weight.shape, strict=True)
        ]
        grad, given = np.zeros(sides), np.array(self.grad)[: sides[0], : sides[1]]
        grad[: given.shape[0], : given.shape[1]] = given
        at = min(self.row, sides[0] - 1), min(self.col, sides[1] - 1)
        if self.stride == 1 and self.padding == 0 and self.view == "scatter":
            return figures.gradient_stamp(x, weight, at, grad[at]).to_svg()
        if self.stride == 1 and self.padding == 0 and grad.size <= 9:
            return figures.windows_added(grad[:, :, None, None] * weight).to_svg()
        arrays = (array[None, None] for array in (grad, x, weight))
        grad_x = ops.conv2d_backward(*arrays, stride=self.stride, padding=self.padding)[0]
        return figures.number_grid(grad_x[0, 0], role="gradient").to_svg()
