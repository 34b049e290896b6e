"""The matrix of im2col: its numbers are those of `cnnlab.ops`; windows and pixels lead to each other."""

from functools import partial

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page
from reading import Reader
from widget_pages import open_page

from cnnlab import ops
from cnnlab.widgets import Im2colExplorer

MODULE = "im2col_explorer"
READER = {"has_touch": True}


opened = partial(open_page, MODULE)


def grids(page: Page) -> dict[str, Locator]:
    """By what they are; channel 0 of input and filter."""
    found = page.locator(".cw-cells")
    names = ["input", "input1", "filter", "filter1", "matrix", "vector", "product", "output"]
    assert found.count() == len(names)
    return {name: found.nth(k) for k, name in enumerate(names)}


def shown(grid: Locator) -> np.ndarray:
    """The numbers of a grid; empty cells are NaN."""
    texts = grid.evaluate(
        "(box) => [...box.querySelectorAll('.cw-row')].map((row) => [...row.children].map((cell) => "
        "cell.querySelector('input')?.value ?? cell.textContent))"
    )
    return np.array(
        [[float(text.replace("\u2212", "-")) if text else np.nan for text in row] for row in texts]
    )


def marked(grid: Locator, name: str) -> list[tuple[int, int]]:
    return [
        tuple(place)
        for place in grid.evaluate(
            "(box, name) => [...box.querySelectorAll('.cw-row')].flatMap((row, r) => [...row.children]"
            ".flatMap((cell, c) => cell.classList.contains(name) ? [[r, c]] : []))",
            name,
        )
    ]


def after_frame(page: Page) -> None:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def arrays(size: int, kernel: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    made = Im2colExplorer()
    x = np.array([made.x, made.x1])[None, :channels, :size, :size]
    return x, np.array([made.weight, made.weight1])[None, :channels, :kernel, :kernel]


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "channels"),
    [(3, 2, 1, 0, 1), (4, 3, 1, 1, 1), (6, 3, 1, 0, 1), (5, 2, 2, 1, 2), (6, 3, 2, 0, 2)],
)
def test_numbers_are_those_of_ops(
    reader: Reader, size: int, kernel: int, stride: int, padding: int, channels: int
) -> None:
    options = {"stride": stride, "padding": padding}
    page = opened(
        reader, "ko", size=size, kernel=kernel, channels=channels, **options, row=6, col=6, copies="true"
    )
    x, weight = arrays(size, kernel, channels)
    matrix, out = ops.im2col_matrix(x, kernel, **options), ops.conv2d(x, weight, **options)[0, 0]
    found = grids(page)
    np.testing.assert_array_equal(shown(found["matrix"]), matrix)
    np.testing.assert_array_equal(shown(found["vector"]).ravel(), weight.ravel())
    np.testing.assert_array_equal(shown(found["product"]).ravel(), out.ravel())
    np.testing.assert_array_equal(shown(found["output"]), out)
    copies = ops.col2im_matrix(np.ones_like(matrix), x.shape, kernel, **options)[0, 0]
    np.testing.assert_array_equal(shown(found["input"]), np.pad(copies, padding))
    factor = page.locator(".cw-memory b").inner_text()
    assert factor.startswith(f"{matrix.size} / {x.size} = {round(matrix.size / x.size, 2):g}")


def test_a_window_lights_its_row_by_pointer_and_keyboard(reader: Reader) -> None:
    page = opened(reader)
    found = grids(page)
    box = found["input"].bounding_box()
    cell = box["width"] / 4
    page.mouse.move(box["x"] + cell, box["y"] + cell)  # the middle of the window
    page.mouse.down()
    page.mouse.move(box["x"] + 3 * cell, box["y"] + 2 * cell, steps=4)
    page.mouse.up()
    after_frame(page)
    assert marked(found["matrix"], "cw-line") == [(5, q) for q in range(4)]  # window (1, 2) of 3 x 3
    assert marked(found["output"], "cw-here") == [(1, 2)]
    # Releasing the window has not chosen a pixel.
    assert marked(found["input"], "cw-lit") == [(1, 1)]
    page.locator(".cw-window").first.focus()
    page.keyboard.press("ArrowDown")
    after_frame(page)
    assert {r for r, _ in marked(found["matrix"], "cw-line")} == {8}
    x, weight = arrays(4, 2, 1)
    out = ops.conv2d(x, weight)[0, 0]
    assert page.locator(".cw-sum .cw-ou").inner_text() == f"{out[2, 2]:g}".replace("-", "\u2212")
    np.testing.assert_array_equal(shown(found["product"]).ravel(), out.ravel())


@pytest.mark.parametrize("padding", [0, 1])
def test_an_entry_lights_all_copies_of_its_pixel(reader: Reader, padding: int) -> None:
    page = opened(reader, padding=padding, pixel_row=0, pixel_col=0)
    found = grids(page)
    x, _ = arrays(4, 2, 1)
    places = np.pad(np.arange(1, 17).reshape(1, 1, 4, 4), [(0, 0), (0, 0), *[(padding, padding)] * 2])
    numbered = ops.im2col_matrix(places, 2)  # which pixel stands where; 0 is padding
    entry = (7, 1)
    box = found["matrix"].locator(".cw-row").nth(entry[0]).locator(".cw-cell").nth(entry[1]).bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    after_frame(page)
    copies = [tuple(map(int, place)) for place in np.argwhere(numbered == numbered[entry])]
    assert marked(found["matrix"], "cw-lit") == copies and len(copies) == 4
    assert {r for r, _ in marked(found["matrix"], "cw-line")} == {entry[0]}
    pixel = np.argwhere(places[0, 0] == numbered[entry])[0]
    assert marked(found["input"], "cw-lit") == [tuple(pixel)]
    across = 3 + 2 * padding
    assert marked(found["output"], "cw-lit") == [divmod(r, across) for r, _ in copies]


def test_the_matrix_is_one_stop_with_arrow_keys(reader: Reader) -> None:
    page = opened(reader, "ko")
    matrix = grids(page)["matrix"]
    matrix.focus()
    for key in ("End", "ArrowDown", "ArrowDown", "ArrowLeft"):  # from (0, 3) to (2, 2)
        page.keyboard.press(key)
    after_frame(page)
    x, _ = arrays(4, 2, 1)
    value = ops.im2col_matrix(x, 2)[2, 2]
    active = page.locator(f"#{matrix.get_attribute('aria-activedescendant')}")
    assert active.inner_text() == str(value) and active.get_attribute("role") == "gridcell"
    assert "2행 2열" in active.get_attribute("aria-label")
    assert marked(grids(page)["input"], "cw-lit") == [(1, 2)]
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    assert matrix.evaluate("(node) => node === document.activeElement")


def test_a_pixel_in_no_window(reader: Reader) -> None:
    page = opened(reader, size=5, kernel=2, stride=2)
    found = grids(page)
    found["input"].locator(".cw-row").nth(4).locator(".cw-cell").nth(0).click()
    after_frame(page)
    assert marked(found["input"], "cw-lit") == [(4, 0)]
    assert marked(found["matrix"], "cw-lit") == marked(found["output"], "cw-lit") == []


def test_steps_fill_the_output(reader: Reader) -> None:
    page = opened(reader, size=3)
    found = grids(page)
    x, weight = arrays(3, 2, 1)
    want = ops.conv2d(x, weight).ravel()
    step = page.locator(".cw-controls .cw-buttons button").first
    for done in range(1, 5):
        assert np.count_nonzero(~np.isnan(shown(found["output"]))) == done
        np.testing.assert_array_equal(shown(found["product"]).ravel()[:done], want[:done])
        step.click()
        after_frame(page)
    assert np.count_nonzero(~np.isnan(shown(found["output"]))) == 1  # from the beginning


def test_a_typed_weight_reaches_the_product(reader: Reader) -> None:
    page = opened(reader, row=6, col=6)
    found = grids(page)
    box = found["filter"].locator("input").nth(1)
    box.fill("-3")
    box.press("Enter")
    after_frame(page)
    x, weight = arrays(4, 2, 1)
    weight[0, 0, 0, 1] = -3
    np.testing.assert_array_equal(shown(found["output"]), ops.conv2d(x, weight)[0, 0])


def test_a_wide_matrix_scrolls_in_its_own_box(browser: Browser, root: str) -> None:
    visitor = Reader(browser, root, viewport={"width": 390, "height": 800})
    page = opened(visitor, size=6, kernel=3, channels=2, channel=1, pixel_row=1, pixel_col=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    cell = grids(page)["matrix"].locator(".cw-cell").first.bounding_box()
    assert cell["width"] >= 20 and cell["height"] >= 20
    wide = page.locator(".cw-wide").bounding_box()
    lit = grids(page)["matrix"].locator(".cw-line.cw-lit").bounding_box()
    assert wide["x"] <= lit["x"] and lit["x"] + lit["width"] <= wide["x"] + wide["width"] + 1
    visitor.context.close()
    assert visitor.troubles == []


def test_the_picture_is_drawn_for_every_state() -> None:
    made = Im2colExplorer(size=3, kernel=3, padding=1, channels=2, stride=2)
    assert made.picture().startswith("<svg") and made.picture() != Im2colExplorer().picture()
