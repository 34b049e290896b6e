"""The drawings of pictures as arrays show the numbers they are given, and mark the same pixels everywhere."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from cnnlab import figures

X = np.array([[7, 15, 13, 1], [13, 6, 15, 4], [1, 13, 13, 0]])
COLORS = np.random.default_rng(0).integers(0, 256, (2, 3, 3), dtype=np.uint8)

DRAWINGS = {
    "pixel_values": lambda: figures.pixel_values(X, highlight=(2, 1)),
    "pixel_values without a mark": lambda: figures.pixel_values(np.arange(15).reshape(3, 5) / 8),
    "color_planes": lambda: figures.color_planes(COLORS),
    "tensor_axes": lambda: figures.tensor_axes((5, 3, 28, 28)),
    "tensor_axes of one": lambda: figures.tensor_axes((1, 64, 9, 20)),
    "flattening": lambda: figures.flattening(X, at=(1, 2)),
    "flattening without a mark": lambda: figures.flattening(X[:, :2]),
}
every_drawing = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text()]


def labels(figure) -> list[str]:
    return [patch.get_label() for axes in figure.axes for patch in axes.patches]


@every_drawing
def test_the_same_drawing_gives_the_same_svg_in_both_themes(draw):
    light, dark = draw().to_svg(), draw().to_svg(dark=True)
    ET.fromstring(light), ET.fromstring(dark)
    assert light == draw().to_svg() and light != dark


@every_drawing
def test_text_stays_legible_on_a_phone(draw):
    figure = draw()
    assert figure.get_figwidth() <= 5.8
    assert all(text.get_fontsize() >= 10 for axes in figure.axes for text in axes.texts)


@every_drawing
def test_text_stays_on_the_paper(draw):
    figure = draw()
    renderer = FigureCanvasAgg(figure).get_renderer()
    paper = figure.bbox
    for axes in figure.axes:
        for text in axes.texts:
            if text.get_text():
                extent = text.get_window_extent(renderer)
                inside = paper.x0 <= extent.x0 and extent.x1 <= paper.x1
                assert inside and paper.y0 <= extent.y0 and extent.y1 <= paper.y1, text.get_text()


def test_pixel_values_marks_the_pixel_in_both():
    figure = figures.pixel_values(X, highlight=(2, 1))
    assert np.array_equal(figure.axes[1].images[0].get_array(), X)
    assert labels(figure).count("window") == 2
    mark = next(p for p in figure.axes[1].patches if p.get_label() == "window")
    assert mark.get_xy() == pytest.approx((1 - 0.5, 2 - 0.5))
    assert texts(figure)[: X.size] == [str(n) for n in X.flat]


def test_color_planes_are_red_green_and_blue():
    figure = figures.color_planes(COLORS)
    numbers = [text for text in texts(figure) if text.isdigit()]
    assert numbers == [str(n) for n in COLORS.transpose(2, 0, 1).flat]
    assert [text for text in texts(figure) if text in ("RGB", "R", "G", "B")] == ["RGB", "R", "G", "B"]
    assert np.array_equal(figure.axes[1].images[0].get_array(), COLORS)


def test_tensor_axes_writes_every_length():
    written = texts(figures.tensor_axes((5, 3, 28, 20)))
    assert {"N = 5", "C = 3", "H = 28", "W = 20", "…"} <= set(written)
    assert "…" not in texts(figures.tensor_axes((3, 1, 4, 4)))


def test_flattening_marks_the_neighbours_in_both():
    marked = [label for label in labels(figures.flattening(X, at=(1, 2))) if label.endswith("*")]
    near = [(0, 2), (1, 1), (1, 2), (1, 3), (2, 2)]
    in_row = [(0, row * 4 + column) for row, column in near]
    assert marked == [f"input[{row},{column}]*" for row, column in near + in_row]
    corner = [label for label in labels(figures.flattening(X, at=(0, 0))) if label.endswith("*")]
    assert len(corner) == 6


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: figures.pixel_values(X, highlight=(3, 0)), "outside"),
        (lambda: figures.pixel_values(X[0]), "2 axes"),
        (lambda: figures.color_planes(COLORS / 255), "uint8"),
        (lambda: figures.color_planes(COLORS[:, :, :2]), "uint8"),
        (lambda: figures.tensor_axes((3, 28, 28)), "4 positive integers"),
        (lambda: figures.flattening(np.zeros((4, 5))), "at most 16"),
        (lambda: figures.flattening(X, at=(0, 4)), "outside"),
    ],
)
def test_a_mistake_is_named(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()
