"""Pool a picture, move it and see what changes (chapter 05)."""

import numpy as np
import traitlets

from cnnlab import figures
from cnnlab.widgets.widget import Grid, Widget

X = [[7, 1, 2, 0, 5, 2], [3, 0, 4, 1, 3, 1], [6, 2, 8, 3, 2, 1], [0, 1, 5, 0, 4, 0]]


class PoolingExplorer(Widget):
    """A picture and the same picture moved by a few pixels, each with its pooled output (chapter 05).

    Attributes
    ----------
    x : table of numbers, (H, W)
        4 to 8 rows and columns.
    kind : {"max", "avg"}
    K, S : int
        Side of the window, stride.
    down, right : int
        How far the picture has moved, from -3 to 3; zeros come in, what leaves is lost.
    row, col : int
        Which output is looked at.
    overview : bool
        Whether the outputs that change are counted for every shift.
    """

    module = "pooling_explorer"

    x = Grid(X, rows=(4, 8), cols=(4, 8)).tag(sync=True)
    kind = traitlets.Enum(["max", "avg"], "max").tag(sync=True)
    K = traitlets.Int(2, min=2, max=3).tag(sync=True)
    S = traitlets.Int(2, min=1, max=3).tag(sync=True)
    down = traitlets.Int(0, min=-3, max=3).tag(sync=True)
    right = traitlets.Int(0, min=-3, max=3).tag(sync=True)
    row = traitlets.Int(0, min=0, max=6).tag(sync=True)
    col = traitlets.Int(0, min=0, max=6).tag(sync=True)
    overview = traitlets.Bool(False).tag(sync=True)

    def picture(self) -> str:
        x = np.array(self.x)
        H, W = x.shape
        wide = np.pad(x, 3)
        moved = wide[3 - self.down : 3 - self.down + H, 3 - self.right : 3 - self.right + W]
        return figures.pooled_pair(x, moved, self.K, stride=self.S, kind=self.kind).to_svg()
