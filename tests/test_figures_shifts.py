"""Two pooled images beside each other: their numbers, and a frame around what differs."""

import re
import warnings
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from cnnlab import figures, ops

RNG = np.random.default_rng(0)
X = RNG.permutation(24).reshape(4, 6)
MOVED = np.roll(X, 1, axis=1)
DRAWINGS = {
    "max": lambda: figures.pooled_pair(X, MOVED, 2),
    "average": lambda: figures.pooled_pair(X / 4, MOVED / 4, 2, kind="avg"),
    "overlapping": lambda: figures.pooled_pair(X, MOVED, 3, stride=(1, 2)),
    "with space between": lambda: figures.pooled_pair(X, MOVED, 1, stride=(2, 3)),
    "wide": lambda: figures.pooled_pair(np.ones((4, 14)), -100 * np.ones((4, 14)), 2),
}
every_drawing = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)


def patches(figure, pattern: str) -> list:
    return [patch for patch in figure.axes[0].patches if re.fullmatch(pattern, patch.get_label())]


def framed(figure) -> int:
    """Red frames: around the outputs that differ."""
    red = figures.PALETTE["highlight"][0]
    found = patches(figure, "window")
    return sum(matplotlib_hex(patch.get_edgecolor()) == red for patch in found)


def matplotlib_hex(rgba) -> str:
    return "#" + "".join(f"{round(255 * part):02x}" for part in rgba[:3])


@every_drawing
def test_svg_uses_only_the_palette_and_is_the_same_each_time(draw):
    svg = draw().to_svg()
    assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {light for light, _ in figures.PALETTE.values()}
    assert not [light for light, _ in figures.PALETTE.values() if light in draw().to_svg(dark=True)]
    assert svg == draw().to_svg()
    assert ET.fromstring(svg).get("role") == "img"


@every_drawing
def test_fits_a_page_and_no_text_leaves_it(draw):
    figure = draw()
    assert figure.get_figwidth() <= 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns about missing glyphs
        figure.to_svg()
    for text in figure.axes[0].texts:
        one = text.get_window_extent()
        assert one.x0 >= 0 and one.x1 <= figure.bbox.width and one.y0 >= 0 and one.y1 <= figure.bbox.height


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_numbers_and_frames(kind):
    pool = {"max": ops.max_pool2d, "avg": ops.avg_pool2d}[kind]
    one, two = (pool(image[None, None].astype(float), 2)[0, 0] for image in (X, MOVED))
    figure = figures.pooled_pair(X, MOVED, 2, kind=kind)
    words = [text.get_text() for text in figure.axes[0].texts if text.get_text() != "→"]
    in_reading_order = np.concatenate([X.ravel(), one.ravel(), MOVED.ravel(), two.ravel()])
    assert [float(word) for word in words] == in_reading_order.tolist()
    assert framed(figure) == int((one != two).sum()) > 0
    assert len(patches(figure, r"input\[\d,\d\]\*")) == (12 if kind == "max" else 0)


def test_nothing_is_framed_where_the_outputs_agree():
    assert framed(figures.pooled_pair(X, X, 2)) == 0


def test_windows_are_outlined_where_they_do_not_overlap():
    assert len(patches(figures.pooled_pair(X, X, 2), "window")) == 12
    assert patches(figures.pooled_pair(X, X, 3, stride=1), "window") == []


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: figures.pooled_pair(X, X[:2], 2), r"one shape, got \(4, 6\) and \(2, 6\)"),
        (lambda: figures.pooled_pair(X, X, 2, kind="min"), "got 'min'"),
        (lambda: figures.pooled_pair(X, X, 9), "9"),
        (lambda: figures.pooled_pair(X[0], X[0], 2), "before"),
    ],
)
def test_errors_name_what_came(draw, words):
    with pytest.raises(ValueError, match=words):
        draw()
