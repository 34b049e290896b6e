"""The drawings show the numbers they are given, in the palette's colours, the same each time."""

import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch

from cnnlab import figures, ops
from cnnlab.figures.style import numeral

X = np.array([[1, 2, 3, 0], [0, 1, 2, 3], [3, 0, 1, 2], [2, 3, 0, 1]])
WEIGHT = np.array([[2, 0, 1], [0, 1, 2], [1, 0, 2]])
RNG = np.random.default_rng(0)
IMAGES = RNG.random((6, 8, 9))
LAYERS = [("x", (1, 28, 28)), ("Conv2d", (16, 24, 24), 416), ("ReLU", (16, 24, 24)), ("Flatten", (9216,))]

DRAWINGS = {
    "number_grid": lambda: figures.number_grid(X - 1.5, highlight=(0, 1, 2, 3)),
    "a large grid": lambda: figures.number_grid(100 * np.ones((28, 28))),
    "equation": lambda: figures.equation(
        ("input", X), "∗", ("filter", WEIGHT), "+", 3, "=", ("gradient", [[np.nan]])
    ),
    "convolution": lambda: figures.convolution(X, WEIGHT, (0, 1), padding=1, bias=-3, fill="until"),
    "convolution of large numbers": lambda: figures.convolution(100 * X, -WEIGHT, None),
    "convolution_steps": lambda: figures.convolution_steps(X, WEIGHT),
    "padding": lambda: figures.padding(X, (1, 2)),
    "stride": lambda: figures.stride((7, 8), 3, 2, padding=(1, 0)),
    "stride of one position": lambda: figures.stride(3, 3, 1),
    "pooling": lambda: figures.pooling(X, 2),
    "pooling by average": lambda: figures.pooling(X, 3, stride=1, kind="avg"),
    "blocks": lambda: figures.blocks(("input", (1, 28, 28), "x"), "→", ("accent", (64, 3, 3))),
    "convolution_blocks": lambda: figures.convolution_blocks((7, 3, 9, 8), (5, 3, 3, 2), stride=2, bias=True),
    "network": lambda: figures.network(LAYERS),
    "pictures": lambda: figures.pictures([IMAGES[0], IMAGES[1] - 0.5, np.zeros((4, 4))], ["x", "∂x", "0"]),
    "pictures in colour": lambda: figures.pictures([RNG.integers(0, 256, (5, 4, 3), dtype=np.uint8)]),
    "images": lambda: figures.images(IMAGES, [0, 1, 2, 3, 4, 5], [0, 1, 7, 3, 4, 5]),
    "images without labels": lambda: figures.images(torch.rand(7, 1, 4, 4)),
    "filters": lambda: figures.filters(RNG.normal(size=(4, 3, 5, 5))),
    "filters in gray": lambda: figures.filters(torch.nn.Conv2d(1, 10, 5).weight, signed=False),
    "curves": lambda: figures.curves({"train": [2, 1, np.nan, 0.5], "test": [2, 1.5]}),
    "curves, logarithmic": lambda: figures.curves(
        {"loss": np.exp(-np.arange(99.0))}, xlabel="step", log=True
    ),
    "bars": lambda: figures.bars({"DataLoader": 7.2, "Batches": 0.05}, xlabel="s"),
    "confusion_matrix": lambda: figures.confusion_matrix(np.diag(np.arange(10)) + np.eye(10, k=1, dtype=int)),
}
every_drawing = pytest.mark.parametrize("draw", DRAWINGS.values(), ids=DRAWINGS)


def texts(figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text()]


def grid(figure, role: str) -> np.ndarray:
    """The numbers that stand in the cells of a role, read from the drawing; NaN for an empty cell."""
    cells = {}
    for patch in figure.axes[0].patches:
        if match := re.match(rf"{role}\[(\d+),(\d+)\]", patch.get_label()):
            written = inside(figure, patch)
            assert len(written) <= 1
            cells[tuple(map(int, match.groups()))] = written[0].replace("−", "-") if written else "nan"
    shape = tuple(1 + max(index[axis] for index in cells) for axis in (0, 1))
    return np.array([[float(cells[row, column]) for column in range(shape[1])] for row in range(shape[0])])


def inside(figure, patch) -> list[str]:
    """Texts that stand on a rectangle."""
    x, y, width, height = *patch.get_xy(), patch.get_width(), patch.get_height()
    places = [(text.get_text(), *text.get_position()) for text in figure.axes[0].texts]
    return [words for words, tx, ty in places if x <= tx <= x + width and y <= ty <= y + height]


def marked(figure, role: str) -> set[tuple[int, int]]:
    labels = [patch.get_label() for patch in figure.axes[0].patches]
    found = [re.fullmatch(rf"{role}\[(\d+),(\d+)\]\*", label) for label in labels]
    return {(int(match[1]), int(match[2])) for match in found if match}


def window(row, column, height, width):
    return {(row + i, column + j) for i in range(height) for j in range(width)}


@every_drawing
def test_svg_uses_only_the_palette(draw):
    svg = draw().to_svg()
    vector = re.sub(r'"data:image/png;base64,[^"]*"', '""', svg)
    found = set(re.findall(r"#[0-9a-fA-F]{3,8}\b", vector)) - {
        "#" + i for i in re.findall(r'id="([^"]+)"', svg)
    }
    found -= {reference for reference in found if f'href="{reference}' in svg or f"url({reference}" in svg}
    assert found <= {light for light, _ in figures.PALETTE.values()}
    assert not re.search(r"(fill|stroke): (?!none|#)[a-z]", vector)
    assert figures.PALETTE["paper"][0] in found


@every_drawing
def test_dark_svg_uses_only_the_dark_palette(draw):
    svg = draw().to_svg(dark=True)
    vector = re.sub(r'"data:image/png;base64,[^"]*"', '""', svg)
    assert not [light for light, _ in figures.PALETTE.values() if light in vector]
    assert figures.PALETTE["paper"][1] in vector


@every_drawing
def test_svg_is_the_same_each_time_and_well_formed(draw):
    state = RNG.bit_generator.state
    first = draw().to_svg()
    RNG.bit_generator.state = state
    torch.manual_seed(0)
    figure = draw()
    assert figure.to_svg() == figure.to_svg() == figure._repr_svg_()
    root = ET.fromstring(first)
    assert root.tag.endswith("svg") and root.get("role") == "img"
    assert "<text" not in first and "<metadata" not in first and "<?xml" not in first
    assert not re.search(r"https?://(?!www\.w3\.org/)", first)
    ids = re.findall(r' id="([^"]+)"', first)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', first)) == set(ids)


@pytest.mark.parametrize(
    "name", [name for name in DRAWINGS if "pictures" not in name and "without" not in name]
)
def test_the_same_call_gives_the_same_bytes(name):
    if name.startswith("filters"):
        weight = np.linspace(-1, 1, 100).reshape(4, 1, 5, 5)
        assert figures.filters(weight).to_svg() == figures.filters(weight).to_svg()
    else:
        assert DRAWINGS[name]().to_svg() == DRAWINGS[name]().to_svg()


def test_ids_differ_between_drawings():
    svgs = [figures.number_grid(X).to_svg(), figures.number_grid(X + 1).to_svg()]
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in svgs]
    assert ids[0] and not ids[0] & ids[1]


@every_drawing
def test_fits_a_page_and_has_glyphs_for_all_its_text(draw):
    figure = draw()
    assert figure.get_figwidth() <= 6
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns about missing glyphs
        figure.to_svg()
    assert all(ord(letter) < 0x2E80 for words in texts(figure) for letter in words)


@every_drawing
def test_no_text_leaves_the_figure_and_none_overlaps(draw):
    figure = draw()
    figure.to_svg()
    shown = [t for axes in figure.axes for t in axes.texts if t.get_text()] + figure.texts
    boxes = [t.get_window_extent() for t in shown]
    width, height = figure.bbox.width, figure.bbox.height
    for text, bounds in zip(shown, boxes, strict=True):
        assert bounds.x0 >= 0 and bounds.x1 <= width and bounds.y0 >= -1 and bounds.y1 <= height + 1, (
            text.get_text()
        )
    for i, one in enumerate(boxes):
        for other, text in zip(boxes[:i], shown, strict=False):
            common = (
                min(one.x1, other.x1) - max(one.x0, other.x0),
                min(one.y1, other.y1) - max(one.y0, other.y0),
            )
            assert min(common) < 2, (shown[i].get_text(), text.get_text())


def test_palette():
    lights, darks = zip(*figures.PALETTE.values(), strict=True)
    assert len(set(lights)) == len(lights) and not set(lights) & set(darks)
    for mode in (0, 1):
        paper = figures.PALETTE["paper"][mode]
        for role in ("ink", "muted", "input", "filter", "output", "gradient", "accent", "highlight"):
            assert contrast(figures.PALETTE[role][mode], paper) >= 4.5, (role, mode)
        for role, shades in figures.PALETTE.items():
            if role.endswith("_fill") or role == "blank":
                assert contrast(figures.PALETTE["ink"][mode], shades[mode]) >= 4.5, (role, mode)


def contrast(first: str, second: str) -> float:
    def luminance(colour):
        channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_numbers_of_a_grid():
    figure = figures.number_grid(X - 1.5, role="output", highlight=[(0, 1, 2, 3), (3, 0, 1, 1)])
    assert np.array_equal(grid(figure, "output"), X - 1.5)
    assert marked(figure, "output") == window(0, 1, 2, 3) | {(3, 0)}


def test_a_mask_marks_its_cells():
    assert marked(figures.number_grid(X, highlight=X == 3), "input") == set(
        zip(*np.nonzero(X == 3), strict=True)
    )


def test_convolution_shows_the_example_of_the_course():
    figure = figures.convolution(X, WEIGHT, (1, 0))
    assert np.array_equal(grid(figure, "input"), X)
    assert np.array_equal(grid(figure, "filter"), WEIGHT)
    assert np.array_equal(grid(figure, "output"), [[15, 16], [6, 15]])
    assert marked(figure, "input") == window(1, 0, 3, 3)
    assert marked(figure, "output") == {(1, 0)}
    assert texts(figure).count("∗") == texts(figure).count("=") == 1


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        ("all", [[15, 16], [6, 15]]),
        ("until", [[15, 16], [np.nan, np.nan]]),
        ("only", [[np.nan, 16], [np.nan, np.nan]]),
    ],
)
def test_convolution_fills_the_output(fill, expected):
    output = grid(figures.convolution(X, WEIGHT, (0, 1), fill=fill), "output")
    assert np.array_equal(output, expected, equal_nan=True)


def test_convolution_with_stride_padding_and_bias():
    x, weight = RNG.integers(-9, 10, (5, 6)), RNG.integers(-2, 3, (3, 2))
    figure = figures.convolution(x, weight, (1, 2), stride=(2, 1), padding=(1, 2), bias=4)
    expected = ops.conv2d(
        x[None, None] * 1.0, weight[None, None] * 1.0, np.array([4.0]), stride=(2, 1), padding=(1, 2)
    )
    assert np.array_equal(grid(figure, "output"), expected[0, 0])
    assert np.array_equal(grid(figure, "input"), np.pad(x, [(1, 1), (2, 2)]))
    assert marked(figure, "input") == window(2, 2, 3, 2)


def test_steps_show_every_position():
    figure = figures.convolution_steps(X, WEIGHT)
    windows = [p for p in figure.axes[0].patches if p.get_label() == "window"]
    assert len(windows) == 8  # one in the input and one in the output, four times
    assert texts(figure).count("→") == 4
    assert [texts(figure).count(n) for n in ("15", "16", "6")] == [5, 3, 2]


def test_padding_puts_zeros_around():
    assert np.array_equal(grid(figures.padding(X, (1, 2)), "input"), np.pad(X, [(1, 1), (2, 2)]))


def test_stride_strikes_out_what_no_window_reaches():
    figure = figures.stride((8, 7), 3, 2)
    assert len(figure.axes[0].lines) == 1  # 8 = 3 + 2·2 + 1: one row is left
    assert np.array_equal(grid(figure, "output"), np.full((3, 3), np.nan), equal_nan=True)
    first, _, right, _, below, _ = [p for p in figure.axes[0].patches if p.get_label() == "window"]
    assert right.get_x() - first.get_x() == pytest.approx(2, abs=0.2)
    assert below.get_y() - first.get_y() == pytest.approx(2, abs=0.2)


def test_pooling_shows_the_chosen_numbers():
    x = RNG.permutation(16).reshape(4, 4)
    figure = figures.pooling(x, 2)
    expected = x.reshape(2, 2, 2, 2).max(axis=(1, 3))
    assert np.array_equal(grid(figure, "output"), expected)
    assert {x[cell] for cell in marked(figure, "input")} == set(expected.flat)
    average = grid(figures.pooling(x, 2, kind="avg"), "output")
    assert np.allclose(average, x.reshape(2, 2, 2, 2).mean(axis=(1, 3)))


def test_blocks_show_shapes():
    assert texts(figures.convolution_blocks((3, 32, 32), (16, 3, 5, 5))) == [
        "(3, 32, 32)",
        "∗",
        "⋮",
        "(16, 3, 5, 5)",
        "→",
        "(16, 28, 28)",
    ]


def test_network_shows_layers_shapes_and_parameters():
    figure = figures.network(LAYERS)
    words = texts(figure)
    for expected in ("Conv2d", "ReLU", "Flatten", "(1, 28, 28)", "(16, 24, 24)", "(9216,)", "416"):
        assert words.count(expected) == 1  # ReLU keeps the shape: no second block


def test_wrong_predictions_are_framed():
    figure = figures.images(IMAGES, [0, 1, 2, 3, 4, 5], [0, 1, 7, 3, 4, 5])
    assert [text.get_text() for text in figure.texts] == ["0", "1", "2 → 7", "3", "4", "5"]
    thick = [index for index, axes in enumerate(figure.axes) if axes.spines["top"].get_linewidth() > 2]
    assert thick == [2]


def test_pixels_are_the_values_of_the_array():
    figure = figures.images(IMAGES)
    for axes, values in zip(figure.axes, IMAGES, strict=True):
        assert np.array_equal(axes.images[0].get_array(), values)
    assert "image-rendering:pixelated" in figure.to_svg().replace(" ", "")


def test_signed_pictures_have_zero_in_the_middle():
    figure = figures.pictures([IMAGES[0], IMAGES[0] - 0.9])
    gray, signed = (axes.images[0] for axes in figure.axes)
    assert gray.get_clim() == (IMAGES[0].min(), IMAGES[0].max())
    assert signed.get_clim()[0] == -signed.get_clim()[1]
    assert signed.get_cmap()(0.5)[:3] == pytest.approx((1, 1, 1), abs=0.02)


def test_curves_show_their_values():
    figure = figures.curves({"train": [2.0, 1.0, np.nan, np.inf], "test": [2.5, 1.5]}, ylabel="accuracy")
    axes = figure.axes[0]
    lines = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    assert np.array_equal(lines["train"].get_ydata(), [2.0, 1.0, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(lines["test"].get_xdata(), [1, 2])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "accuracy")
    looks = {(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines.values()}
    assert len(looks) == 2 and {line.get_marker() for line in lines.values()} == {"o", "s"}
    assert set(texts(figure)) == {"train", "test"}


def test_bars_are_as_long_as_their_numbers():
    figure = figures.bars({"a": 1_000, "b": 250}, xlabel="s")
    first, second = figure.axes[0].patches
    assert second.get_width() == pytest.approx(first.get_width() / 4)
    assert {"1,000 s", "250 s"} < set(texts(figure))


def test_confusion_matrix_shows_its_counts():
    matrix = RNG.integers(0, 3, (4, 4))
    figure = figures.confusion_matrix(matrix)
    counts = [patch for patch in figure.axes[0].patches if patch.get_label().startswith("count")]
    assert len(counts) == (matrix > 0).sum()
    for patch in counts:
        row, column = map(int, re.findall(r"\d+", patch.get_label()))
        assert inside(figure, patch) == [str(matrix[row, column])]


def test_photo():
    photo = figures.photo()
    assert photo.shape == (192, 192) and photo.dtype == np.float64
    assert 0 <= photo.min() < 0.1 and 0.9 < photo.max() <= 1
    assert np.allclose(figures.photo(96), photo.reshape(96, 2, 96, 2).mean(axis=(1, 3)))
    with pytest.raises(ValueError, match="size must be one of 384"):
        figures.photo(100)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (3, "3"),
        (-3.0, "−3"),
        (0.111, "0.11"),
        (-0.0, "0"),
        (-0.001, "0"),
        (2.5, "2.5"),
        (123456.0, "1.23e+05"),
    ],
)
def test_numerals(number, shown):
    assert numeral(number) == shown


@pytest.mark.parametrize(
    ("draw", "error", "words"),
    [
        (lambda: figures.number_grid([1, 2]), ValueError, r"array must have 2 axes, got shape \(2,\)"),
        (lambda: figures.number_grid([["a"]]), TypeError, "array must hold real numbers, got dtype <U1"),
        (lambda: figures.number_grid([[1, 2], [3]]), TypeError, "array must be a rectangular array"),
        (lambda: figures.number_grid(np.zeros((0, 2))), ValueError, r"must not be empty, got shape \(0, 2\)"),
        (lambda: figures.number_grid(X, role="bias"), ValueError, "unknown role 'bias'; known roles: input"),
        (
            lambda: figures.number_grid(X, highlight=(3, 3, 2, 2)),
            ValueError,
            "lies outside the grid of shape",
        ),
        (
            lambda: figures.number_grid(X, highlight=(1, 1)),
            ValueError,
            r"must be \(row, column, height, width\)",
        ),
        (
            lambda: figures.number_grid(X, highlight=np.ones(3, bool)),
            ValueError,
            r"highlight has shape \(3,\)",
        ),
        (lambda: figures.equation(), ValueError, "at least one term"),
        (lambda: figures.convolution(X, WEIGHT, (2, 0)), ValueError, r"at \(2, 0\) lies outside the output"),
        (
            lambda: figures.convolution(X, WEIGHT, fill="none"),
            ValueError,
            'fill must be "all", "until" or "only"',
        ),
        (lambda: figures.convolution_steps(np.ones((9, 9)), WEIGHT), ValueError, "at most 36 positions"),
        (lambda: figures.stride(2, 3, 1), ValueError, "the filter does not fit"),
        (lambda: figures.pooling(X, 2, kind="min"), ValueError, 'kind must be "max" or "avg"'),
        (lambda: figures.blocks("→"), ValueError, "at least one"),
        (lambda: figures.blocks(("input", (3, 0, 2))), ValueError, "shape must be 3 or 4 positive integers"),
        (lambda: figures.blocks(("bias", (3, 1, 2))), ValueError, "an item must be"),
        (
            lambda: figures.convolution_blocks((4, 9, 9), (5, 3, 3, 3)),
            ValueError,
            "take 3 channels, the input",
        ),
        (lambda: figures.network([]), ValueError, "at least the input"),
        (lambda: figures.network([("x",)]), ValueError, r"layers\[0\] must be \(name, shape\)"),
        (
            lambda: figures.network([("x", (2, 3))]),
            ValueError,
            "shape of 'x' must be 1 or 3 positive integers",
        ),
        (lambda: figures.pictures([]), ValueError, "at least one picture"),
        (
            lambda: figures.pictures([X], ["a", "b"]),
            ValueError,
            "titles must have one entry per picture, 1, got 2",
        ),
        (
            lambda: figures.images(np.zeros((2, 3, 4, 4))),
            ValueError,
            r"must be \(N, H, W\) or \(N, 1, H, W\)",
        ),
        (lambda: figures.images(IMAGES, predictions=[0] * 6), ValueError, "predictions need labels"),
        (lambda: figures.curves({}), ValueError, "1 to 6 lines, got 0"),
        (lambda: figures.curves({"a": [1, 2]}, x=[1]), ValueError, "x must have at least 2 entries"),
        (lambda: figures.bars({"a": -1}), ValueError, "finite values >= 0"),
        (
            lambda: figures.confusion_matrix(np.ones((2, 3), int)),
            ValueError,
            "must be square and hold counts",
        ),
        (lambda: figures.confusion_matrix(np.ones((2, 2))), ValueError, "dtype float64"),
        (
            lambda: figures.confusion_matrix(np.ones((2, 2), int), ["a"]),
            ValueError,
            "names must have 2 entries",
        ),
    ],
)
def test_errors_name_what_came(draw, error, words):
    with pytest.raises(error, match=words):
        draw()


def test_neither_pyplot_nor_torch_is_imported_and_settings_stay():
    code = """
import sys
import matplotlib

def settings():
    return {name: matplotlib.rcParams[name] for name in matplotlib.rcParams if name != "backend"}

before = settings()
from cnnlab import figures

figures.curves({"a": [1, 2]}).to_svg()
figures.pictures([figures.photo(48)]).to_svg()
assert "matplotlib.pyplot" not in sys.modules and "torch" not in sys.modules
assert settings() == before
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_the_readers_settings_do_not_change_a_drawing():
    import matplotlib

    plain = {name: DRAWINGS[name]().to_svg() for name in ("curves", "convolution", "images")}
    with matplotlib.rc_context(
        {"font.size": 30, "axes.grid": True, "lines.linewidth": 9, "image.cmap": "jet"}
    ):
        matplotlib.rcParams["axes.facecolor"] = "red"
        matplotlib.rcParams["xtick.color"] = "red"
        assert {name: DRAWINGS[name]().to_svg() for name in plain} == plain


def test_ipython_gets_one_svg(monkeypatch):
    shown = []
    display = pytest.importorskip("IPython.display")
    monkeypatch.setattr(display, "display", lambda data, raw: shown.append((data, raw)))
    figure = figures.number_grid(X)
    figure._ipython_display_()
    assert shown == [
        ({"image/svg+xml": figure.to_svg(), "text/plain": "<Figure size 197x197 with 1 Axes>"}, True)
    ]
