"""See where windows fit (chapter 03)."""

import traitlets

from cnnlab import figures
from cnnlab.widgets.widget import Widget


class PaddingExplorer(Widget):
    """Where the windows of a convolution lie, and how many there are (chapter 03).

    Attributes
    ----------
    size, kernel, stride, padding, dilation : int
        Of the convolution, the same in both directions.
    row, col : int
        The window that is looked at, in the output.
    counts : bool
        Whether each pixel shows how many windows use it, instead of its value.
    """

    module = "padding_explorer"

    size = traitlets.Int(7, min=3, max=12).tag(sync=True)
    kernel = traitlets.Int(3, min=1, max=5).tag(sync=True)
    stride = traitlets.Int(1, min=1, max=4).tag(sync=True)
    padding = traitlets.Int(0, min=0, max=3).tag(sync=True)
    dilation = traitlets.Int(1, min=1, max=3).tag(sync=True)
    row = traitlets.Int(0, min=0, max=17).tag(sync=True)
    col = traitlets.Int(0, min=0, max=17).tag(sync=True)
    counts = traitlets.Bool(False).tag(sync=True)

    def picture(self) -> str:
        reach = self.dilation * (self.kernel - 1) + 1
        if reach > self.size + 2 * self.padding:
            return ""  # no window fits
        return figures.stride(self.size, reach, self.stride, padding=self.padding).to_svg()
