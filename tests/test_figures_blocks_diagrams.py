"""Block diagrams, stacked filters and named points: what they show, in the palette's colours."""

import re
import warnings
import xml.etree.ElementTree as ET

import pytest
from matplotlib.colors import to_hex

from cnnlab import figures

NETWORKS = {
    "LeNet-5": (1998, 0.06),
    "AlexNet": (2012, 61.1),
    "VGG-16": (2014, 138.4),
    "GoogLeNet": (2014, 6.6),
    "ResNet-50": (2015, 25.6),
    "MobileNet": (2017, 4.2),
    "ConvNeXt-T": (2022, 28.6),
}
BOUNDS = {"xlim": (1995, 2027), "ylim": (0.02, 400), "log": "y"}
SCORES = {
    "LeNet": (0.374, 88.9),
    "VGG": (1.69, 97.2),
    "Inception": (1.24, 98.1),
    "ResNet": (1.72, 97.8),
    "MobileNet": (1.28, 97.2),
    "ConvNeXt": (1.36, 88.9),
}
INCEPTION = (["1×1"], ["1×1", "3×3"], ["1×1", "5×5"], ["MaxPool", "1×1"])
DRAWINGS = {
    "branches that join": lambda: figures.branches(*INCEPTION, merge="cat"),
    "residual": lambda: figures.branches(["3×3", "BN", "ReLU", "3×3", "BN"], [], after=["ReLU"]),
    "one path": lambda: figures.branches(["Conv2d"], names=("in", "out")),
    "three paths": lambda: figures.branches(["7×7", "GELU"], [], ["Linear"]),
    "stacked_filters": lambda: figures.stacked_filters(3, 3),
    "three stacked filters": lambda: figures.stacked_filters(3, 5, 3),
    "points over years": lambda: figures.points(NETWORKS, xlabel="year", ylabel="parameters", **BOUNDS),
    "points": lambda: figures.points(SCORES, xlabel="x", ylabel="y", xlim=(0, 2.4), ylim=(80, 102)),
    "one point": lambda: figures.points({"a": (1, 2)}, xlabel="x", ylabel="y"),
}
every_drawing = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


@every_drawing
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_svg_uses_only_the_palette(draw, mode):
    svg = draw().to_svg(dark=mode == "dark")
    found = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{3,8})", svg))
    assert found <= {pair[mode == "dark"] for pair in figures.PALETTE.values()}
    assert figures.PALETTE["paper"][mode == "dark"] in found


@every_drawing
def test_svg_is_the_same_each_time_and_well_formed(draw):
    first = draw().to_svg()
    assert first == draw().to_svg()
    assert ET.fromstring(first).get("role") == "img"
    assert "<text" not in first


@every_drawing
def test_fits_a_page_and_no_text_overlaps(draw):
    figure = draw()
    assert figure.get_figwidth() <= 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.to_svg()
    shown = [text for text in figure.axes[0].texts if text.get_text()]
    places = [text.get_window_extent() for text in shown]
    for text, bounds in zip(shown, places):
        inside = bounds.x0 >= 0 and bounds.x1 <= figure.bbox.width
        assert inside and bounds.y0 >= -1 and bounds.y1 <= figure.bbox.height + 1, text.get_text()
    for i, one in enumerate(places):
        for other, text in zip(places[:i], shown):
            common = (
                min(one.x1, other.x1) - max(one.x0, other.x0),
                min(one.y1, other.y1) - max(one.y0, other.y0),
            )
            assert min(common) < 2, (shown[i].get_text(), text.get_text())


def layers(figure) -> list[tuple[str, bool]]:
    """Names of the drawn layers, and whether they are orange."""
    orange = figures.PALETTE["filter"][0]
    found = [p for p in figure.axes[0].patches if p.get_label().startswith("layer ")]
    return [(p.get_label().removeprefix("layer "), to_hex(p.get_edgecolor()) == orange) for p in found]


def test_branches_shows_every_layer_and_which_have_weights():
    figure = DRAWINGS["branches that join"]()
    assert [name for name, _ in layers(figure)] == [name for path in INCEPTION for name in path]
    assert {name for name, weights in layers(figure) if not weights} == {"MaxPool"}
    assert texts(figure).count("cat") == texts(figure).count("x") == texts(figure).count("y") == 1


def test_branches_of_a_residual_block():
    figure = DRAWINGS["residual"]()
    assert [name for name, _ in layers(figure)] == ["3×3", "BN", "ReLU", "3×3", "BN", "ReLU"]
    assert [name for name, weights in layers(figure) if weights] == ["3×3", "3×3"]
    assert "+" in texts(figure)


@pytest.mark.parametrize(
    ("kernels", "sizes"), [((3, 3), [5, 3, 1]), ((3, 5, 3), [9, 7, 3, 1]), ((4,), [4, 1])]
)
def test_stacked_filters_sees_as_far_as_the_receptive_field(kernels, sizes):
    assert texts(figures.stacked_filters(*kernels)) == [f"{size}×{size}" for size in sizes]


def test_points_stand_where_they_belong_and_have_names():
    figure = DRAWINGS["points over years"]()
    drawn = [(line.get_xdata()[0], line.get_ydata()[0]) for line in figure.axes[0].lines]
    assert drawn == list(NETWORKS.values())
    assert texts(figure) == list(NETWORKS)
    assert figure.axes[0].get_yscale() == "log" and figure.axes[0].get_xscale() == "linear"


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: figures.branches(), "at least one path"),
        (lambda: figures.stacked_filters(), "at least one layer"),
        (lambda: figures.stacked_filters(3, 0), "kernel_sizes must be at least 1"),
        (lambda: figures.points({}, xlabel="", ylabel=""), "at least one point"),
        (lambda: figures.points({"a": (1, 2)}, xlabel="", ylabel="", log="z"), "log must be"),
        (lambda: figures.points({"a": (1, float("nan"))}, xlabel="", ylabel=""), "finite"),
    ],
)
def test_wrong_arguments_are_named(draw, words):
    with pytest.raises(ValueError, match=words):
        draw()
