"""The chain of layers with what goes down and what comes up."""

import re

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from cnnlab import figures

CHAIN = [("x", (2, 4)), ("Linear", (2, 3), ("W", "b")), ("ReLU", (2, 3)), ("CrossEntropyLoss",)]


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def test_shapes_stand_at_both_arrows():
    shown = texts(figures.propagation(CHAIN))
    assert shown.count("(2, 4)") == 2
    assert shown.count("(2, 3)") == 4
    assert {"x", "∂L/∂x", "L", "1", "Linear", "ReLU", "CrossEntropyLoss"} <= set(shown)


def test_parameters_stand_beside_the_layer_that_learns():
    figure = figures.propagation(CHAIN)
    assert {"W, b", "∂L/∂W, ∂L/∂b"} <= set(texts(figure))
    learns = {patch.get_label() for patch in figure.axes[0].patches if patch.get_linewidth() == 1.4}
    assert learns == {"layer Linear", "layer ReLU", "layer CrossEntropyLoss"}


def test_colours_are_those_of_the_palette_and_the_drawing_repeats():
    svg = figures.propagation(CHAIN).to_svg()
    light = {pair[0] for pair in figures.PALETTE.values()}
    used = set(re.findall(r"#[0-9a-f]{6}\b", svg))
    assert used <= light and figures.PALETTE["gradient"][0] in used
    assert figures.propagation(CHAIN).to_svg() == svg


def test_nothing_is_written_outside():
    figure = figures.propagation([("x", (32, 16, 24, 24)), ("Conv2d", (32, 16, 24, 24)), ("loss",)])
    axes, area = figure.axes[0], figure.bbox
    renderer = FigureCanvasAgg(figure).get_renderer()
    for text in axes.texts:
        extent = text.get_window_extent(renderer)
        assert area.x0 <= extent.x0 and extent.x1 <= area.x1 and extent.y1 <= area.y1, text.get_text()


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([("x", (2, 4))], "the input and the loss at least, got 1 entries"),
        ([("x",), ("loss",)], r"layers\[0\] must be \(name, shape\)"),
        ([("x", (2, 4)), ("loss", (1,))], r"layers\[1\] must be \(name,\), got"),
        ([("x", (2, 0)), ("loss",)], "shape of 'x' must be 1 or 2 or 3 or 4 positive integers"),
        (["x", ("loss",)], r"layers\[0\] must be"),
    ],
)
def test_errors_say_what_came_and_what_was_wanted(layers, message):
    with pytest.raises(ValueError, match=message):
        figures.propagation(layers)
