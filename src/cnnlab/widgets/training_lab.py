"""Train a network inside the page (chapter 11)."""

import traitlets

from cnnlab import figures
from cnnlab.widgets.widget import Widget

SHAPES = [
    ("x", (1, 8, 8)),
    ("Conv2d, ReLU", (8, 8, 8), 80),
    ("MaxPool2d", (8, 4, 4)),
    ("Conv2d, ReLU", (16, 4, 4), 1168),
    ("Linear", (10,), 2570),
]


class TrainingLab(Widget):
    """A small CNN learns to tell digits while one watches, and while its settings change (chapter 11).

    Attributes
    ----------
    optimizer : {"sgd", "momentum", "adam"}
    lr : float
        Learning rate.
    batch : int
        Images per step.
    seed : int
        Decides the first weights and the order of the images.
    """

    module = "training_lab"

    optimizer = traitlets.Enum(["sgd", "momentum", "adam"], "sgd").tag(sync=True)
    lr = traitlets.Float(0.1, min=0.0001, max=10).tag(sync=True)
    batch = traitlets.Int(32, min=1, max=256).tag(sync=True)
    seed = traitlets.Int(0, min=0, max=99).tag(sync=True)

    def picture(self) -> str:
        return figures.network(SHAPES).to_svg()
