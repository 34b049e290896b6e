"""The drawings of chapter 07 show gradients that torch agrees with, and keep the rules of all drawings."""

import numpy as np
import pytest
import test_figures
import torch
import torch.nn.functional as F
from test_figures import grid, marked, texts

from cnnlab import figures

X1, W1, G1 = np.array([3.0, 1, 2, 0, 1]), np.array([1.0, 2, -1]), np.array([1.0, -2, 3])
X = np.array([[1.0, 0, 2, 1, 3], [2, 1, 0, 3, 0], [0, 3, 1, 1, 2], [1, 2, 0, 2, 1]])  # (4, 5)
W = np.array([[1.0, 0, 2], [0, 2, -1]])  # (2, 3)
G = np.array([[1.0, -2, 4], [3, -1, 2], [-3, 5, 1]])  # (3, 3)
WINDOWS = G[:, :, None, None] * W
POOLED = np.array([[1.0, 3, 2, 0], [0, 2, 1, 4], [5, 1, 0, 2], [1, 0, 3, 3]])  # (4, 4)
G2 = np.array([[1.0, -2], [3, 4]])

DRAWINGS = {
    "connections": lambda: figures.connections(X1, W1),
    "connections of a weight": lambda: figures.connections(X1, W1, G1, tap=2),
    "connections of a pixel": lambda: figures.connections(X1, W1, G1, pixel=1),
    "gradient_stamp": lambda: figures.gradient_stamp(X, W, (2, 1), -3),
    "windows_added": lambda: figures.windows_added(WINDOWS, columns=3),
    "full_correlation": lambda: figures.full_correlation(G, W),
    "full_correlation with stride": lambda: figures.full_correlation(G2, W, (1, 2), stride=(2, 1)),
    "pooling_backward": lambda: figures.pooling_backward(POOLED, G2, 2),
    "pooling_backward by average": lambda: figures.pooling_backward(POOLED, G2, 2, kind="avg"),
    "pooling_backward that overlaps": lambda: figures.pooling_backward(POOLED, G, 2, stride=1),
    "backward_flow": lambda: figures.backward_flow((X, X), (G, G - 1), (G2, G2), names=["conv2d", "relu"]),
}
RULES = [
    test_figures.test_svg_uses_only_the_palette,
    test_figures.test_dark_svg_uses_only_the_dark_palette,
    test_figures.test_svg_is_the_same_each_time_and_well_formed,
    test_figures.test_fits_a_page_and_has_glyphs_for_all_its_text,
    test_figures.test_no_text_leaves_the_figure_and_none_overlaps,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)
def test_rules(draw, rule):
    rule(draw)


def torch_gradients(x, w, grad_out, **options):
    tensors = [torch.tensor(a)[None, None].requires_grad_() for a in (x, w)]
    F.conv2d(*tensors, **options).backward(torch.tensor(grad_out)[None, None])
    return [t.grad[0, 0].numpy() for t in tensors]


def all_grids(figure, role: str) -> list[np.ndarray]:
    """Every grid of a role, in the order in which it was drawn."""
    axes, found, cells = figure.axes[0], [], {}
    for patch in axes.patches:
        name = patch.get_label().rstrip("*")
        if name == f"{role}[0,0]":
            found.append(cells := {})
        if name.startswith(f"{role}["):
            written = [words.replace("−", "-") for words in test_figures.inside(figure, patch)]
            cells[tuple(map(int, name[len(role) + 1 : -1].split(",")))] = float(
                written[0] if written else "nan"
            )
    shapes = [tuple(1 + max(index[axis] for index in cells) for axis in (0, 1)) for cells in found]
    return [np.array(list(cells.values())).reshape(shape) for cells, shape in zip(found, shapes, strict=True)]


def test_connections_show_the_way_forward():
    figure = figures.connections(X1, W1)
    assert np.array_equal(grid(figure, "input"), X1[None])
    assert np.array_equal(grid(figure, "output"), [[3, 5, 1]])
    assert [line.get_label() for line in figure.axes[0].lines] == ["k0", "k1", "k2"] * 3
    assert texts(figure).count("2") == 3 + 1  # the weight on its lines, and an input


def test_connections_mark_a_weight_or_a_pixel():
    purple = figures.PALETTE["gradient"][0]
    of_weight = figures.connections(X1, W1, G1, tap=2)
    lines = [line.get_label() for line in of_weight.axes[0].lines if line.get_color() == purple]
    assert lines == ["k2"] * 3
    assert np.array_equal(grid(of_weight, "gradient"), G1[None])
    of_pixel = figures.connections(X1, W1, G1, pixel=1)
    lines = [line.get_label() for line in of_pixel.axes[0].lines if line.get_color() == purple]
    assert lines == ["k1", "k0"]
    grad_x = torch_gradients(X1[None], W1[None], G1[None])[0]
    assert np.array_equal(all_grids(of_pixel, "gradient")[0], grad_x)
    assert marked(of_pixel, "gradient") == {(0, 1)}


def test_a_stamp_is_what_torch_sends_back_from_one_output():
    alone = np.zeros((3, 3))
    alone[2, 1] = -3
    grad_x, grad_w = torch_gradients(X, W, alone)
    number, stamp, _, copy = all_grids(figures.gradient_stamp(X, W, (2, 1), -3), "gradient")
    assert number == [[-3]]
    assert np.array_equal(np.nan_to_num(stamp), grad_x)
    assert np.array_equal(copy, grad_w)


def test_windows_add_up_to_the_gradient():
    *windows, total = all_grids(figures.windows_added(WINDOWS), "gradient")
    assert len(windows) == 9
    assert np.array_equal(total, torch_gradients(X, W, G)[0])
    assert np.array_equal(np.nansum(windows, axis=0), total)
    apart = all_grids(figures.windows_added(np.ones((2, 1, 2, 2)), stride=2), "gradient")[-1]
    assert np.array_equal(apart, np.ones((4, 2)))


@pytest.mark.parametrize(("grad_out", "stride"), [(G, 1), (G2, (2, 1))])
def test_full_correlation_is_the_gradient_of_the_input(grad_out, stride):
    figure = figures.full_correlation(grad_out, W, (0, 1), stride=stride)
    padded, grad_x = all_grids(figure, "gradient")
    x = np.zeros(grad_x.shape)
    assert np.array_equal(grad_x, torch_gradients(x, W, grad_out, stride=stride)[0])
    assert np.array_equal(grid(figure, "filter"), W[::-1, ::-1])
    assert padded.sum() == grad_out.sum()
    shown = np.array([[round(float((padded[:2, 1:4] * W[::-1, ::-1]).sum()), 2)]])
    assert shown == grad_x[0, 1]


@pytest.mark.parametrize(("kind", "pool"), [("max", F.max_pool2d), ("avg", F.avg_pool2d)])
@pytest.mark.parametrize(("grad_out", "stride"), [(4 * G2, 2), (4 * G, 1)])
def test_pooling_backward_agrees_with_torch(kind, pool, grad_out, stride):
    x = torch.tensor(POOLED)[None, None].requires_grad_()
    pool(x, 2, stride=stride).backward(torch.tensor(grad_out)[None, None])
    figure = figures.pooling_backward(POOLED, grad_out, 2, stride=stride, kind=kind)
    grad_x, shown = all_grids(figure, "gradient")
    assert np.array_equal(np.nan_to_num(grad_x), x.grad[0, 0].numpy())
    assert np.array_equal(shown, grad_out)
    if kind == "max":
        assert marked(figure, "input") >= {(0, 1), (1, 3), (2, 0), (3, 2)}
    windows = sum(patch.get_label() == "window" for patch in figure.axes[0].patches)
    assert windows == (8 if stride == 2 else 0)


def test_backward_flow_shows_values_and_gradients():
    figure = DRAWINGS["backward_flow"]()
    gradients = all_grids(figure, "gradient")
    assert [len(g) for g in gradients] == [4, 3, 2]
    assert np.array_equal(gradients[1], G - 1)
    assert np.array_equal(grid(figure, "input"), X)
    assert {"conv2d", "relu"} <= set(texts(figure))


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: figures.connections(np.ones(9), np.ones(5)), "at most 4 weights, got 5"),
        (lambda: figures.connections(X1, W1, tap=0), "need grad_out"),
        (lambda: figures.connections(X1, W1, G1, tap=3), "3 weights and 5 inputs, got tap=3"),
        (lambda: figures.connections(X1, W1, G1[:2]), r"shape \(3,\), got \(2,\)"),
        (lambda: figures.gradient_stamp(X, W, (3, 0)), r"\(3, 0\) lies outside the output of shape \(3, 3\)"),
        (lambda: figures.windows_added(np.ones((2, 5, 1, 1))), "at most 9 positions, got 10"),
        (lambda: figures.full_correlation(G, W, (4, 0)), r"outside the input of shape \(4, 5\)"),
        (lambda: figures.pooling_backward(POOLED, G2, 2, kind="min"), "got 'min'"),
        (lambda: figures.backward_flow((X, X), names=[]), "two stages or more"),
        (lambda: figures.backward_flow((X, G), (G, G), names=["a"]), "the same shape"),
    ],
)
def test_errors_name_what_came(draw, words):
    with pytest.raises(ValueError, match=words):
        draw()
