"""The network that reads drawn digits: torch computes the same, MNIST's digits are read through the canvas,
and what stands on the page is what torch says of the picture there."""

import base64
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import traitlets
from playwright.sync_api import Browser, Page
from reading import Reader
from sklearn.datasets import load_digits
from widget_pages import open_page, written

from cnnlab import data, i18n
from cnnlab.widgets import DigitCanvas
from cnnlab.widgets.digit_canvas import SHAPES
from cnnlab.widgets.widget import source

ROOT = Path(__file__).parents[1]
each_language = pytest.mark.parametrize("lang", ["ja", "ko"])
# Whether MNIST is there. Without it, scikit-learn's digits, enlarged, take its place.
HAS_MNIST = all((data.data_folder() / "MNIST" / "raw" / name).exists() for name in data.MNIST_FILES)
SOURCE = "all of MNIST's test images" if HAS_MNIST else "scikit-learn's digits"


def script() -> Any:
    spec = importlib.util.spec_from_file_location("train_digit_network", ROOT / "book/train_digit_network.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


network = script()
NETWORK = network.read()
SAMPLES = re.findall(r'^  "([0-9a-g]{64})",$', source("digit_canvas.mjs"), re.M)


def unseen() -> data.ImageData:
    """Images that the network was not trained with."""
    if HAS_MNIST:
        return data.mnist(download=False)[1]
    learn, test = data.digits()
    images, labels = ([getattr(part, name) for part in (learn, test)] for name in ("images", "labels"))
    return data.ImageData("digits", np.concatenate(images), np.concatenate(labels))


@pytest.fixture(scope="module", autouse=True)
def images(widget_folder: Path) -> None:
    (widget_folder / "images.bin").write_bytes(unseen().images.tobytes())


def opened(visitor: Reader, lang: str = "ja", **state: object) -> Page:
    page = open_page("digit_canvas", visitor, lang, **state)
    for name in ("digit_reader", "core"):
        page.evaluate("async (name) => { window[name] = await import(`./widgets/${name}.mjs`); }", name)
    return page


def answered(page: Page, digit: int) -> None:
    page.wait_for_function(
        """(digit) => document.querySelector(".cw-best b")?.textContent === digit
          && document.querySelector(".cw-answer").textContent.includes(digit)""",
        arg=str(digit),
    )


def picture_on(page: Page) -> torch.Tensor:
    """The 28x28 numbers that the network gets for what is drawn: (1, 1, 28, 28)."""
    drawing = page.evaluate("new URLSearchParams(location.hash.slice(1)).get('digit_canvas.drawing')")
    text = DigitCanvas().drawing if drawing is None else drawing
    return torch.tensor(
        page.evaluate("(text) => [...digit_reader.prepared(digit_reader.inked(text)).data]", text)
    ).reshape(1, 1, 28, 28)


# ---------------------------------------------------------------- numbers


@pytest.mark.parametrize("images_of", [SOURCE])
def test_scores_are_those_of_torch(reader: Reader, images_of: str) -> None:
    """The same whole numbers as weights, all images, in batches: the scores differ by less than 1e-3."""
    images = unseen()
    page = opened(reader)
    encoded = page.evaluate(
        """async (count) => {
          const pixels = new Uint8Array(await (await fetch("images.bin")).arrayBuffer());
          const scores = new Float32Array(10 * count);
          for (let n = 0; n < count; n += 250) {
            const N = Math.min(250, count - n);
            const images = Float32Array.from(pixels.subarray(784 * n, 784 * (n + N)), (v) => v / 255);
            scores.set(digit_reader.forward(core.tensor([N, 1, 28, 28], images)).logits.data, 10 * n);
          }
          let text = "";
          for (const byte of new Uint8Array(scores.buffer)) text += String.fromCharCode(byte);
          return btoa(text);
        }""",
        len(images),
    )
    found = np.frombuffer(base64.b64decode(encoded), dtype=np.float32).reshape(-1, 10)
    with torch.no_grad():
        wanted = network.logits(NETWORK, torch.tensor(images.images) / 255).numpy()
    assert found.shape == wanted.shape == (len(images), 10)
    assert np.abs(found - wanted).max() < 1e-3
    assert (found.argmax(1) == images.labels).mean() >= (0.99 if HAS_MNIST else 0.9), images_of


@pytest.mark.parametrize("images_of", [SOURCE.replace("all", "500")])
def test_digits_are_read_through_the_canvas(reader: Reader, images_of: str) -> None:
    """Pictures as a drawing, four times as large, and back to 28x28: at least 97 % are right."""
    images = unseen()[:500]
    page = opened(reader)
    texts = [DigitCanvas.text_of(image) for image in images.images]
    answers = page.evaluate(
        """(texts) => texts.map((text) => {
          const { data } = digit_reader.forward(digit_reader.prepared(digit_reader.inked(text))).logits;
          return data.indexOf(Math.max(...data));
        })""",
        texts,
    )
    assert np.mean(np.array(answers) == images.labels) >= (0.97 if HAS_MNIST else 0.95), images_of


def test_a_picture_of_mnist_comes_back_nearly_as_it_was(reader: Reader) -> None:
    page = opened(reader)
    image = unseen().images[0, 0] / 255
    text = DigitCanvas.text_of(image)
    found = np.array(
        page.evaluate("(text) => [...digit_reader.prepared(digit_reader.inked(text)).data]", text)
    )
    found = found.reshape(28, 28)
    rows, cols = np.nonzero(found > 0.2)
    assert 18 <= max(np.ptp(rows), np.ptp(cols)) + 1 <= 20
    centre = [(found.sum(axis) * (np.arange(28) + 0.5)).sum() / found.sum() for axis in (1, 0)]
    np.testing.assert_allclose(centre, 14.5, atol=0.05)
    assert np.corrcoef(found.ravel(), image.ravel())[0, 1] > 0.85


def test_size_and_place_of_a_drawing_do_not_matter(reader: Reader) -> None:
    """Half as large, and in a corner: nearly the same 28x28."""
    page = opened(reader)
    large, small = page.evaluate(
        """() => [1, 2].map((part) => {
          const strokes = [[[16, 16], [46, 14], [30, 54]], [[22, 34], [44, 34]]];
          const written = ([col, row]) => digit_reader.point([col / part, row / part]);
          const text = strokes.map((stroke) => "~" + stroke.map(written).join("")).join("");
          return [...digit_reader.prepared(digit_reader.inked(text)).data];
        })"""
    )
    assert np.corrcoef(large, small)[0, 1] > 0.97


def test_saliency_and_occlusion_are_those_of_torch(reader: Reader) -> None:
    page = opened(reader)
    x = picture_on(page).requires_grad_()
    (wanted,) = torch.autograd.grad(network.logits(NETWORK, x)[0, 7], x)
    found = page.evaluate(
        """(text) => {
          const x = digit_reader.prepared(digit_reader.inked(text));
          const saliency = [...digit_reader.gradient(digit_reader.forward(x), 7).data];
          return { saliency, covered: [3, 8].map((row) => digit_reader.covered(x, row, 0.5, 7)) };
        }""",
        DigitCanvas().drawing,
    )
    np.testing.assert_allclose(found["saliency"], wanted.ravel(), atol=2e-4)
    for row, values in zip((3, 8), found["covered"]):
        for col in range(22):
            hidden = x.detach().clone()
            hidden[..., row : row + 7, col : col + 7] = 0.5
            with torch.no_grad():
                probability = F.softmax(network.logits(NETWORK, hidden), 1)[0, 7]
            assert abs(values[col] - probability) < 1e-4


def test_samples_are_digits_of_scikit_learn() -> None:
    bunch = load_digits()
    known = {
        "".join("0123456789abcdefg"[int(v)] for v in image.ravel()): int(label)
        for image, label in zip(bunch.images, bunch.target)
    }
    assert [known[sample] for sample in SAMPLES] == list(range(10))


def test_the_figure_has_the_parameters_of_the_network() -> None:
    sizes = [weight.numel() + bias.numel() for weight, bias in network.unpacked(NETWORK)]
    assert [shape[2] for shape in SHAPES if len(shape) > 2] == sizes and sum(sizes) <= 60_000


# ---------------------------------------------------------------- the page


STROKES = {  # columns and rows from 0 to 1
    0: [[(0.5, 0.15), (0.3, 0.3), (0.28, 0.6), (0.45, 0.85), (0.65, 0.75), (0.7, 0.4), (0.5, 0.15)]],
    1: [[(0.52, 0.12), (0.5, 0.88)]],
    2: [[(0.3, 0.3), (0.45, 0.15), (0.65, 0.25), (0.62, 0.45), (0.3, 0.85), (0.7, 0.83)]],
    4: [[(0.4, 0.12), (0.28, 0.55), (0.72, 0.55)], [(0.62, 0.15), (0.6, 0.9)]],
    5: [[(0.68, 0.15), (0.38, 0.15), (0.35, 0.45), (0.6, 0.45), (0.68, 0.65), (0.52, 0.85), (0.3, 0.78)]],
    7: [[(0.28, 0.18), (0.7, 0.18), (0.45, 0.88)]],
    8: [
        [
            (0.65, 0.25),
            (0.5, 0.13),
            (0.38, 0.28),
            (0.62, 0.65),
            (0.5, 0.87),
            (0.37, 0.7),
            (0.55, 0.45),
            (0.65, 0.25),
        ]
    ],
}


def test_drawn_with_the_mouse(reader: Reader) -> None:
    """The first stroke replaces the example; the address brings a drawing back; `undo` takes one back."""
    page = opened(reader)
    pad = page.locator(".cw-pad canvas")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    clear = page.locator(".cw-draw button").first
    for digit, strokes in STROKES.items():
        for stroke in strokes:
            for k, (x, y) in enumerate(stroke):
                page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=4)
                if k == 0:
                    page.mouse.down()
            page.mouse.up()
        answered(page, digit)
        if digit != 8:
            clear.click()
            page.wait_for_function("!document.querySelector('.cw-best')")
    address = written(page)
    assert "digit_canvas.drawing=" in address and len(address) < 400
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector(".cw-host[data-ready]")
    answered(page, 8)
    page.locator(".cw-draw button").nth(1).click()  # the one stroke
    page.wait_for_function("!document.querySelector('.cw-best')")


@each_language
def test_drawn_with_a_finger(browser: Browser, root: str, lang: str) -> None:
    visitor = Reader(browser, root, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)
    page = opened(visitor, lang)
    page.locator(".cw-draw button").first.tap()
    page.wait_for_function("!document.querySelector('.cw-best')")
    pad = page.locator(".cw-pad canvas")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    before = page.evaluate("scrollY")
    finger = visitor.context.new_cdp_session(page)
    for stroke in STROKES[4]:
        for kind, (x, y) in zip(["touchStart", *["touchMove"] * 9], stroke):
            point = {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}
            finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [point]})
        finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    answered(page, 4)
    assert page.evaluate("scrollY") == before, "drawing does not scroll the page"
    page.locator(".cw-samples button").nth(5).tap()
    answered(page, 5)
    visitor.context.close()
    assert visitor.troubles == []


@each_language
def test_drawn_with_the_keyboard(reader: Reader, lang: str) -> None:
    """A 1: pen down, ten steps down, pen up. All that happens is told."""
    page = opened(reader, lang)
    page.locator(".cw-pad canvas").focus()
    for key in ["ArrowUp"] * 10 + ["Space"] + ["ArrowDown"] * 20 + ["Space"]:
        page.keyboard.press(key)
    answered(page, 1)
    words = i18n.catalogue(lang)
    said = words["widgets.digit_canvas.answer"].split("{probability}")[0].format(digit=1)
    up = words["widgets.digit_canvas.pen_up"]
    page.wait_for_function(
        "([a, b]) => [a, b].some((text) => document.querySelector('.cw-live').textContent.startsWith(text))",
        arg=[said, up],
    )
    page.keyboard.press("Backspace")
    page.wait_for_function("!document.querySelector('.cw-best')")
    assert page.locator(".cw-answer").inner_text() == words["widgets.digit_canvas.nothing"]


def test_every_sample_is_read(reader: Reader) -> None:
    page = opened(reader)
    for digit in range(10):
        page.locator(".cw-samples button").nth(digit).focus()
        page.keyboard.press("Enter")
        answered(page, digit)
    bars = page.locator(".cw-bars .cw-number").all_inner_texts()
    with torch.no_grad():
        page.wait_for_function(f"location.hash.includes('{SAMPLES[9]}')")
        wanted = F.softmax(network.logits(NETWORK, picture_on(page)), 1)[0]
    np.testing.assert_allclose([float(text) for text in bars], wanted, atol=0.0006)


def numbers(page: Page, role: str) -> np.ndarray:
    """What stands in one of the three grids of numbers."""
    rows = page.evaluate(
        """(role) => [...document.querySelectorAll(`.cw-why .cw-role-${role} [role=table] [role=row]`)]
          .map((row) => [...row.children].map((cell) => Number(cell.textContent.replace("\\u2212", "-"))))""",
        role,
    )
    return np.array(rows)


def test_a_unit_gives_its_reasons(reader: Reader) -> None:
    """By keyboard to one unit of the second convolution: its window, weights and sums are torch's."""
    page = opened(reader)
    first = page.locator("[role=radiogroup]").nth(2).locator("button").first
    first.focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function(
        "document.querySelectorAll('[role=radiogroup]')[2].children[5].ariaChecked === 'true'"
    )
    window = page.locator(".cw-why .cw-window[role=slider]")
    window.focus()
    page.keyboard.press("Home")
    for key in ["ArrowDown"] * 5 + ["ArrowRight"] * 8:
        page.keyboard.press(key)
    page.locator(".cw-parts button").nth(3).click()
    page.wait_for_function("document.querySelectorAll('.cw-parts button')[3].ariaPressed === 'true'")
    one, two = network.unpacked(NETWORK)[:2]
    with torch.no_grad():
        below = F.max_pool2d(F.relu(F.conv2d(picture_on(page), *one, padding=2)), 2)
        total = F.conv2d(below, two[0], padding=1)[0, 5, 5, 8].item()
        unit = F.relu(F.conv2d(below, *two, padding=1))[0, 5, 5, 8].item()
    patch, weight = below[0, 3, 4:7, 7:10].numpy(), two[0][5, 3].numpy()
    np.testing.assert_allclose(numbers(page, "input"), patch, atol=0.006)
    np.testing.assert_allclose(numbers(page, "filter"), weight, atol=0.006)
    np.testing.assert_allclose(numbers(page, "output"), patch * weight, atol=0.006)
    told = i18n.catalogue("ja")["widgets.digit_canvas.sum_many"]
    pieces = re.split(r"\{(\w+)\}", told)
    pieces = [f"(?P<{piece}>[\u2212\\d.]+)" if k % 2 else re.escape(piece) for k, piece in enumerate(pieces)]
    found = re.fullmatch("".join(pieces), page.locator(".cw-sum").inner_text())
    values = {key: float(text.replace("\u2212", "-")) for key, text in found.groupdict().items()}
    wanted = {"channel": 3, "count": 8, "part": (patch * weight).sum(), "total": total}
    wanted |= {"bias": two[1][5].item(), "sum": total + two[1][5].item(), "value": unit}
    assert values == pytest.approx(wanted, abs=0.006)


def test_a_bar_gives_its_reasons(reader: Reader) -> None:
    page = opened(reader)
    page.locator(".cw-bars button").nth(7).click()
    page.wait_for_function("document.querySelectorAll('.cw-parts button').length === 24")
    parts_of = [
        float(text.replace("\u2212", "-")) for text in page.locator(".cw-parts button span").all_inner_texts()
    ]
    first, second, third, last = network.unpacked(NETWORK)
    with torch.no_grad():
        x = F.max_pool2d(F.relu(F.conv2d(picture_on(page), *first, padding=2)), 2)
        x = F.relu(F.conv2d(F.max_pool2d(F.relu(F.conv2d(x, *second, padding=1)), 2), *third))[0]
    wanted = (x.flatten(1) * last[0][7].reshape(24, 25)).sum(1)
    np.testing.assert_allclose(parts_of, wanted, atol=0.006)
    # What the page says of the digit that is there at first.
    for_three = (x.flatten(1) * last[0][3].reshape(24, 25)).sum(1)
    first, second = for_three.argsort()[:2].tolist()
    for lang, words in (("ja", "特徴マップ{}（−{:.2f}）"), ("ko", "특징 맵 {}(−{:.2f})")):
        chapter = (ROOT / f"notebooks/{lang}/draw_digit.ipynb").read_text("utf-8")
        for map_ in (first, second):
            assert words.format(map_, -for_three[map_].item()) in chapter


@each_language
def test_occlusion_says_where_it_hurts_most(reader: Reader, lang: str) -> None:
    page = opened(reader, lang, view="occlusion")
    x = picture_on(page)
    hidden = x.repeat(22 * 22, 1, 1, 1)
    for n in range(22 * 22):
        i, j = divmod(n, 22)
        hidden[n, :, i : i + 7, j : j + 7] = 0
    with torch.no_grad():
        after = F.softmax(network.logits(NETWORK, hidden), 1)[:, 7]
    row, col = divmod(int(after.argmin()), 22)
    told = i18n.catalogue(lang)["widgets.digit_canvas.occlusion_read"]
    before = page.locator(".cw-bars .cw-number").nth(7).inner_text()
    said = told.format(
        digit=7,
        size=7,
        row=row + 3,  # the middle of what covers
        col=col + 3,
        before=f"{float(before):g}",
        after=f"{after.min():.3f}".rstrip("0"),
    )
    page.wait_for_function("(text) => document.querySelector('.cw-note').textContent === text", arg=said)


# ---------------------------------------------------------------- Python


def test_an_image_becomes_a_drawing() -> None:
    image = np.arange(784).reshape(1, 28, 28) / 783
    text = DigitCanvas.text_of(image)
    levels = np.array([int(digit, 16) for digit in text])
    np.testing.assert_allclose(levels / 15, image.ravel(), atol=1 / 30 + 1e-9)
    assert DigitCanvas.text_of(np.rint(image * 255).astype(np.uint8)) == text
    made = DigitCanvas(drawing=text)
    assert json.loads(json.dumps(made.spec))["drawing"]["value"] == text


@pytest.mark.parametrize("wrong", ["x", "0" * 63, "~a", "~aa~", "f" * 785, "~a b"])
def test_a_drawing_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(traitlets.TraitError, match="neither pixels nor strokes"):
        DigitCanvas(drawing=wrong)


@pytest.mark.parametrize(
    ("image", "said"), [(np.zeros((8, 8)), r"got \(8, 8\)"), (np.full((28, 28), 2.0), "0 to 1")]
)
def test_an_image_that_does_not_fit_is_named(image: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DigitCanvas.text_of(image)
