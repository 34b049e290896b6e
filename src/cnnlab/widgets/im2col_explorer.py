"""im2col: windows become rows, convolution becomes a matrix product (chapter 06)."""

import numpy as np
import traitlets

from cnnlab import figures, ops
from cnnlab.widgets.widget import Grid, Widget

X = [
    [3, 1, 4, 9, 2, 6],
    [0, 5, 2, 1, 7, 3],
    [7, 6, 8, 0, 4, 1],
    [2, 9, 1, 5, 3, 8],
    [4, 0, 7, 6, 9, 2],
    [1, 8, 3, 2, 0, 5],
]
X1 = [
    [1, 0, 2, 1, 0, 1],
    [2, 1, 0, 0, 1, 2],
    [0, 2, 1, 1, 2, 0],
    [1, 0, 0, 2, 1, 1],
    [0, 1, 2, 0, 0, 2],
    [2, 1, 0, 1, 1, 0],
]
W = [[1, 2, 0], [-1, 1, 1], [0, 1, -1]]
W1 = [[0, 1, 0], [1, 0, -1], [0, -1, 1]]


class Im2colExplorer(Widget):
    """The matrix of im2col beside its input: each window is a row, each pixel is copied (chapter 06).

    Attributes
    ----------
    x, x1 : table of numbers, up to (6, 6)
        Channels 0 and 1; their upper left `size` x `size` pixels are the input.
    weight, weight1 : table of numbers, (2, 2) to (3, 3)
        The filter for channels 0 and 1; the upper left `kernel` x `kernel` weights are used.
    size, kernel, stride, padding, channels : int
    row, col : int
        Which window is chosen: its place in the output. Outputs up to it have been calculated.
    channel, pixel_row, pixel_col : int
        Which pixel is chosen, in rows and columns of the input; -1 and `size` are its padding.
    copies : bool
        Whether the input shows how often each pixel was copied, instead of the pixel.
    """

    module = "im2col_explorer"

    x = Grid(X, rows=(3, 6), cols=(3, 6)).tag(sync=True)
    x1 = Grid(X1, rows=(3, 6), cols=(3, 6)).tag(sync=True)
    weight = Grid(W, rows=(2, 3), cols=(2, 3)).tag(sync=True)
    weight1 = Grid(W1, rows=(2, 3), cols=(2, 3)).tag(sync=True)
    size = traitlets.Int(4, min=3, max=6).tag(sync=True)
    kernel = traitlets.Int(2, min=2, max=3).tag(sync=True)
    stride = traitlets.Int(1, min=1, max=2).tag(sync=True)
    padding = traitlets.Int(0, min=0, max=1).tag(sync=True)
    channels = traitlets.Int(1, min=1, max=2).tag(sync=True)
    row = traitlets.Int(0, min=0, max=6).tag(sync=True)
    col = traitlets.Int(0, min=0, max=6).tag(sync=True)
    channel = traitlets.Int(0, min=0, max=1).tag(sync=True)
    pixel_row = traitlets.Int(1, min=-1, max=6).tag(sync=True)
    pixel_col = traitlets.Int(1, min=-1, max=6).tag(sync=True)
    copies = traitlets.Bool(False).tag(sync=True)

    def picture(self) -> str:
        size, kernel = slice(self.size), slice(self.kernel)
        x = np.array([self.x, self.x1])[None, : self.channels, size, size]  # (1, C, H, W)
        weight = np.array([self.weight, self.weight1])[: self.channels, kernel, kernel].reshape(-1, 1)
        rows = ops.im2col_matrix(x, self.kernel, stride=self.stride, padding=self.padding)
        images = [("input", plane) for plane in x[0]]
        terms = *images, "→", ("input", rows), "@", ("filter", weight), "=", ("output", rows @ weight)
        start = len(images) + 1
        first = {0: (0, 0, self.kernel, self.kernel)} if not self.padding else {}
        first |= {start: (0, 0, 1, rows.shape[1]), start + 4: (0, 0, 1, 1)}
        return figures.equation(*terms, highlights=first).to_svg()
