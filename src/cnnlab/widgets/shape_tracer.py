"""Follow the sizes through LeNet, AlexNet and VGG, layer by layer (chapters 13 and 14)."""

import re
from typing import Any

import traitlets

from cnnlab import figures
from cnnlab.shapes import conv_output_size
from cnnlab.widgets.widget import Widget

COUNT, SIDE, WINDOW, PADDING, FEATURES = (
    *(r"[1-9]\d{0,3}", r"[1-9]\d{0,2}", r"[1-9]\d?"),
    *(r"(?:0|[1-9]\d?)", r"[1-9]\d{0,8}"),
)
MOST_LAYERS = 60  # the input included
# How each layer is written, and the expression for it. Without a stride, pooling moves by its window.
FORMS = {
    "in channels side": rf"in {COUNT} {SIDE}",
    "conv channels kernel [stride [padding]]": rf"conv {COUNT} {WINDOW}(?: {WINDOW}(?: {PADDING})?)?",
    "max kernel [stride [padding]]": rf"max {WINDOW}(?: {WINDOW}(?: {PADDING})?)?",
    "avg kernel [stride [padding]]": rf"avg {WINDOW}(?: {WINDOW}(?: {PADDING})?)?",
    "gap": "gap",
    "relu": "relu",
    "bn": "bn",
    "flatten": "flatten",
    "linear in_features out_features": rf"linear {FEATURES} {COUNT}",
}
FIRST, *OTHERS = FORMS.values()
PATTERN = rf"^{FIRST}(?:; (?:{'|'.join(OTHERS)})){{0,{MOST_LAYERS - 1}}}$"


def _vgg(*stages: tuple[int, int]) -> str:
    convolutions = "; ".join(f"{f'conv {C} 3 1 1; relu; ' * count}max 2" for C, count in stages)
    return f"in 3 224; {convolutions}; flatten; {_classifier(25088)}"


def _classifier(features: int) -> str:
    return f"linear {features} 4096; relu; linear 4096 4096; relu; linear 4096 1000"


def _alexnet(paddings: tuple[int, ...] = (2, 2, 1, 1, 1), *, window: int = 3, features: int = 9216) -> str:
    one, two, three, four, five = paddings
    return (
        f"in 3 224; conv 64 11 4 {one}; relu; max {window} 2; conv 192 5 1 {two}; relu; max {window} 2; "
        f"conv 384 3 1 {three}; relu; conv 256 3 1 {four}; relu; conv 256 3 1 {five}; relu; max {window} 2; "
        f"flatten; {_classifier(features)}"
    )


LENET = (
    "in 1 32; conv 6 5; relu; max 2; conv 16 5; relu; max 2; flatten; "
    "linear 400 120; relu; linear 120 84; relu; linear 84 10"
)
TASK = "alexnet-task"
# Each button's network, with whose sizes the reader's are compared, and its layers. The mistakes are those of
# chapter 13: one that stops at the first fully connected layer, one that nothing complains about.
PRESETS = {
    "lenet": ("lenet", LENET),
    "alexnet": ("alexnet", _alexnet()),
    "alexnet_stops": ("alexnet", _alexnet((2, 1, 1, 1, 1))),
    "alexnet_silent": ("alexnet", _alexnet((0, 2, 1, 1, 1), window=2)),
    "vgg11": ("vgg11", _vgg((64, 1), (128, 1), (256, 2), (512, 2), (512, 2))),
    "vgg16": ("vgg16", _vgg((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))),
}
# Where AlexNet is still to be written there is no padding yet, and the vector is as long as without any.
TASK_PRESETS = {
    "task": (TASK, _alexnet((0,) * 5, features=256)),
    "task_two": (TASK, _alexnet((0,) * 5, window=2, features=1024)),
}
NETWORKS = {"lenet": "LeNet-5", "alexnet": "AlexNet", "vgg11": "VGG-11", "vgg16": "VGG-16", TASK: "AlexNet"}


def parse(text: str) -> list[tuple[str, ...]]:
    """Layers written as ``in 3 224; conv 64 11 4 2; relu; max 3 2; …``: the words of each.

    Raises
    ------
    traitlets.TraitError
        If a part is no layer; the message names it.
    """
    parts = text.split("; ")
    for place, part in enumerate(parts):
        forms = {form.split()[0]: form for form in FORMS if (form == next(iter(FORMS))) == (place == 0)}
        kind = part.split(" ")[0]
        if kind not in forms:
            raise traitlets.TraitError(f"layer {place}, {part!r}: wanted {' or '.join(forms)}")
        if not re.fullmatch(FORMS[forms[kind]], part, re.ASCII):
            raise traitlets.TraitError(f"layer {place}, {part!r}: wanted '{forms[kind]}', in whole numbers")
    if len(parts) > MOST_LAYERS:
        raise traitlets.TraitError(f"layer {MOST_LAYERS}, {parts[MOST_LAYERS]!r}: one layer too many")
    return [tuple(part.split(" ")) for part in parts]


def sides(text: str) -> list[int]:
    """The side of the image, and after each convolution and pooling, as far as their windows fit."""
    (_, _, side), *layers = parse(text)
    found = [int(side)]
    for kind, *words in layers:
        if kind not in ("conv", "max", "avg"):
            continue
        kernel, *given = map(int, words[1:] if kind == "conv" else words)
        usual = (1, 0) if kind == "conv" else (kernel, 0)
        stride, padding = (*given, *usual[len(given) :])
        try:
            found.append(conv_output_size(found[-1], kernel, stride, padding))
        except ValueError:
            break
    return found


class ShapeTracer(Widget):
    """The layers of a network to edit; sizes follow, and errors where they do not fit (chapters 13 and 14).

    Attributes
    ----------
    layers : str
        Such as ``in 3 224; conv 64 11 4 2; relu; max 3 2; flatten; linear 46656 10``: channels and side of
        the image; channels, kernel, stride and padding of a convolution; kernel, stride and padding of a
        pooling (``max``, ``avg``); ``in_features`` and ``out_features`` of ``linear``; ``gap`` for global
        average pooling, ``bn`` for batch normalization. The default is what `network` begins with.
    network : {"vgg16", "vgg11", "alexnet", "lenet", "alexnet-task"}
        With whose sizes they are compared. With ``"alexnet-task"``, for the chapter in which AlexNet is still
        to be written, all paddings are 0, no other network can be chosen, and what the exercises ask for is
        not computed.
    selected : int
        The layer of which the formula is written out.
    """

    module = "shape_tracer"

    layers = traitlets.Unicode().tag(sync=True, spec={"pattern": PATTERN})
    network = traitlets.Enum(list(NETWORKS), "vgg16").tag(sync=True)
    selected = traitlets.Int(1, min=0, max=MOST_LAYERS - 1).tag(sync=True)

    @traitlets.default("layers")
    def _first_layers(self) -> str:
        return (PRESETS | {TASK: TASK_PRESETS["task"]})[self.network][1]

    @traitlets.validate("layers")
    def _layers_are_layers(self, proposal: dict[str, Any]) -> str:
        parse(proposal["value"])
        return proposal["value"]

    def _spec_of(self, name: str) -> dict[str, Any]:
        found = super()._spec_of(name)
        if name == "network":
            task = self.network == TASK
            presets = TASK_PRESETS if task else PRESETS
            options = [TASK] if task else [network for network in NETWORKS if network != TASK]
            wanted = {network: sides(PRESETS[network.removesuffix("-task")][1])[1:] for network in options}
            found |= {"options": options, "presets": presets, "sides": wanted}
        return found

    def picture(self) -> str:
        own, wanted = sides(self.layers), sides(PRESETS[self.network.removesuffix("-task")][1])
        name = NETWORKS[self.network]
        lines = {name: own} if own == wanted else {"layers": own, name: wanted}
        return figures.curves(lines, xlabel="layer", ylabel="H = W", log=True).to_svg()
