"""The window over numbers, by pointer, finger and keyboard: what it shows is what `cnnlab.ops` computes."""

import re
from functools import partial

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from reading import Reader
from widget_pages import open_page

from cnnlab import ops, widgets

MODULE = "conv_explorer"
READER = {"has_touch": True}
X, W = (np.array(getattr(widgets.ConvExplorer(), name)) for name in ("x", "weight"))
each_language = pytest.mark.parametrize("lang", ["ja", "ko"])


opened = partial(open_page, MODULE)


def sum_of(page: Page) -> tuple[float, float]:
    """What the written products come to, and the result beside them."""
    text = page.locator(".cw-sum").inner_text().replace("\u2212", "-")
    products, result = text.split("=")
    terms = [re.sub(r"[()]", "", term).split("·") for term in products.split(" + ")]
    return sum(float(np.prod([float(part) for part in term])) for term in terms), float(result)


def conv(x: np.ndarray, w: np.ndarray, bias: float = 0) -> np.ndarray:
    return ops.conv2d(x[None, None].astype(float), w[None, None].astype(float), np.array([float(bias)]))[0, 0]


@each_language
def test_keyboard_goes_to_every_place(reader: Reader, lang: str) -> None:
    page = opened(reader, lang)
    want = conv(X, W)
    page.locator(".cw-window").focus()
    for key, place in (
        ("Home", (0, 0)),
        ("ArrowRight", (0, 1)),
        ("ArrowDown", (1, 1)),
        ("ArrowLeft", (1, 0)),
    ):
        page.keyboard.press(key)
        expect(page.locator(".cw-ou")).to_have_text(f"{want[place]:g}")
        assert sum_of(page) == (want[place], want[place])
        spoken = page.locator(".cw-window").get_attribute("aria-valuetext")
        assert re.findall(r"\d+", spoken) == [*map(str, place), f"{want[place]:g}"]
    page.keyboard.press("ArrowLeft")  # the edge holds
    assert sum_of(page)[1] == want[1, 0]


@each_language
def test_pointer_drags_the_window_and_picks_an_output(reader: Reader, lang: str) -> None:
    page = opened(reader, lang)
    want = conv(X, W)
    box = page.locator(".cw-role-input .cw-cells").bounding_box()
    cell = box["width"] / 4
    page.mouse.move(box["x"] + 1.5 * cell, box["y"] + 1.5 * cell)
    page.mouse.down()
    page.mouse.move(box["x"] + 2.5 * cell, box["y"] + 2.5 * cell, steps=8)
    page.mouse.up()
    expect(page.locator(".cw-ou")).to_have_text(f"{want[1, 1]:g}")
    page.locator(".cw-role-output .cw-cell").nth(1).click()
    expect(page.locator(".cw-ou")).to_have_text(f"{want[0, 1]:g}")


@each_language
def test_a_finger_does_the_same(reader: Reader, lang: str) -> None:
    page = opened(reader, lang)
    box = page.locator(".cw-role-output .cw-cells").bounding_box()
    page.touchscreen.tap(box["x"] + 0.75 * box["width"], box["y"] + 0.75 * box["height"])
    expect(page.locator(".cw-ou")).to_have_text(f"{conv(X, W)[1, 1]:g}")
    page.locator(".cw-role-input .cw-cell").first.tap()
    page.keyboard.type("5")
    page.keyboard.press("Enter")
    changed = X.copy()
    changed[0, 0] = 5
    page.touchscreen.tap(box["x"] + 0.25 * box["width"], box["y"] + 0.25 * box["height"])
    expect(page.locator(".cw-ou")).to_have_text(f"{conv(changed, W)[0, 0]:g}")


@each_language
def test_cells_bias_and_flip(reader: Reader, lang: str) -> None:
    page = opened(reader, lang)
    weight = page.locator(".cw-role-filter input")
    weight.first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.type("-1.5")
    page.keyboard.press("Enter")
    changed = W.astype(float)
    changed[1, 1] = -1.5
    bias = page.locator('[data-trait="bias"]')
    bias.fill("\u22122")
    bias.press("Enter")
    page.locator('[data-trait="flip"]').check()
    want = conv(X, changed[::-1, ::-1], -2)[0, 0]
    expect(page.locator(".cw-ou")).to_have_text(f"{want:g}".replace("-", "\u2212"))
    assert sum_of(page) == (want, want)
    weight.nth(1).fill("3")  # what is typed goes where it is seen, also into the filter that is turned round
    weight.nth(1).press("Enter")
    changed[2, 1] = 3
    want = conv(X, changed[::-1, ::-1], -2)[0, 0]
    expect(page.locator(".cw-ou")).to_have_text(f"{want:g}".replace("-", "\u2212"))
    assert sum_of(page) == (want, want)
    expect(weight.nth(1)).to_have_value("3")
    page.locator('[data-trait="flip"]').uncheck()
    expect(weight.nth(7)).to_have_value("3")


@each_language
def test_what_is_no_number_is_put_back_and_said(reader: Reader, lang: str) -> None:
    page = opened(reader, lang)
    cell = page.locator(".cw-role-filter input").first
    cell.fill("abc")
    cell.press("Enter")
    expect(cell).to_have_value("1")
    expect(page.locator(".cw-live")).to_contain_text("abc")


@each_language
def test_steps_and_play_end_at_the_last_place(reader: Reader, lang: str) -> None:
    page = opened(reader, lang)
    step, play = page.locator(".cw-buttons button").nth(0), page.locator(".cw-buttons button").nth(1)
    step.click()
    expect(page.locator(".cw-window")).to_have_attribute("aria-valuenow", "1")
    before = play.inner_text()
    play.click()
    expect(play).not_to_have_text(before)
    expect(page.locator(".cw-window")).to_have_attribute("aria-valuenow", "3")
    expect(play).to_have_text(before)
