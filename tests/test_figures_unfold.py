"""im2col as pictures, and times on a logarithmic scale: numbers, marks and errors."""

import re
import warnings

import numpy as np
import pytest

from cnnlab import figures, ops
from cnnlab.figures.scales import duration

X = np.array([[3, 1, 4], [0, 5, 2], [7, 6, 8]])
LEFT, RIGHT = ("N", "C", "KH", "KW", "OH", "OW"), ("OC", "C", "KH", "KW")
TIMES = {"for": 24.0, "unfold": 0.0035, "F.conv2d": 0.00043}
DRAWINGS = {
    "windows": lambda: figures.unfold_steps(X, 2, mark=(1, 1)),
    "pixels": lambda: figures.unfold_steps(X, 2, by="pixel"),
    "stride and padding": lambda: figures.unfold_steps(X, (2, 3), stride=2, padding=1, by="pixel"),
    "a large image": lambda: figures.unfold_steps(-100 * np.eye(6), 3, stride=3, mark=(0, 0)),
    "blocks": lambda: figures.unfold_blocks((2, 3, 4, 4), 2),
    "lopsided blocks": lambda: figures.unfold_blocks((3, 2, 7, 4), (3, 2), stride=2, padding=1),
    "one block": lambda: figures.unfold_blocks((1, 1, 5, 5), 3),
    "axes": lambda: figures.tensordot_axes(LEFT, RIGHT, ((1, 2, 3), (1, 2, 3))),
    "other axes": lambda: figures.tensordot_axes("abcd", "dba", ((0, 3), (2, 0))),
    "durations": lambda: figures.durations(TIMES),
    "one duration": lambda: figures.durations({"a": 1.0}),
}
every_drawing = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)


def patches(figure, label: str) -> list:
    return [patch for patch in figure.axes[0].patches if re.fullmatch(label, patch.get_label())]


def texts(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


@every_drawing
def test_only_the_palette_and_the_same_each_time(draw):
    svg = draw().to_svg()
    assert svg == draw().to_svg()
    ids = {"#" + i for i in re.findall(r'(?:id="|href="#|url\(#)([^")]+)', svg)}
    found = set(re.findall(r"#[0-9a-fA-F]{6}\b", svg)) - ids
    assert found <= {light for light, _ in figures.PALETTE.values()}
    dark = draw().to_svg(dark=True)
    assert not [light for light, _ in figures.PALETTE.values() if light in dark]


@every_drawing
def test_text_fits_and_does_not_overlap(draw):
    figure = draw()
    assert figure.get_figwidth() <= 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns about missing glyphs
        figure.to_svg()
    shown = [text for text in figure.axes[0].texts if text.get_text()]
    boxes = [text.get_window_extent() for text in shown]
    width, height = figure.bbox.width, figure.bbox.height
    for text, bounds in zip(shown, boxes, strict=True):
        assert bounds.x0 >= 0 and bounds.x1 <= width, text.get_text()
        assert bounds.y0 >= -1 and bounds.y1 <= height + 1, text.get_text()
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            common = (
                min(one.x1, other.x1) - max(one.x0, other.x0),
                min(one.y1, other.y1) - max(one.y0, other.y0),
            )
            assert min(common) < 2, shown[i].get_text()


def test_windows_fill_the_matrix_row_by_row():
    words = texts(figures.unfold_steps(X, 2))
    rows = ops.im2col_matrix(X[None, None], 2)
    expected = [step for step in range(4) for _ in X.flat] + [n for n in range(4) for _ in range(4 * (n + 1))]
    assert len([word for word in words if word != "→"]) == len(expected)
    assert words[-16:] == [str(n) for n in rows.flat]
    assert words[9] == "→" and words[10:14] == ["3", "1", "0", "5"]


def test_pixels_fill_the_matrix_column_by_column():
    figure = figures.unfold_steps(X, 2, by="pixel")
    words = texts(figure)
    assert words[10:14] == ["3", "1", "0", "5"]  # the first column
    assert words[-16:] == [str(n) for n in ops.im2col_matrix(X[None, None], 2).flat]
    assert len(patches(figure, "window")) == 8


def test_a_marked_pixel_is_marked_wherever_it_goes():
    figure = figures.unfold_steps(X, 2, mark=(1, 1))
    assert len(patches(figure, "mark")) == 4 + (1 + 2 + 3 + 4)  # in the image, in the growing matrix
    corner = figures.unfold_steps(X, 2, mark=(0, 0))
    assert len(patches(corner, "mark")) == 4 + 4


def test_pixels_apart_are_marked_one_by_one():
    figure = figures.unfold_steps(np.arange(25).reshape(5, 5), 3, stride=2, by="pixel")
    first = patches(figure, r"input\[\d,\d\]\*")[:4]
    places = {re.findall(r"\d", patch.get_label())[0:2][0] for patch in first}
    assert places == {"0", "2"}


def test_blocks_show_shapes():
    figure = figures.unfold_blocks((2, 3, 4, 5), (2, 3), stride=1, padding=1)
    words = [word for word in texts(figure) if word != "→"]
    assert words == ["(2, 3, 4, 5)", "(2, 3, 2, 3, 5, 5)", "(50, 18)"]


def test_axes_that_stay_keep_their_order():
    assert texts(DRAWINGS["axes"]())[-4:] == ["N", "OH", "OW", "OC"]
    assert texts(DRAWINGS["other axes"]())[-3:] == ["b", "c", "b"]
    left = np.ones((2, 3, 4, 5))
    assert np.tensordot(left, np.ones((5, 7, 2)), ((0, 3), (2, 0))).shape == (3, 4, 7)
    assert len(patches(DRAWINGS["axes"](), "highlight:.*")) == 6


def test_durations_are_logarithmic():
    figure = figures.durations({"a": 10.0, "b": 1.0, "c": 0.1, "d": 0.01})
    lengths = [patches(figure, name)[0].get_width() for name in "abcd"]
    assert np.allclose(np.diff(lengths), lengths[1] - lengths[0])
    assert lengths[3] == pytest.approx(lengths[0] / 4)
    assert {"10 s", "1 s", "100 ms", "10 ms"} <= set(texts(figure))


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (24.2, "24 s"),
        (1.0, "1 s"),
        (0.9999, "1 s"),
        (0.0035, "3.5 ms"),
        (0.0996, "100 ms"),
        (4.3e-4, "430 µs"),
        (2e-9, "2 ns"),
        (1234, "1,200 s"),
    ],
)
def test_duration(seconds, shown):
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: figures.unfold_steps(X, 2, by="row"), 'by must be "window" or "pixel"'),
        (lambda: figures.unfold_steps(X, 2, mark=(3, 0)), r"mark \(3, 0\) lies outside the padded input"),
        (lambda: figures.unfold_steps(np.ones((5, 5)), 2), "at most 12 pictures"),
        (lambda: figures.unfold_steps(X, 4), "the filter does not fit"),
        (lambda: figures.unfold_blocks((4, 1, 3, 3), 2), "at most 3 images and 9 pixels, got 4 and 4"),
        (lambda: figures.unfold_blocks((1, 3, 3), 2), "x_shape must be 4 positive integers"),
        (lambda: figures.tensordot_axes("ab", "bc", ((2,), (0,))), "lie outside left with 2 axes"),
        (lambda: figures.tensordot_axes("ab", "bc", ((0, 1), (0,))), "must come in pairs, got 2 and 1"),
        (lambda: figures.durations({}), "at least one value"),
        (lambda: figures.durations({"a": 0.0}), "finite values > 0"),
    ],
)
def test_errors(draw, words):
    with pytest.raises(ValueError, match=words):
        draw()
