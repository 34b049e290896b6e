"""Drawings of several channels show the numbers they are given, in the palette's colours."""

import re
import warnings
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from cnnlab import figures, ops

X = np.arange(24).reshape(2, 3, 4) % 5
WEIGHT = np.array([[[1, 0], [2, -1]], [[0, 1], [1, 0]]])
DRAWINGS = {
    "channel_sum": lambda: figures.channel_sum(X, WEIGHT, (1, 2), names="RG"),
    "channel_sum without names": lambda: figures.channel_sum(np.ones((3, 5, 6)), np.ones((3, 3, 2))),
    "channel_grids": lambda: figures.channel_grids(
        ("input", X, "x"), ("filter", X[:1, :1, :1], "bias.reshape(1)")
    ),
    "channel_grids of many": lambda: figures.channel_grids(("output", np.ones((6, 2, 3)), "maps + bias")),
    "channel_grids of a table": lambda: figures.channel_grids(
        ("gradient", [[1.5, np.nan]], "a long name of it")
    ),
    "connections": lambda: figures.channel_links((4, 4, 1), (4, 4, 2), (4, 4, 4)),
    "connections of one layer": lambda: figures.channel_links((2, 6, 2)),
}
every_drawing = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@every_drawing
def test_svg_uses_only_the_palette_and_is_the_same_each_time(draw):
    svg = draw().to_svg()
    found = set(re.findall(r"#[0-9a-f]{6}\b", svg))
    assert found <= {light for light, _ in figures.PALETTE.values()}
    assert not [light for light, _ in figures.PALETTE.values() if light in draw().to_svg(dark=True)]
    assert svg == draw().to_svg()
    assert ET.fromstring(svg).get("role") == "img"


@every_drawing
def test_fits_a_page_and_no_text_leaves_it_or_overlaps(draw):
    figure = draw()
    assert figure.get_figwidth() <= 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns about missing glyphs
        figure.to_svg()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    for i, one in enumerate(boxes):
        assert one.x0 >= 0 and one.x1 <= figure.bbox.width and one.y0 >= 0 and one.y1 <= figure.bbox.height
        for other in boxes[:i]:
            width, height = (
                min(one.x1, other.x1) - max(one.x0, other.x0),
                min(one.y1, other.y1) - max(one.y0, other.y0),
            )
            assert min(width, height) < 2


def test_sums_of_the_channels_and_their_sum_are_written():
    figure = figures.channel_sum(X, WEIGHT, (1, 2), names="RG")
    parts = [ops.conv2d(X[None, [c]], WEIGHT[None, [c]])[0, 0, 1, 2] for c in (0, 1)]
    numbers = [words.replace("−", "-") for words in texts(figure)]
    written = [int(words) for words in numbers if re.fullmatch(r"-?\d+", words)]
    assert written[-1] == sum(parts)
    for c, part in enumerate(parts):
        assert written[c * 17 : (c + 1) * 17] == [*X[c].flat, *WEIGHT[c].flat, part]
    assert numbers.count("+") == 1 and {"R", "G"} <= set(numbers)
    windows = [patch for patch in figure.axes[0].patches if patch.get_label() == "window"]
    assert len(windows) == 3  # one on each channel, one on the output


def test_grids_show_every_channel():
    figure = figures.channel_grids(("input", X, "x"), ("output", X[0] + 5, "y"))
    assert texts(figure) == ["x", *map(str, X.flat), "y", *map(str, (X[0] + 5).flat)]


@pytest.mark.parametrize(
    ("layer", "lines"), [((4, 4, 1), 16), ((4, 4, 2), 8), ((4, 4, 4), 4), ((2, 6, 2), 6)]
)
def test_connections_are_those_of_the_convolution(layer, lines):
    C, OC, groups = layer
    figure = figures.channel_links(layer)
    drawn = {line.get_label() for line in figure.axes[0].lines}
    weight = np.ones((OC, C // groups, 1, 1))
    met = {
        f"channel {c} to {d}"
        for c in range(C)
        for d in np.flatnonzero(ops.conv2d(np.eye(C)[None, :, [c], None], weight, groups=groups))
    }
    assert drawn == met and len(figure.axes[0].lines) == lines
    assert {f"groups={groups}", str((OC, C // groups, 3, 3))} <= set(texts(figure))


def test_photo_in_colour_is_the_gray_one():
    rgb = figures.photo_rgb()
    assert rgb.shape == (192, 192, 3) and rgb.dtype == np.float64 and rgb.min() >= 0 and rgb.max() <= 1
    assert np.allclose(rgb @ [0.299, 0.587, 0.114], figures.photo())


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: figures.channel_sum(X, WEIGHT[:1]), "the filter has 1 channels, the input 2"),
        (lambda: figures.channel_sum(X, WEIGHT, names="RGB"), "one entry per channel, 2, got 3"),
        (lambda: figures.channel_sum(X, WEIGHT, (2, 0)), "lies outside the output of shape"),
        (lambda: figures.channel_sum(X[0], WEIGHT), "x must have 3 axes"),
        (lambda: figures.channel_grids(), "at least one"),
        (lambda: figures.channel_grids(("input", X)), "a row must be"),
        (lambda: figures.channel_grids(("blue", X, "x")), "a row must be"),
        (lambda: figures.channel_links(), "at least one"),
        (lambda: figures.channel_links((4, 4)), "a layer must be 3 positive integers"),
        (lambda: figures.channel_links((4, 3, 2)), "groups=2 must divide both"),
    ],
)
def test_errors_name_what_came(draw, words):
    with pytest.raises(ValueError, match=words):
        draw()
