"""Interactive pieces of the book: on its pages without a kernel, and in notebooks in step with Python.

Each piece is a class here and one JavaScript module of the same name beside it. The class holds the state as
traits, the module draws it; in a notebook, whichever side changes a trait, the other follows::

    from cnnlab.widgets import ConvExplorer

    explorer = ConvExplorer()
    explorer  # shows it
    explorer.weight = [[0, 1, 0], [1, -4, 1], [0, 1, 0]]  # the picture follows
    explorer.row, explorer.col  # where the reader has moved the window
"""

from cnnlab.widgets.backward_explorer import BackwardExplorer
from cnnlab.widgets.channel_explorer import ChannelExplorer
from cnnlab.widgets.conv_explorer import ConvExplorer
from cnnlab.widgets.digit_canvas import DigitCanvas
from cnnlab.widgets.filter_lab import FilterLab
from cnnlab.widgets.im2col_explorer import Im2colExplorer
from cnnlab.widgets.padding_explorer import PaddingExplorer
from cnnlab.widgets.pooling_explorer import PoolingExplorer
from cnnlab.widgets.shape_tracer import ShapeTracer
from cnnlab.widgets.training_lab import TrainingLab

__all__ = [
    "BackwardExplorer",
    "ChannelExplorer",
    "ConvExplorer",
    "DigitCanvas",
    "FilterLab",
    "Im2colExplorer",
    "PaddingExplorer",
    "PoolingExplorer",
    "ShapeTracer",
    "TrainingLab",
]
