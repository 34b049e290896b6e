"""Where windows fit: the grids and the formula that are shown are those of `cnnlab.ops`."""

from functools import partial

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect
from reading import Reader
from widget_pages import drawn, fragment, open_page

from cnnlab import ops
from cnnlab.shapes import conv_output_size
from cnnlab.widgets import PaddingExplorer

MODULE = "padding_explorer"
READER = {"has_touch": True, "reduced_motion": "reduce"}
# size, kernel, stride, padding, dilation
SETTINGS = [
    (8, 3, 2, 0, 1),
    (6, 3, 1, 1, 1),
    (7, 3, 1, 0, 2),
    (12, 5, 4, 3, 3),
    (10, 1, 4, 1, 2),
    (3, 2, 3, 2, 3),
]
GRID = """(grid) => [...grid.querySelectorAll('.cw-row')].map((row) =>
  [...row.children].map((cell) => cell.textContent === '' ? null : Number(cell.textContent)))"""
MARKED = """(grid, name) => [...grid.querySelectorAll('.cw-row')].map((row) =>
  [...row.children].map((cell) => cell.classList.contains(name)))"""


opened = partial(open_page, MODULE)


def turn_to(page: Page, **values: object) -> None:
    """What a link inside the page does."""
    page.evaluate("(text) => { location.hash = text; }", fragment(MODULE, **values))
    drawn(page)


def grid(page: Page, role: str) -> Locator:
    return page.locator(f".cw-role-{role}")


def numbers(page: Page, role: str) -> np.ndarray:
    return np.array(grid(page, role).evaluate(GRID), dtype=float)


def window_at(page: Page) -> tuple[int, int]:
    """The output's row and column, as the window says them."""
    out = len(numbers(page, "output"))
    return divmod(int(page.locator(".cw-window").get_attribute("aria-valuenow")), out)


@pytest.mark.parametrize("lang", ["ja", "ko"])
def test_grids_and_formula_are_those_of_ops(reader: Reader, lang: str) -> None:
    page = opened(reader, lang)
    for size, kernel, stride, padding, dilation in SETTINGS:
        geometry = {"stride": stride, "padding": padding, "dilation": dilation}
        turn_to(page, size=size, kernel=kernel, **geometry)
        shown = numbers(page, "input")
        x = shown[padding : padding + size, padding : padding + size]
        assert x.shape == (size, size) and x.min() > 0
        assert np.array_equal(shown, np.pad(x, padding))
        ones = np.ones((1, 1, kernel, kernel))
        out = ops.conv2d(x[None, None], ones, **geometry)
        assert np.array_equal(numbers(page, "output"), out[0, 0])
        said = page.locator(".pe-formula p").last.inner_text()
        assert (
            said.split()[-1]
            == str(conv_output_size(size, kernel, stride, padding, dilation))
            == str(len(out[0, 0]))
        )

        uses = ops.conv2d_backward(np.ones_like(out), x[None, None], ones, **geometry)[0][0, 0]
        lost = np.array(grid(page, "input").evaluate(MARKED, "pe-lost"))
        assert np.array_equal(lost[padding : padding + size, padding : padding + size], uses == 0)
        turn_to(page, size=size, kernel=kernel, **geometry, counts=True)
        counted = numbers(page, "input")
        assert np.array_equal(counted[padding : padding + size, padding : padding + size], uses)
        assert np.isnan(counted).sum() == counted.size - uses.size  # padding is not counted
        missing = page.locator(".cw-warn").filter(has_text=str((uses == 0).sum())).count()
        assert missing == (1 if (uses == 0).any() else 0)


def test_the_next_window_would_stick_out(reader: Reader) -> None:
    page = opened(reader, "ja")
    for size, kernel, stride, padding in [(8, 3, 2, 0), (7, 3, 2, 0), (7, 2, 4, 1), (3, 5, 1, 0)]:
        turn_to(page, size=size, kernel=kernel, stride=stride, padding=padding)
        cells = page.locator(".cw-role-input .cw-cells").bounding_box()
        cell = page.locator(".cw-role-input .cw-cell").first.bounding_box()["width"]
        dashed = page.locator(".pe-beyond").bounding_box()
        begins = conv_output_size(size, kernel, stride, padding) * stride if size >= kernel else 0
        assert round((dashed["x"] - cells["x"]) / cell) == begins
        assert round(dashed["width"] / cell) == kernel
        assert begins + kernel > size + 2 * padding >= begins - stride + kernel or not begins
        assert dashed["x"] + dashed["width"] <= page.locator(".cw").bounding_box()["width"]


@pytest.mark.parametrize("lang", ["ja", "ko"])
def test_pointer_finger_and_keys_move_the_window(reader: Reader, lang: str) -> None:
    page = opened(reader, lang, size=8, stride=2, padding=1)  # 4 x 4 places
    x = np.pad(numbers(page, "input")[1:-1, 1:-1], 1)

    def agrees(row: int, col: int) -> None:
        drawn(page)
        assert window_at(page) == (row, col)
        lit = np.array(grid(page, "input").evaluate(MARKED, "cw-lit"))
        assert np.argwhere(lit).min(axis=0).tolist() == [2 * row, 2 * col] and lit.sum() == 9
        written = page.locator(".cw-sum .cw-in").inner_text().split(" + ")
        result = page.locator(".cw-sum .cw-ou").last.inner_text()
        assert sum(map(float, written)) == float(result) == x[lit].sum() == numbers(page, "output")[row, col]

    box = page.locator(".cw-window").bounding_box()
    cell = box["width"] / 3
    page.mouse.move(box["x"] + cell / 2, box["y"] + cell / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + cell * 4.5, box["y"] + cell * 2.5, steps=5)
    page.mouse.up()
    agrees(1, 2)
    corner = grid(page, "output").locator(".cw-cell").last.bounding_box()
    page.touchscreen.tap(corner["x"] + 5, corner["y"] + 5)
    agrees(3, 3)
    page.locator(".cw-window").focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")  # no further place
    agrees(2, 3)
    page.keyboard.press("Home")
    agrees(0, 0)
    stride = page.locator("input[data-trait=stride]")
    stride.focus()
    page.keyboard.press("ArrowRight")
    drawn(page)
    assert len(numbers(page, "output")) == conv_output_size(8, 3, 3, 1)


def test_no_window_fits_is_said(reader: Reader) -> None:
    page = opened(reader, "ko", size=3, kernel=5, dilation=3, row=2, col=2)
    expect(page.locator(".cw-window")).to_be_hidden()
    expect(page.get_by_text("13×13")).to_be_visible()
    expect(grid(page, "output").locator(".cw-cell")).to_have_count(0)
    for _ in range(3):
        page.locator("input[data-trait=padding]").press("ArrowRight")
    page.locator("input[data-trait=kernel]").press("ArrowLeft")  # 4: spans 10 of 9
    expect(page.locator(".cw-window")).to_be_hidden()
    page.locator("input[data-trait=kernel]").press("ArrowLeft")
    expect(page.locator(".cw-window")).to_be_visible()
    assert len(numbers(page, "output")) == conv_output_size(3, 3, 1, 3, 3)


def test_the_picture_is_of_the_same_windows() -> None:
    assert "<svg" in PaddingExplorer(size=8, stride=2).picture()
    assert PaddingExplorer(size=3, kernel=5).picture() == ""
