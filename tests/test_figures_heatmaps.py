"""Heat maps on images: the blending, the boxes, and what is refused."""

import re

import numpy as np
import pytest
import torch

from cnnlab import figures
from cnnlab.figures.heatmaps import DIM, HEAT

RNG = np.random.default_rng(0)
IMAGES = [RNG.random((6, 9)) for _ in range(3)]


def shown(figure, index):
    return np.asarray(figure.axes[index].images[0].get_array())


def test_an_image_without_heat_keeps_its_values():
    figure = figures.heatmaps(IMAGES)
    assert len(figure.axes) == 3
    for index, image in enumerate(IMAGES):
        assert np.array_equal(shown(figure, index), image)
        assert figure.axes[index].images[0].get_clim() == (0, 1)


def test_no_heat_is_dark_gray_and_the_hottest_cell_hides_the_image():
    heat = np.zeros((2, 3))
    heat[1, 2] = 0.25  # every map has its own scale
    figure = figures.heatmaps([IMAGES[0]], [torch.tensor(heat, requires_grad=True)])
    pixels = shown(figure, 0)  # (H, W, 3)
    assert pixels.shape == (6, 9, 3)
    assert np.allclose(pixels[:3], DIM * IMAGES[0][:3, :, None])
    assert np.allclose(pixels[3:, 6:], HEAT(1.0)[:3])


def test_a_map_of_zeros_leaves_the_image_dark():
    pixels = shown(figures.heatmaps([IMAGES[0]], [np.zeros((6, 9))]), 0)
    assert np.allclose(pixels, DIM * IMAGES[0][..., None])


def test_boxes_outline_whole_pixels():
    figure = figures.heatmaps(IMAGES, boxes=[None, (1, 2, 3, 4), None])
    found = [[p for p in axes.patches if p.get_label() == "box"] for axes in figure.axes]
    assert list(map(len, found)) == [0, 1, 0]
    (patch,) = found[1]
    assert (patch.get_xy(), patch.get_width(), patch.get_height()) == ((1.5, 0.5), 4, 3)


def test_titles_and_columns():
    figure = figures.heatmaps(IMAGES, [None, np.ones((6, 9)), None], ["x", "0.94", "7"], columns=2)
    assert [text.get_text() for text in figure.texts] == ["x", "0.94", "7"]
    assert len({round(axes.get_position().x0, 3) for axes in figure.axes}) == 2


def test_svg_keeps_to_the_palette_and_fits_a_page():
    draw = {"heats": [np.ones((3, 3)), None, None], "titles": ["occlusion", "saliency", "Grad-CAM"]}
    figure = figures.heatmaps(IMAGES, **draw, boxes=[(0, 0, 2, 2), None, None])
    assert figure.get_figwidth() <= 6
    for dark in (False, True):
        vector = re.sub(r'"data:image/png;base64,[^"]*"', '""', figure.to_svg(dark=dark))
        allowed = {colours[dark] for colours in figures.PALETTE.values()}
        ids = {"#" + name for name in re.findall(r'id="([^"]+)"', vector)}
        found = {
            c for c in re.findall(r"#[0-9a-fA-F]{3,8}\b", vector) if not any(i.startswith(c) for i in ids)
        }
        assert found <= allowed


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (([],), ValueError, "images must hold at least one picture"),
        ((IMAGES, [None]), ValueError, "heats must have one entry per picture, 3, got 1"),
        ((IMAGES, None, ["x"]), ValueError, "titles must have one entry per picture, 3, got 1"),
        (
            (IMAGES[:1], [np.ones((4, 9))]),
            ValueError,
            r"heats\[0\] has shape \(4, 9\), which does not divide",
        ),
        ((IMAGES[:1], [np.ones((12, 9))]), ValueError, r"heats\[0\] has shape \(12, 9\), which does not"),
        ((IMAGES[:1], [-np.ones((6, 9))]), ValueError, "must not have negative values, got -1"),
        ((IMAGES[:1], [np.ones(6)]), ValueError, r"heats\[0\] must have 2 axes"),
        ((["abc"],), TypeError, r"images\[0\] must hold real numbers"),
    ],
)
def test_what_cannot_be_drawn_is_named(arguments, error, words):
    with pytest.raises(error, match=words):
        figures.heatmaps(*arguments)
