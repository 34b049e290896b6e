"""Try filters on pictures (chapter 02)."""

import numpy as np
import traitlets

from cnnlab import figures, ops
from cnnlab.widgets.widget import Grid, Widget

PREWITT = [[-1, 0, 1], [-1, 0, 1], [-1, 0, 1]]


class FilterLab(Widget):
    """A filter on a picture, with the numbers behind each pixel (chapter 02).

    The reader's own pictures stay in the browser: they are not part of the state.

    Attributes
    ----------
    source : {"photo", "pattern"}
        The picture of the book, or one that is drawn to try filters on.
    own : {"none", "file", "camera"}
        Whether the reader's own picture stands in its place, where there is one.
    weight : table of numbers, (3, 3) or (5, 5)
    view : {"signed", "gray"}
        Below zero blue, zero white, above zero orange; or 0 black, 1 white and what lies beyond clipped.
    row, col : int
        The pixel whose numbers are written out.
    i, j : int
        The weight that the slider changes.
    """

    module = "filter_lab"

    source = traitlets.Enum(["photo", "pattern"], "photo").tag(sync=True)
    own = traitlets.Enum(["none", "file", "camera"], "none").tag(sync=True, spec={"link": False})
    weight = Grid(PREWITT, rows=(3, 5), cols=(3, 5)).tag(sync=True)
    view = traitlets.Enum(["signed", "gray"], "signed").tag(sync=True)
    row = traitlets.Int(91, min=0, max=191).tag(sync=True)
    col = traitlets.Int(148, min=0, max=191).tag(sync=True)
    i = traitlets.Int(1, min=0, max=4).tag(sync=True)
    j = traitlets.Int(1, min=0, max=4).tag(sync=True)

    @traitlets.validate("weight")
    def _square_with_a_middle(self, proposal: traitlets.Bunch) -> list[list[float]]:
        rows = proposal["value"]
        if len(rows) != len(rows[0]) or len(rows) == 4:
            raise traitlets.TraitError(f"weight: wanted 3 x 3 or 5 x 5, got {len(rows)} x {len(rows[0])}")
        return rows

    def picture(self) -> str:
        photo = figures.photo(96)  # (96, 96)
        weight = np.array(self.weight, dtype=float)
        result = ops.conv2d(photo[None, None], weight[None, None], padding=len(weight) // 2)[0, 0]
        if self.view == "gray":
            result = result.clip(0, 1)
        return figures.pictures([photo, result]).to_svg()
