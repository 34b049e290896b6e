"""Gradients that flow back: the numbers and the sums written out are those of `cnnlab.ops`."""

import re

import numpy as np
import pytest
from playwright.sync_api import Locator, Page
from reading import Reader
from widget_pages import open_page

from cnnlab import ops
from cnnlab.widgets import BackwardExplorer

MODULE = "backward_explorer"
READER = {"has_touch": True}
NAMES = ["G", "weight", "matrix", "grad_x", "counts", "x", "grad_weight"]
RNG = np.random.default_rng(7)


def opened(visitor: Reader, lang: str = "ja", **state: object) -> Page:
    visitor.page.goto("about:blank")  # or only the part after # would change, which takes a frame
    return open_page(MODULE, visitor, lang, **state)


def grid(page: Page, name: str) -> Locator:
    found = page.locator(".cw-cells")
    assert found.count() == len(NAMES)
    return found.nth(NAMES.index(name))


def cell(box: Locator, row: int, col: int) -> Locator:
    return box.locator(".cw-row").nth(row).locator(".cw-cell").nth(col)


def shown(box: Locator) -> np.ndarray:
    texts = box.evaluate(
        "(box) => [...box.querySelectorAll('.cw-row')].map((row) => [...row.children].map((cell) => "
        "cell.querySelector('input')?.value ?? cell.textContent))"
    )
    return np.array([[float(text.replace("\u2212", "-")) for text in row] for row in texts])


def marked(box: Locator, name: str) -> set[tuple[int, int]]:
    places = box.evaluate(
        "(box, name) => [...box.querySelectorAll('.cw-row')].flatMap((row, r) => [...row.children]"
        ".flatMap((cell, c) => cell.classList.contains(name) ? [[r, c]] : []))",
        name,
    )
    return {tuple(place) for place in places}


def after_frame(page: Page) -> None:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def sum_shown(page: Page) -> tuple[float, float]:
    """What the sum below the grids says, and what its terms give."""
    text = page.locator(".cw-sum").inner_text().replace("\u2212", "-").splitlines()[-1]
    _, terms, total = (part.strip() for part in re.sub(r" *（.*?）", "", text).split("="))
    products = [[float(f.strip("()")) for f in term.split("·")] for term in terms.split(" + ")]
    return float(total), sum(np.prod(factors) for factors in products)


def backward(
    x: np.ndarray, weight: np.ndarray, grad: np.ndarray, **options: int
) -> tuple[np.ndarray, np.ndarray]:
    arrays = (array[None, None].astype(float) for array in (grad, x, weight))
    grad_x, grad_weight, _ = ops.conv2d_backward(*arrays, **options)
    return grad_x[0, 0], grad_weight[0, 0]


def course() -> tuple[np.ndarray, np.ndarray]:
    made = BackwardExplorer()
    return np.array(made.x), np.array(made.weight)


@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "padding"),
    [((4, 4), (3, 3), 1, 0), ((5, 4), (2, 3), 1, 1), ((6, 6), (3, 3), 2, 0), ((5, 6), (3, 2), 2, 1)],
)
def test_gradients_are_those_of_ops(
    reader: Reader, shape: tuple, kernel: tuple, stride: int, padding: int
) -> None:
    x, weight = RNG.integers(-4, 5, shape), RNG.integers(-4, 5, kernel)
    options = {"stride": stride, "padding": padding}
    grad = RNG.integers(-4, 5, ops.conv2d(x[None, None], weight[None, None], **options).shape[2:])
    state = {"x": x, "weight": weight, "grad": grad, **options}
    grad_x, grad_weight = backward(x, weight, grad, **options)
    inner = tuple(slice(padding, padding + size) for size in shape)

    page = opened(reader, "ko", **state)
    np.testing.assert_array_equal(shown(grid(page, "grad_x"))[inner], grad_x)
    np.testing.assert_array_equal(shown(grid(page, "grad_weight")), grad_weight)

    # At the last window, col2im has added everything; one window before, all but the last.
    page = opened(reader, **state, view="col2im", row=6, col=6)
    rows = (grad.reshape(-1, 1) * weight.reshape(1, -1)).astype(np.float64)
    np.testing.assert_array_equal(shown(grid(page, "matrix")), rows)
    np.testing.assert_array_equal(shown(grid(page, "grad_x"))[inner], grad_x)
    counts = ops.col2im_matrix(np.ones_like(rows), (1, 1, *shape), kernel, **options)[0, 0]
    np.testing.assert_array_equal(shown(grid(page, "counts"))[inner], counts)
    before = np.vstack([rows[:-1], 0 * rows[-1:]])
    page = opened(reader, **state, view="col2im", row=grad.shape[0] - 1, col=grad.shape[1] - 2)
    want = ops.col2im_matrix(before, (1, 1, *shape), kernel, **options)[0, 0]
    np.testing.assert_array_equal(shown(grid(page, "grad_x"))[inner], want)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("lang", ["ja", "ko"])
def test_the_sum_of_a_chosen_gradient_is_written_out(reader: Reader, lang: str, padding: int) -> None:
    x, weight = course()
    grad = RNG.integers(1, 5, (2 + 2 * padding, 2 + 2 * padding))
    page = opened(reader, lang, grad=grad, padding=padding)
    grad_x, grad_weight = backward(x, weight, grad, padding=padding)
    box = cell(grid(page, "grad_x"), 1 + padding, 2 + padding).bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    after_frame(page)
    assert page.locator(".cw-sum").inner_text().startswith("grad_x[1, 2] = ")
    assert sum_shown(page) == (grad_x[1, 2], grad_x[1, 2])
    # Lit are those outputs whose windows hold the pixel: through them it moves the loss.
    alone = [
        backward(x, 0 * weight + 1, one_at(grad.shape, place), padding=padding)[0]
        for place in np.ndindex(grad.shape)
    ]
    holding = {place for place, reached in zip(np.ndindex(grad.shape), alone) if reached[1, 2]}
    assert marked(grid(page, "G"), "cw-lit") == holding

    grid(page, "grad_weight").focus()
    page.keyboard.press("ArrowRight")
    after_frame(page)
    assert page.locator(".cw-sum").inner_text().startswith("grad_weight[0, 1] = ")
    assert sum_shown(page) == (grad_weight[0, 1], grad_weight[0, 1])


def one_at(shape: tuple[int, ...], place: tuple[int, ...]) -> np.ndarray:
    grad = np.zeros(shape)
    grad[place] = 1
    return grad


def test_a_gradient_is_dropped_by_pointer_and_keyboard(reader: Reader) -> None:
    x, weight = course()
    page = opened(reader, grad=np.zeros((2, 2), int))
    cell(grid(page, "G"), 0, 1).click()
    after_frame(page)
    grad_x, grad_weight = backward(x, weight, one_at((2, 2), (0, 1)))
    np.testing.assert_array_equal(shown(grid(page, "grad_x")), grad_x)  # a copy of the filter
    np.testing.assert_array_equal(shown(grid(page, "grad_weight")), grad_weight)  # a copy of the window
    np.testing.assert_array_equal(grad_weight, x[0:3, 1:4])
    assert marked(grid(page, "grad_x"), "cw-line") == {(r, c) for r in range(3) for c in range(1, 4)}
    cell(grid(page, "G"), 0, 1).click()  # once more takes it away
    after_frame(page)
    assert not shown(grid(page, "G")).any() and not shown(grid(page, "grad_x")).any()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    after_frame(page)
    np.testing.assert_array_equal(shown(grid(page, "G")), one_at((2, 2), (1, 1)))


def test_a_typed_gradient_counts_and_nonsense_does_not(reader: Reader) -> None:
    x, weight = course()
    page = opened(reader)
    box = page.locator(".cw-drop input[type=text]")
    box.fill("-2.5")
    box.press("Enter")
    after_frame(page)
    grad_x, _ = backward(x, weight, -2.5 * one_at((2, 2), (1, 0)))
    np.testing.assert_array_equal(shown(grid(page, "grad_x")), grad_x)
    box.fill("x")
    box.press("Enter")
    assert box.input_value() == "\u22122.5"
    page.locator(".cw-drop button").last.click()
    after_frame(page)
    assert shown(grid(page, "G"))[1, 0] == -1.5


def test_the_loop_of_the_chapter_is_written_for_the_chosen_output(reader: Reader) -> None:
    """Executed as Python, the two lines give what the output adds to both gradients."""
    x, weight = course()
    for padding, stride in ((0, 1), (1, 1), (1, 2)):
        shape = ops.conv2d(x[None, None], weight[None, None], padding=padding, stride=stride).shape[2:]
        for m, n in np.ndindex(shape):
            grad = 3 * one_at(shape, (m, n)).astype(int)
            page = opened(reader, grad=grad, padding=padding, stride=stride, row=m, col=n)
            lines = page.locator(".cw-sum").inner_text().splitlines()[1:]
            names = {"x": x, "weight": weight, "grad_x": np.zeros(x.shape), "grad_weight": np.zeros((3, 3))}
            exec("\n".join(lines).replace("·", "*").replace("\u2212", "-"), names)
            grad_x, grad_weight = backward(x, weight, grad, padding=padding, stride=stride)
            np.testing.assert_array_equal(names["grad_x"], grad_x)
            np.testing.assert_array_equal(names["grad_weight"], grad_weight)
            if (m, n) == (1, 1):
                break


def test_the_window_leads_to_the_output(reader: Reader) -> None:
    page = opened(reader, grad=np.array([[1, -2], [3, -1]]), alone="true")
    box = grid(page, "x").bounding_box()
    unit = box["width"] / 4
    page.mouse.move(box["x"] + 1.5 * unit, box["y"] + 2.5 * unit)  # in the window at (1, 0)
    page.mouse.down()
    page.mouse.move(box["x"] + 2.5 * unit, box["y"] + 1.5 * unit, steps=4)
    page.mouse.up()
    after_frame(page)
    assert marked(grid(page, "G"), "cw-here") == {(0, 1)}
    x, weight = course()
    grad_x, _ = backward(x, weight, -2 * one_at((2, 2), (0, 1)))
    np.testing.assert_array_equal(shown(grid(page, "grad_x")), grad_x)  # alone: without the others


def test_steps_add_window_after_window(reader: Reader) -> None:
    x, weight = course()
    grad = np.array([[1, -2], [3, -1]])
    page = opened(reader, "ko", grad=grad, view="col2im", row=0, col=0)
    step = page.locator(".cw-controls .cw-buttons button").first
    for done in range(4):
        rows = grad.reshape(-1, 1) * weight.reshape(1, -1) * (np.arange(4) <= done)[:, None]
        want = ops.col2im_matrix(rows, (1, 1, 4, 4), 3)[0, 0]
        np.testing.assert_array_equal(shown(grid(page, "grad_x")), want)
        assert sum_shown(page) == (want[1, 1], want[1, 1])
        assert {r for r, _ in marked(grid(page, "matrix"), "cw-line")} == {done}
        step.click()
        after_frame(page)


def test_pictures_are_those_of_the_chapter_or_the_gradient() -> None:
    states = [{}, {"view": "col2im"}, {"padding": 1}, {"stride": 2, "x": np.ones((6, 6)).tolist()}]
    pictures = [BackwardExplorer(**state).picture() for state in states]
    assert len(set(pictures)) == 4 and all(picture.startswith("<svg") for picture in pictures)
