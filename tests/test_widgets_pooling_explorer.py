"""The widget of chapter 05 shows the numbers of `cnnlab.ops`, however it is driven."""

import re
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from playwright.sync_api import Page, expect
from reading import Reader
from widget_pages import open_page

from cnnlab import ops

MODULE = "pooling_explorer"
# The feature map of the chapter: to the right by one no output changes, to the left all do.
COURSE = np.array([[7, 1, 2, 0, 5, 2], [3, 0, 4, 1, 3, 1], [6, 2, 8, 3, 2, 1], [0, 1, 5, 0, 4, 0]])
LINE = np.array([[0, 0, 1, 1, 1, 0, 0, 0]] * 4)


@pytest.fixture(params=["ja", "ko"])
def lang(request: pytest.FixtureRequest) -> str:
    return request.param


opened = partial(open_page, MODULE)


def moved(x: np.ndarray, down: int, right: int) -> np.ndarray:
    (H, W), wide = x.shape, np.pad(x, 3)
    return wide[3 - down : 3 - down + H, 3 - right : 3 - right + W]


def pooled(x: np.ndarray, kind: str = "max", K: int = 2, S: int = 2) -> np.ndarray:
    return getattr(ops, f"{kind}_pool2d")(x[None, None].astype(float), K, stride=S)[0, 0]


def floats(texts: list[str]) -> np.ndarray:
    return np.array([float(text.replace("\u2212", "-").rstrip("%")) for text in texts])


def grids(page: Page) -> list[np.ndarray]:
    """The picture, its output, the moved picture, its output."""
    found = []
    for grid in page.locator(".pe-pair .cw-grid").all():
        lines = grid.locator(".cw-row").evaluate_all(
            "rows => rows.map((row) => [...row.children].map((c) => c.firstChild.value ?? c.textContent))"
        )
        found.append(np.array([floats(line) for line in lines]))
    return found


def classed(page: Page, grid: int, name: str) -> np.ndarray:
    """Which cells of one of the four grids have a class."""
    lines = page.locator(".pe-pair .cw-grid").nth(grid).locator(".cw-row")
    return np.array(
        lines.evaluate_all(
            "(rows, name) => rows.map((row) => [...row.children].map((c) => c.classList.contains(name)))",
            name,
        )
    )


def check(page: Page, x: np.ndarray, down: int, right: int, kind: str = "max", K: int = 2, S: int = 2):
    """All that is shown of a picture and its shift."""
    pictures = x, moved(x, down, right)
    outputs = [pooled(picture, kind, K, S) for picture in pictures]
    before, out, after, out_after = grids(page)
    np.testing.assert_array_equal(before, x)
    np.testing.assert_array_equal(after, pictures[1])
    np.testing.assert_allclose([out, out_after], outputs, atol=0.005)
    np.testing.assert_array_equal(classed(page, 2, "pe-changed"), pictures[0] != pictures[1])
    differs = ~np.isclose(*outputs)
    np.testing.assert_array_equal(classed(page, 3, "pe-changed"), differs)
    for grid, picture in zip((0, 2), pictures):
        won = np.zeros(x.size, dtype=bool)
        if kind == "max":
            tensor = torch.tensor(picture.astype(float))[None, None]
            won[F.max_pool2d(tensor, K, S, return_indices=True)[1].ravel().numpy()] = True
        np.testing.assert_array_equal(classed(page, grid, "pe-won"), won.reshape(x.shape))
    compared = [pictures, *([pooled(p, each, K, S) for p in pictures] for each in ("max", "avg"))]
    for row, (a, b) in zip(page.locator(".pe-table tbody tr").all(), compared):
        changed, percent = row.locator("td").all_inner_texts()
        assert changed == f"{(~np.isclose(a, b)).sum()} / {a.size}"
        np.testing.assert_allclose(floats([percent]), 100 * abs(b - a).sum() / abs(a).sum(), atol=0.51)
    return int(differs.sum())


def drawn(page: Page) -> None:
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def press(page: Page, *names: str) -> None:
    arrows = {"left": 0, "up": 1, "down": 2, "right": 3, "back": 4}
    for name in names:
        page.locator(".pe-ways button").nth(arrows[name]).click()
    drawn(page)


def verdict(page: Page) -> str:
    return page.locator(".cw-sum").inner_text()


def test_the_surprise_of_the_chapter(reader: Reader, lang: str) -> None:
    words = {"ja": ("不変", "同変"), "ko": ("불변", "등변")}[lang]
    page = opened(reader, lang)
    assert check(page, COURSE, 0, 0) == 0
    press(page, "right")
    assert check(page, COURSE, 0, 1) == 0 and words[0] in verdict(page)
    press(page, "right")
    assert check(page, COURSE, 0, 2) == 6 and words[1] in verdict(page)
    press(page, "back", "left")
    assert check(page, COURSE, 0, -1) == 6
    assert not any(word in verdict(page) for word in words) and re.findall(r"\d+", verdict(page)) == [
        "6",
        "6",
    ]
    page.locator("input[value=avg]").check()
    check(page, COURSE, 0, -1, "avg")
    press(page, *["down"] * 5)  # goes no further than 3
    check(page, COURSE, 3, -1, "avg")


def test_all_or_nothing_of_a_line(reader: Reader) -> None:
    page = opened(reader, "ja")
    page.locator(".cw-buttons button").nth(1).click()
    press(page, "right")
    assert check(page, LINE, 0, 1) == 0
    assert page.locator(".pe-table td").nth(2).inner_text() == "67%"  # of the input, as in the chapter
    press(page, "left", "left")
    check(page, LINE, 0, -1)
    assert page.locator(".pe-chosen td").nth(1).inner_text() == "100%"


def test_what_has_left_has_not_moved_along(reader: Reader) -> None:
    x = np.array([[0, 0, 0, 4]] * 4)
    page = opened(reader, "ja", x=x, right=1)
    assert check(page, x, 0, 1) == 2
    assert re.findall(r"\d+", verdict(page)) == ["4", "2"]


@pytest.mark.parametrize(("kind", "K", "S"), [("max", 3, 2), ("avg", 3, 1), ("max", 2, 3)])
def test_other_windows(reader: Reader, kind: str, K: int, S: int) -> None:
    x = np.random.default_rng(5).integers(-9, 10, (5, 7))
    state = {"x": ";".join(",".join(map(str, line)) for line in x), "kind": kind, "K": K, "S": S}
    page = opened(reader, "ko", **state, down=1, right=-2, row=1, col=1, overview="true")
    check(page, x, 1, -2, kind, K, S)
    # What no window reaches is grey.
    reached = np.zeros(x.shape, dtype=bool)
    for m, n in np.ndindex(pooled(x, kind, K, S).shape):
        reached[m * S : m * S + K, n * S : n * S + K] = True
    np.testing.assert_array_equal(classed(page, 0, "cw-pad"), ~reached)
    # Both calculations use the numbers of the window, in order, and come to the output.
    for line, picture in zip(page.locator(".cw-body > div > .cw-say").all(), (x, moved(x, 1, -2))):
        window = picture[S : S + K, S : S + K]
        shown = [text.strip("()") for text in line.locator(".cw-in").all_inner_texts()]
        np.testing.assert_array_equal(floats(shown), window.ravel())
        together = window.max() if kind == "max" else window.mean()
        np.testing.assert_allclose(floats([line.locator(".cw-ou").inner_text()]), together, atol=0.005)
        if kind == "max":
            assert floats([line.locator(".pe-won").inner_text()]) == window.max()
    # The map counts for every shift what it changes.
    want = [
        [
            (~np.isclose(pooled(x, kind, K, S), pooled(moved(x, down, right), kind, K, S))).sum()
            for right in range(-3, 4)
        ]
        for down in range(-3, 4)
    ]
    got = page.locator(".cw-role-accent .cw-row").evaluate_all(
        "rows => rows.map((row) => [...row.children].map((cell) => cell.textContent))"
    )
    np.testing.assert_array_equal([floats(line) for line in got], want)


def test_by_keyboard(reader: Reader, lang: str) -> None:
    page = opened(reader, lang)
    page.locator(".pe-pair input").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.type("-5")
    page.keyboard.press("Enter")
    page.locator(".cw-role-accent .cw-cells").focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    page.locator(".cw-window").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    drawn(page)
    assert page.locator(".pe-pair .cw-here").first.inner_text() == "8"
    x = COURSE.copy()
    x[1, 1] = -5
    check(page, x, -1, 2)
    assert page.locator(".cw-window").first.get_attribute("aria-valuenow") == "4"
    live = page.locator(".cw-live")
    expect(live).to_contain_text(re.compile(r"\d"))
    assert verdict(page) in live.inner_text()
    # Only the count of the chosen shift is told.
    told = [text for text in page.locator(".cw-role-accent .cw-cell").all_inner_texts() if text]
    assert told == [str(check(page, x, -1, 2))]


@pytest.mark.parametrize(
    "reader", [{"has_touch": True, "viewport": {"width": 390, "height": 844}}], indirect=True
)
def test_by_touch(reader: Reader, lang: str) -> None:
    page = opened(reader, lang)
    one_down_one_left = page.locator(".cw-role-accent .cw-cell").nth(4 * 7 + 2)
    for place in (one_down_one_left, page.locator(".pe-ways button").nth(2)):
        place.scroll_into_view_if_needed()
        box = place.bounding_box()
        assert box["width"] >= 32 and box["height"] >= 32
        page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    drawn(page)
    check(page, COURSE, 2, -1)
    page.locator(".pe-pair .cw-role-output").nth(1).locator(".cw-cell").nth(5).tap()
    drawn(page)
    assert np.argwhere(classed(page, 1, "cw-here")).tolist() == [[1, 2]]
    # A finger drags the window back over the picture, by its middle.
    page.evaluate(
        """() => {
          const window = document.querySelector('.cw-window');
          window.scrollIntoView({ block: 'center' });
          const cells = window.parentElement.querySelector('.cw-cells');
          const box = cells.getBoundingClientRect();
          const at = (type, row, col) => cells.dispatchEvent(new PointerEvent(type, {
            bubbles: true, pointerId: 7, pointerType: 'touch', isPrimary: true,
            clientX: box.left + (col + .5) * box.width / 6, clientY: box.top + (row + .5) * box.height / 4,
          }));
          cells.parentElement.setPointerCapture = () => {};
          at('pointerdown', 2, 4);
          at('pointermove', 0, 2);
          at('pointerup', 0, 2);
        }"""
    )
    drawn(page)
    assert np.argwhere(classed(page, 3, "cw-here")).tolist() == [[0, 1]]
