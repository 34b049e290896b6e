"""Which image, filter and channels meet in a number of the output (chapter 04)."""

import traitlets

from cnnlab import figures
from cnnlab.widgets.widget import Widget


class ChannelExplorer(Widget):
    """Images, filters and feature maps as blocks, and what one number of the output is made of (chapter 04).

    The filters always have the channels that the images have. The numbers are small, fixed and made up.

    Attributes
    ----------
    N, C, OC, K, H : int
        Images, channels, filters; the side of a filter, of an image.
    kind : {"all", "own"}
        Whether a filter sees all channels, or only its own: a depthwise convolution, in which OC is C.
    n, oc, row, col : int
        The number of the output that is looked at.
    """

    module = "channel_explorer"

    N = traitlets.Int(2, min=1, max=4).tag(sync=True)
    C = traitlets.Int(3, min=1, max=4).tag(sync=True)
    OC = traitlets.Int(4, min=1, max=5).tag(sync=True)
    K = traitlets.Int(2, min=1, max=5).tag(sync=True)
    H = traitlets.Int(6, min=5, max=16).tag(sync=True)
    kind = traitlets.Enum(["all", "own"], "all").tag(sync=True)
    n = traitlets.Int(0, min=0, max=3).tag(sync=True)
    oc = traitlets.Int(0, min=0, max=4).tag(sync=True)
    row = traitlets.Int(0, min=0, max=15).tag(sync=True)
    col = traitlets.Int(0, min=0, max=15).tag(sync=True)

    def picture(self) -> str:
        OC, IC = (self.C, 1) if self.kind == "own" else (self.OC, self.C)
        side = self.H - self.K + 1
        x, weight, out = (self.N, self.C, self.H, self.H), (OC, IC, self.K, self.K), (self.N, OC, side, side)
        left = ("input", x), "∗", ("filter", weight), "+", ("filter", (OC, 1, 1))
        return figures.blocks(*left, "→", ("output", out)).to_svg()
