"""The graphs show the values and gradients of real tensors, and the nodes that autograd has recorded."""

import re
import warnings

import pytest
import torch
import torch.nn.functional as F

from cnnlab import figures
from cnnlab.models import LeNet


def chain():
    """((w x + b) − 8)² with its gradients: x, w, b and the four results."""
    x = torch.tensor(3.0)
    w, b = (torch.tensor(value, requires_grad=True) for value in (2.0, -1.0))
    p = w * x
    y = p + b
    d = y - 8
    loss = d**2
    for middle in (p, y, d, loss):
        middle.retain_grad()
    loss.backward()
    return x, w, b, p, y, d, loss


def computation():
    x, w, b, p, y, d, loss = chain()
    steps = [
        ("×", ("w", w), ("p", p)),
        ("+", ("b", b), ("y", y)),
        ("−", ("t", 8), ("d", d)),
        ("□²", None, ("L", loss)),
    ]
    return figures.computation(("x", x), steps)


def lenet():
    torch.manual_seed(0)
    net = LeNet()
    loss = F.cross_entropy(net(torch.zeros(2, 1, 32, 32)), torch.tensor([3, 7]))
    return figures.autograd_graph(loss, net.named_parameters())


DRAWINGS = {
    "computation": computation,
    "computation without gradients": lambda: figures.computation(
        ("x", 1), [("+", ("b", -2.25), ("y", -1.25))]
    ),
    "autograd_graph": lenet,
}
every_drawing = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


@every_drawing
def test_uses_only_the_palette_and_is_the_same_each_time(draw):
    svg = draw().to_svg()
    found = set(re.findall(r"#[0-9a-fA-F]{6}\b", svg))
    assert found <= {light for light, _ in figures.PALETTE.values()}, found
    assert draw().to_svg() == svg


@every_drawing
def test_fits_a_page_and_no_text_leaves_it(draw):
    figure = draw()
    assert figure.get_figwidth() <= 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.to_svg()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    assert all(b.x0 >= 0 and b.x1 <= figure.bbox.width for b in boxes)
    assert all(b.y0 >= 0 and b.y1 <= figure.bbox.height for b in boxes)


def test_computation_shows_values_and_gradients():
    words = texts(computation())
    assert {"x = 3", "w = 2", "b = −1", "p = 6", "y = 5", "t = 8", "d = −3", "L = 9"} <= set(words)
    assert words.count("−18") == 1 and words.count("−6") == 4 and words.count("1") == 1
    assert {"×", "+", "−", "□²"} <= set(words)


def test_without_a_backward_pass_there_is_no_gradient():
    x, w, *_ = chain()
    w.grad = None
    words = texts(figures.computation(("x", x), [("×", ("w", w), ("p", w * x))]))
    assert words == ["x = 3", "w = 2", "×", "p = 6"]


def test_autograd_graph_shows_the_recorded_nodes_and_parameters():
    words = texts(lenet())
    assert words.count("Convolution") == 2 and words.count("Relu") == 4
    net = LeNet()
    names = [name for name, _ in net.named_parameters()]
    assert [word for word in words if "." in word] == [
        f"{layer}.{kind}" for layer in ("fc3", "fc2", "fc1", "conv2", "conv1") for kind in ("weight", "bias")
    ]
    assert set(names) < set(words) and "T" not in words and "AccumulateGrad" not in words


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: figures.computation(("x", 1), []), "at least one step, got none"),
        (lambda: figures.computation(("x", 1), [("+", ("y", 2))]), r"steps\[0\] must be \(symbol, operand"),
        (lambda: figures.computation(("x", [1, 2]), [("+", None, ("y", 2))]), "must be one real number"),
        (lambda: figures.autograd_graph(torch.tensor(1.0), {}), "loss has no grad_fn"),
    ],
)
def test_errors_name_what_came(draw, words):
    with pytest.raises(ValueError, match=words):
        draw()
