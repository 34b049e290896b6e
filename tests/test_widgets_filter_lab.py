"""Filters on pictures: what is drawn and written is what `cnnlab.ops` computes, and pictures stay at home."""

import base64
import io
import re
from functools import partial

import numpy as np
import pytest
import traitlets
from PIL import Image
from playwright.sync_api import Browser, Page, expect
from reading import Reader
from widget_pages import drawn, open_page, written

from cnnlab import figures, ops
from cnnlab.widgets import FilterLab

MODULE = "filter_lab"
READER = {"has_touch": True}
CAMERA = """() => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 48 });
  const context = canvas.getContext('2d');
  window.shade = 255;
  setInterval(() => {
    context.fillStyle = `rgb(${shade} ${shade} ${shade})`;
    context.fillRect(0, 0, 64, 48);
  }, 20);
  navigator.mediaDevices.getUserMedia = async () => (window.filmed = canvas.captureStream(30));
}"""
REFUSED = """() => {
  navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError'));
}"""
each_language = pytest.mark.parametrize("lang", ["ja", "ko"])


opened = partial(open_page, MODULE)


def screen(page: Page, number: int) -> np.ndarray:
    """The bytes of the original (0) or the result (1): (192, 192, 3)."""
    drawn(page)
    address = page.locator(".fl-holder canvas").nth(number).evaluate("(canvas) => canvas.toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGB"))


def original(page: Page) -> np.ndarray:
    """The numbers behind it: they are hundredths, so the bytes tell them."""
    return (screen(page, 0)[:, :, 0] / 255).round(2)


def weight(page: Page) -> np.ndarray:
    shown = page.locator(".cw-role-filter input").evaluate_all("all => all.map((one) => one.value)")
    return np.array([float(text.replace("\u2212", "-")) for text in shown]).reshape(
        2 * [int(len(shown) ** 0.5)]
    )


def filtered(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return ops.conv2d(x[None, None], w[None, None], padding=len(w) // 2)[0, 0]


def value(page: Page) -> float:
    return float(page.locator(".fl-numbers .cw-role-output .cw-cell").inner_text().replace("\u2212", "-"))


def pixel(page: Page) -> list[int]:
    """Row and column that are written before the products."""
    drawn(page)
    return [int(text) for text in re.findall(r"\d+", page.locator(".cw-sum").inner_text())[:2]]


def test_the_photograph_is_that_of_the_figures(reader: Reader) -> None:
    shown = original(opened(reader))
    assert np.abs(shown - figures.photo()).mean() < 0.02
    assert np.corrcoef(shown.ravel(), figures.photo().ravel())[0, 1] > 0.995


@pytest.mark.parametrize(("lang", "size"), [("ja", 3), ("ko", 5)])
def test_results_are_those_of_ops(reader: Reader, lang: str, size: int) -> None:
    page = opened(reader, lang, source="pattern")
    x = original(page)
    assert len(np.unique(x)) > 50
    page.get_by_role("button", name=f"{size}×{size}").click()
    presets = page.locator(".cw-buttons").nth(1).get_by_role("button").all()
    assert len(presets) == 9
    for button in presets:
        button.click()
        result, w = screen(page, 1).astype(int), weight(page)
        assert w.shape == (size, size)
        if np.allclose(w, w[0, 0]):  # blur: what is shown is rounded
            w = np.full(w.shape, 1 / w.size)
        want = filtered(x, w)
        if page.locator("input[value=gray]").is_checked():
            assert np.abs(result[:, :, 0] - 255 * want.clip(0, 1)).max() <= 1
        else:  # orange above zero, blue below, white at zero
            most = np.abs(want).max()
            assert (result[:, :, 0] > result[:, :, 2])[want > 0.05 * most].all()
            assert (result[:, :, 0] < result[:, :, 2])[want < -0.05 * most].all()
            assert (result[np.abs(want) < 1e-6] == 255).all() and (np.abs(want) < 1e-6).any()
        row, col = pixel(page)
        assert abs(value(page) - want[row, col]) <= 0.0051


@each_language
def test_mouse_finger_and_keys_point_at_pixels(reader: Reader, lang: str) -> None:
    page = opened(reader, lang, weight="0,-1,0;-1,4.5,-1;0,-1,0")
    x, w = original(page), weight(page)
    want = filtered(x, w)

    def agrees(row: int, col: int) -> None:
        assert pixel(page) == [row, col]
        cells = page.locator(".fl-numbers .cw-role-input .cw-cell").all_inner_texts()
        patch = np.array(cells, dtype=float).reshape(3, 3)
        assert np.array_equal(patch, np.pad(x, 1)[row : row + 3, col : col + 3])
        assert abs(value(page) - (patch * w).sum()) <= 0.0051 and abs(value(page) - want[row, col]) <= 0.0051

    def point(number: int, row: int, col: int) -> tuple[float, float]:
        box = page.locator(".fl-holder canvas").nth(number).bounding_box()
        return box["x"] + (col + 0.5) * box["width"] / 192, box["y"] + (row + 0.5) * box["height"] / 192

    agrees(91, 148)
    page.mouse.move(*point(0, 30, 96))  # hovering shows, leaving goes back
    agrees(30, 96)
    page.mouse.move(1, 1)
    agrees(91, 148)
    page.mouse.move(*point(1, 60, 60))
    page.mouse.down()
    page.mouse.move(*point(1, 100, 50), steps=4)
    page.mouse.up()
    page.mouse.move(1, 1)
    agrees(100, 50)
    page.touchscreen.tap(*point(0, 0, 191))
    agrees(0, 191)  # what lies outside counts as 0
    page.keyboard.press("ArrowDown")  # the picture has the focus now
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("ArrowRight")
    agrees(1, 182)


def test_a_weight_is_typed_or_slid_and_the_sum_follows(reader: Reader) -> None:
    page = opened(reader, "ko", weight="0,0,0;0,1,0;0,0,0")
    cell = page.locator(".cw-role-filter input").nth(5)
    cell.fill("-2.5")
    cell.press("Enter")
    slider = page.locator(".fl-range input")
    expect(slider).to_have_value("0")  # Enter has led to the cell below, at row 2, column 2
    slider.focus()
    page.keyboard.press("End")
    drawn(page)
    w = np.array([[0, 0, 0], [0, 1, -2.5], [0, 0, 5]])
    assert np.array_equal(weight(page), w)
    assert page.locator(".cw-say b").inner_text() == "3.5"
    page.get_by_role("button", name="합을 1로").click()
    drawn(page)
    assert np.allclose(weight(page), w / 3.5, atol=0.0051) and page.locator(".cw-say b").inner_text() == "1"
    page.get_by_role("button", name="부호를 반대로").click()
    page.get_by_role("button", name="행과 열 바꾸기").click()
    page.get_by_role("button", name="5×5").click()
    drawn(page)
    grown = np.pad(-w.T / 3.5, 1)
    assert np.allclose(weight(page), grown, atol=0.0051)
    x = original(page)
    row, col = pixel(page)
    assert abs(value(page) - filtered(x, grown)[row, col]) <= 0.0051
    page.get_by_role("button", name="3×3").click()
    drawn(page)
    assert np.allclose(weight(page), -w.T / 3.5, atol=0.0051)


def test_an_own_file_stays_in_the_page(reader: Reader) -> None:
    page = opened(reader)
    data = io.BytesIO()
    picture = np.zeros((100, 300, 3), dtype=np.uint8)
    picture[:, 150:] = (255, 0, 0)
    Image.fromarray(picture).save(data, "PNG")
    sent = []
    page.on("request", lambda request: sent.append(request.url.split(":")[0]))
    page.locator("input[type=file]").set_input_files(
        {"name": "mine.png", "mimeType": "image/png", "buffer": data.getvalue()}
    )
    expect(page.locator("button[aria-pressed=true]").first).to_have_text("自分の画像…")
    x = original(page)
    assert (x[:, :95] == 0).all() and (x[:, 97:] == 0.3).all()  # the middle third, red as gray
    assert "own" not in written(page)
    assert set(sent) <= {"blob"}
    page.locator("input[type=file]").set_input_files(
        {"name": "mine.png", "mimeType": "image/png", "buffer": b"nothing"}
    )
    expect(page.locator(".cw-warn")).to_contain_text("画像として読めません")
    page.locator(".cw-tools button").first.click()
    assert np.abs(original(page) - figures.photo()).mean() < 0.02


def test_the_camera_runs_until_it_is_stopped(reader: Reader) -> None:
    page = opened(reader)
    page.evaluate(CAMERA)
    page.get_by_role("button", name="カメラ", exact=True).click()
    stop = page.get_by_role("button", name="カメラを止める")
    stop.wait_for()
    for shade in (0, 204):
        page.evaluate(f"shade = {shade}")
        for _ in range(100):  # until a frame of that shade comes
            if filmed := np.abs(original(page) - shade / 255).max() < 0.03:
                break
        assert filmed
    stop.click()
    assert page.evaluate("filmed.getTracks().every((track) => track.readyState === 'ended')")
    page.evaluate("shade = 0")
    page.wait_for_timeout(250)
    assert np.abs(original(page) - 0.8).max() < 0.03  # what was seen last stays
    page.get_by_role("button", name="カメラ", exact=True).click()
    stop.wait_for()
    page.get_by_role("button", name="写真").click()
    drawn(page)
    assert page.evaluate("filmed.getTracks().every((track) => track.readyState === 'ended')")


def test_a_refused_camera_is_said_and_a_missing_one_has_no_button(browser: Browser, root: str) -> None:
    visitor = Reader(browser, root)
    page = opened(visitor, "ko")
    page.evaluate(REFUSED)
    page.get_by_role("button", name="카메라").click()
    expect(page.locator(".cw-warn")).to_contain_text("허용되지 않았습니다")
    assert np.abs(original(page) - figures.photo()).mean() < 0.02
    page.add_init_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined });")
    page.reload()
    page.wait_for_selector(".cw-host[data-ready]")
    assert page.get_by_role("button", name="카메라").count() == 0
    visitor.context.close()
    assert visitor.troubles == []


def test_python_checks_the_filter_and_has_no_pictures() -> None:
    lab = FilterLab(weight=np.eye(5))
    assert "<svg" in lab.picture() and lab.spec["own"]["link"] is False
    for rows in (np.zeros((4, 4)), np.zeros((3, 5))):
        with pytest.raises(traitlets.TraitError, match="wanted 3 x 3 or 5 x 5"):
            lab.weight = rows
