"""The drawing of a whole network shows sizes, kernels and strides, and keeps the rules of all drawings."""

import pytest
import test_figures
from matplotlib.patches import Polygon
from test_figures import texts

from cnnlab import figures

LAYERS = [
    ("x", (3, 224, 200)),
    ("Conv2d", (64, 55, 49), 11, 4),
    ("MaxPool2d", (64, 27, 24), 3, 2),
    ("Conv2d", (192, 27, 24), 5),
    ("Linear", (4096,)),
    ("Linear", (10,)),
]
RULES = [
    test_figures.test_svg_uses_only_the_palette,
    test_figures.test_dark_svg_uses_only_the_dark_palette,
    test_figures.test_svg_is_the_same_each_time_and_well_formed,
    test_figures.test_fits_a_page_and_has_glyphs_for_all_its_text,
    test_figures.test_no_text_leaves_the_figure_and_none_overlaps,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__.removeprefix("test_"))
@pytest.mark.parametrize("layers", [LAYERS, LAYERS[:1], LAYERS[4:]], ids=["whole", "input", "flat"])
def test_rules_of_all_drawings(rule, layers):
    rule(lambda: figures.architecture(layers))


def test_every_size_kernel_and_stride_is_written():
    assert texts(figures.architecture(LAYERS)) == [
        "x (3, 224, 200)",
        *("Conv2d 11×11, stride 4", "(64, 55, 49)"),
        *("MaxPool2d 3×3, stride 2", "(64, 27, 24)"),
        *("Conv2d 5×5", "(192, 27, 24)"),
        *("Linear", "(4096,)", "Linear", "(10,)"),
    ]


def test_windows_are_in_proportion_to_their_blocks():
    figure = figures.architecture(LAYERS)
    windows = {p.get_label(): p for p in figure.axes[0].patches if p.get_label().startswith("window")}
    assert list(windows) == ["window 11", "window 3", "window 5"]
    window, front = windows["window 5"], 2.3 * (27 / 224) ** 0.5
    assert window.get_height() == pytest.approx(front * 5 / 27)
    dashed = {line.get_linestyle() for line in figure.axes[0].lines}
    assert dashed == {"-", "--"}  # convolutions, pooling


def test_larger_sizes_are_drawn_larger():
    figure = figures.architecture([("x", (1, 8, 32)), ("a", (1, 8, 8)), ("b", (100, 8, 8))])
    fronts = [patch for patch in figure.axes[0].patches if isinstance(patch, Polygon)][::6]  # one per block
    widths = [front.get_path().get_extents().width for front in fronts]
    assert widths[0] == pytest.approx(2 * widths[1])


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        ([], "needs at least the input"),
        ([("x",)], r"layers\[0\] must be \(name, shape\)"),
        ([(3, (1, 2, 3))], r"layers\[0\] must be"),
        ([("x", (3, 4))], "shape of 'x' must be 1 or 3 positive integers"),
        ([("x", (3, 4, 5)), ("Conv2d", (3, 4, 5), 0)], "kernel_size must be at least 1"),
        ([("x", (3, 4, 5)), ("Conv2d", (3, 4, 5), 3, 0)], "stride must be at least 1"),
    ],
)
def test_what_cannot_be_drawn_is_named(layers, words):
    with pytest.raises(ValueError, match=words):
        figures.architecture(layers)
