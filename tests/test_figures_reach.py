"""The drawing of receptive fields: the units are those that a real convolution uses."""

import re

import pytest
import torch
import torch.nn.functional as F

from cnnlab import figures
from cnnlab.shapes import receptive_field


def units(figure, level: int) -> list[int]:
    labels = [patch.get_label() for patch in figure.axes[0].patches]
    found = [re.fullmatch(rf"unit\[{level},(\d+)\]", label) for label in labels]
    return [int(match[1]) for match in found if match]


@pytest.mark.parametrize(
    "layers", [[(3, 1)] * 3, [(3, 2)] * 3, [(3, 1, 1), (3, 1, 2), (3, 1, 4)], [(2, 3), (4, 2, 3)], [(1, 1)]]
)
def test_input_units_are_those_that_get_a_gradient(layers):
    x = torch.zeros(1, 1, 40, requires_grad=True)
    y = x
    for kernel_size, stride, dilation in ((*layer, 1)[:3] for layer in layers):
        y = F.conv1d(y, torch.ones(1, 1, kernel_size), stride=stride, dilation=dilation)
    y[0, 0, 0].backward()
    figure = figures.receptive_field(layers)
    assert units(figure, 0) == x.grad[0, 0].nonzero().flatten().tolist()
    assert units(figure, len(layers)) == [0]
    numbers = [text.get_text() for text in figure.axes[0].texts]
    assert numbers == [str(receptive_field(layers[:depth])) for depth in range(len(layers), 0, -1)]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "at least one layer"),
        ([3], r"layers\[0\] must be \(kernel_size, stride\)"),
        ([(3, 2)] * 5, "at most 31 pixels, these layers see 63"),
        ([(0, 1)], "kernel_size must be at least 1"),
    ],
)
def test_mistakes_are_named(layers, message):
    with pytest.raises(ValueError, match=message):
        figures.receptive_field(layers)
