"""The widget of chapter 04 shows the numbers of `cnnlab.ops`, however it is driven."""

import re
from functools import partial

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from reading import Reader
from widget_pages import open_page

from cnnlab import ops

MODULE = "channel_explorer"


@pytest.fixture(params=["ja", "ko"])
def lang(request: pytest.FixtureRequest) -> str:
    return request.param


opened = partial(open_page, MODULE)


def arrays(page: Page, **sizes: int | bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The images, filters and biases that the widget has made up."""
    made = page.evaluate(
        """async (sizes) => {
          const { example } = await import('./widgets/channel_explorer.mjs');
          return Object.values(example(sizes)).map(({ data, shape }) => ({ data: [...data], shape }));
        }""",
        sizes,
    )
    x, weight, bias = (np.array(part["data"]).reshape(part["shape"]) for part in made)
    return x, weight, bias


def number(text: str) -> int:
    return int(text.replace("\u2212", "-").replace(",", "").strip("()"))


def numbers(page: Page, selector: str) -> list[int]:
    return [number(text) for text in page.locator(selector).all_inner_texts()]


def lit(page: Page, role: str) -> list[list[bool]]:
    """Which sheets are lit, row by row, as the sheets stand on the screen."""
    sheets = page.locator(f".cw-role-{role} .ce-sheet")
    tops = sheets.evaluate_all("nodes => nodes.map((node) => node.transform.baseVal[0].matrix.f)")
    on = sheets.evaluate_all("nodes => nodes.map((node) => node.classList.contains('ce-lit'))")
    return [[one for one, top in zip(on, tops) if top == row] for row in sorted(set(tops))]


def sheet(page: Page, n: int, oc: int, filters: int):
    return page.locator(".ce-sheets [role=radio]").nth(n * filters + oc)


@pytest.mark.parametrize("kind", ["all", "own"])
def test_the_chosen_number_is_that_of_ops(reader: Reader, lang: str, kind: str) -> None:
    own, sizes = kind == "own", {"N": 3, "C": 4, "OC": 4 if kind == "own" else 5, "K": 3, "H": 7}
    fragment = "&".join(f"{MODULE}.{name}={size}" for name, size in sizes.items())
    page = opened(reader, lang, f"#{fragment}&{MODULE}.kind={kind}")
    x, weight, bias = arrays(page, own=own, **sizes)
    assert weight.shape == (sizes["OC"], 1 if own else 4, 3, 3) and len(np.unique(x)) == 4
    out = ops.conv2d(x, weight, bias, groups=4 if own else 1)  # (3, OC, 5, 5)

    n, oc, row, col = 2, 3, 1, 4
    sheet(page, n, oc, sizes["OC"]).click()
    page.locator(".cw-role-output .cw-cell").nth(row * 5 + col).click()
    expect(page.locator(".cw-sum")).to_contain_text(f"out[{n}, {oc}, {row}, {col}]")
    assert numbers(page, ".cw-row-of > .cw-role-output .cw-cell") == out[n, oc].ravel().tolist()

    # Each channel meets the filter's own channel for it.
    seen = [oc] if own else [0, 1, 2, 3]
    windows = x[n, :, row : row + 3, col : col + 3]
    filters = weight[oc]
    assert numbers(page, ".ce-meeting:visible .cw-role-input .cw-cell") == windows[seen].ravel().tolist()
    assert numbers(page, ".ce-meeting:visible .cw-role-filter .cw-cell") == filters.ravel().tolist()
    partial = [
        int(ops.conv2d(windows[c][None, None], filters[k][None, None])[0, 0, 0, 0])
        for k, c in enumerate(seen)
    ]
    assert numbers(page, ".ce-partial:visible") == partial
    assert numbers(page, ".cw-sum b") == partial
    assert number(page.locator(".cw-sum .cw-fi").inner_text().split()[-1]) == bias[oc]
    assert number(page.locator(".cw-sum .cw-ou").inner_text()) == out[n, oc, row, col]

    assert lit(page, "output") == [[(a, b) == (n, oc) for b in range(sizes["OC"])] for a in range(3)]
    assert lit(page, "input") == [[a == n and c in seen for c in range(4)] for a in range(3)]
    one = [True] if own else [True] * 4
    assert lit(page, "filter") == [one if o == oc else [False] * len(one) for o in range(sizes["OC"])]


def test_filters_follow_the_channels_and_all_is_counted(reader: Reader) -> None:
    page = opened(reader, "ja")
    sizes = {"N": 2, "C": 3, "OC": 4, "K": 2, "H": 6}
    for name, key, size in (("C", "ArrowLeft", 2), ("K", "ArrowRight", 3), ("N", "ArrowRight", 3)):
        page.locator(f"input[data-trait={name}]").press(key)
        sizes[name] = size
        x, weight, bias = arrays(page, own=False, **sizes)
        out = ops.conv2d(x, weight, bias)
        shapes = {"input": x.shape, "filter": weight.shape, "output": out.shape}
        for role, shape in shapes.items():
            rows = page.locator(f".cw-role-{role} .ce-sheet")
            expect(rows).to_have_count(shape[0] * shape[1])
            shown = page.locator(f".cw-role-{role} .ce-shape").nth(1)
            expect(shown).to_have_text("(" + ", ".join(map(str, shape)) + ")")
        totals = out.shape[-1], weight.size + bias.size, out.size * weight[0].size
        assert numbers(page, ".ce-total") == list(totals)
        # The letters of the slider in use are marked.
        marked = page.locator(".ce-counts .ce-factor").evaluate_all(
            """nodes => nodes.filter((node) => getComputedStyle(node).backgroundColor !== 'rgba(0, 0, 0, 0)')
            .map((node) => node.textContent).filter((text) => !/\\d/.test(text))"""
        )
        assert name in marked and set(marked) <= {"C", "K", "N", "OH", "OW"}
        assert ("OH" in marked) == (name == "K")


def test_depthwise_has_a_filter_for_each_channel(reader: Reader) -> None:
    page = opened(reader, "ko")
    page.locator("input[value=own]").check()
    expect(page.locator(".cw-role-filter .ce-sheet")).to_have_count(3)
    assert not page.locator("input[data-trait=OC]").is_visible()
    x, weight, bias = arrays(page, N=2, C=3, OC=3, K=2, H=6, own=True)
    out = ops.conv2d(x, weight, bias, groups=3)
    assert numbers(page, ".ce-total")[1:] == [weight.size + bias.size, out.size * weight[0].size]


def test_by_keyboard(reader: Reader, lang: str) -> None:
    page = opened(reader, lang)
    sheet(page, 0, 0, 4).focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
    expect(sheet(page, 1, 1, 4)).to_be_focused()
    assert page.locator(".ce-sheets [role=radio][aria-checked=true]").count() == 1
    assert page.locator(".ce-sheets [role=radio][tabindex='0']").count() == 1
    cells = page.locator(".cw-row-of > .cw-role-output .cw-cells")
    cells.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    expect(page.locator(".cw-sum")).to_contain_text("out[1, 1, 0, 2]")
    x, weight, bias = arrays(page, N=2, C=3, OC=4, K=2, H=6, own=False)
    told = page.locator(f"[id='{cells.get_attribute('aria-activedescendant')}']").get_attribute("aria-label")
    value = ops.conv2d(x, weight, bias)[1, 1, 0, 2]
    assert number(re.findall(r"[\u2212\d]+", told)[-1]) == value


@pytest.mark.parametrize(
    "reader", [{"has_touch": True, "viewport": {"width": 390, "height": 844}}], indirect=True
)
def test_by_touch(reader: Reader, lang: str) -> None:
    page = opened(reader, lang)

    def tap(place) -> None:
        place.scroll_into_view_if_needed()
        box = place.bounding_box()
        assert box["width"] >= 32 and box["height"] >= 32
        page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    tap(sheet(page, 1, 3, 4))
    tap(page.locator(".cw-row-of > .cw-role-output .cw-cell").nth(4 * 5 + 3))
    expect(page.locator(".cw-sum")).to_contain_text("out[1, 3, 4, 3]")
    assert lit(page, "filter") == [[oc == 3] * 3 for oc in range(4)]
    # A tap on an image or a filter chooses it, too.
    page.locator(".cw-role-input .ce-sheet").first.tap()
    page.locator(".cw-role-filter .ce-sheet").first.tap()
    expect(page.locator(".cw-sum")).to_contain_text("out[0, 0, 4, 3]")


@pytest.mark.parametrize("preset", range(4))
def test_examples_show_what_they_say(reader: Reader, preset: int) -> None:
    page = opened(reader, "ja", f"#{MODULE}.n=1&{MODULE}.oc=3&{MODULE}.row=4")
    page.locator(".cw-buttons button").nth(preset).click()
    shape = [(1, 1, 3, 3), (1, 3, 2, 2), (3, 4, 1, 1), (3, 1, 3, 3)][preset]
    expect(page.locator(".cw-role-filter .ce-shape").nth(1)).to_have_text(
        "(" + ", ".join(map(str, shape)) + ")"
    )
    expect(page.locator(".cw-sum")).to_contain_text("out[0, 0, 0, 0]")


def test_example_keeps_its_numbers_where_an_axis_grows(reader: Reader) -> None:
    page = opened(reader, "ja")
    small = arrays(page, N=1, C=2, OC=2, K=2, H=5, own=False)
    large = arrays(page, N=3, C=4, OC=5, K=4, H=9, own=False)
    for a, b in zip(small, large):
        np.testing.assert_array_equal(a, b[tuple(map(slice, a.shape))])


def test_what_the_address_asks_for_may_not_be_there(reader: Reader) -> None:
    asked = (
        f"#{MODULE}.n=3&{MODULE}.oc=4&{MODULE}.row=15&{MODULE}.N=1&{MODULE}.OC=2&{MODULE}.K=5&{MODULE}.H=5"
    )
    page = opened(reader, "ko", asked)
    expect(page.locator(".cw-sum")).to_contain_text("out[0, 1, 0, 0]")
    x, weight, bias = arrays(page, N=1, C=3, OC=2, K=5, H=5, own=False)
    assert number(page.locator(".cw-sum .cw-ou").inner_text()) == ops.conv2d(x, weight, bias)[0, 1, 0, 0]
