"""Move a window over numbers (chapter 02)."""

import traitlets

from cnnlab import figures
from cnnlab.widgets.widget import Grid, Widget

X = [[1, 0, 2, 1], [2, 1, 0, 3], [0, 3, 1, 1], [1, 2, 0, 2]]
W = [[1, 0, 1], [0, 2, 0], [1, 0, -1]]


class ConvExplorer(Widget):
    """A window that moves over numbers, with its products and their sum written out (chapter 02).

    Attributes
    ----------
    x : table of numbers, (H, W)
        3 to 8 rows and columns.
    weight : table of numbers, (KH, KW)
        1 to 3 rows and columns.
    bias : float
    row, col : int
        Where the window lies, in the output.
    flip : bool
        Whether the filter is turned round first: convolution as mathematics has it.
    """

    module = "conv_explorer"

    x = Grid(X, rows=(3, 8), cols=(3, 8)).tag(sync=True)
    weight = Grid(W, rows=(1, 3), cols=(1, 3)).tag(sync=True)
    bias = traitlets.Float(0.0, min=-99, max=99).tag(sync=True)
    row = traitlets.Int(0, min=0, max=7).tag(sync=True)
    col = traitlets.Int(0, min=0, max=7).tag(sync=True)
    flip = traitlets.Bool(False).tag(sync=True)

    def picture(self) -> str:
        return figures.convolution(self.x, self.weight, at=(0, 0)).to_svg()
