"""The shape tracer: its numbers are PyTorch's, it stops where PyTorch stops, and where AlexNet is still to be
written it does not tell what the chapter asks for."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import traitlets
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Locator, Page, expect
from reading import Reader
from torch import nn
from torchvision import models as zoo
from widget_pages import LANGUAGES, imported, open_page, write_page

from cnnlab.i18n import catalogue, speaking
from cnnlab.models import AlexNet, LeNet, multiply_adds
from cnnlab.shapes import receptive_field
from cnnlab.widgets import ShapeTracer
from cnnlab.widgets.shape_tracer import MOST_LAYERS, PATTERN, PRESETS, TASK, TASK_PRESETS, parse, sides

ERRORS = (RuntimeError, ValueError, AssertionError)


@pytest.fixture(scope="module", autouse=True)
def pages(widget_folder: Path) -> None:
    """Pages with all networks, and with the task alone."""
    for lang in LANGUAGES:
        with speaking(lang):
            write_page(widget_folder, lang, "all", ShapeTracer())
            write_page(widget_folder, lang, "task", ShapeTracer(network=TASK))


phone = pytest.mark.parametrize(
    "reader", [{"has_touch": True, "viewport": {"width": 390, "height": 800}}], indirect=True
)


def opened(visitor: Reader, name: str, end: str = "") -> Page:
    lang, kind = name.split("-")
    return open_page(kind, visitor, lang, end)


@pytest.fixture(scope="module")
def module(browser: Browser, root: str) -> Iterator[Page]:
    with imported(browser, root, "shape_tracer") as page:
        yield page


# ---------------------------------------------------------------- the same network in PyTorch


def built(part: tuple[str, ...], shape: torch.Size) -> nn.Module:
    """The layer that a part of the text means, for input of this shape."""
    kind, numbers = part[0], [int(word) for word in part[1:]]
    C = shape[1]
    match kind:
        case "conv":
            layer: nn.Module = nn.Conv2d(C, *numbers)
        case "max" | "avg":
            layer = (nn.MaxPool2d if kind == "max" else nn.AvgPool2d)(*numbers)
        case "linear":
            layer = nn.Linear(*numbers)
        case "bn":
            layer = (nn.BatchNorm2d if len(shape) == 4 else nn.BatchNorm1d)(C)
        case _:
            layer = {"relu": nn.ReLU(), "flatten": nn.Flatten(), "gap": nn.AdaptiveAvgPool2d(1)}[kind]
    return layer.eval()


def run(text: str, device: str = "cpu") -> tuple[list[dict], str]:
    """What each layer gives, up to the one that PyTorch refuses, and what it says then."""
    (_, channels, side), *parts = parse(text)
    x, found = torch.zeros(1, int(channels), int(side), int(side), device=device), []
    for part in parts:
        with torch.device(device):
            layer = built(part, x.shape)
        try:
            # PyTorch would take the last axis of an image for the vector, if it happens to be as long.
            assert x.ndim == 2 or part[0] != "linear", "an image"
            adds = multiply_adds(layer, tuple(x.shape[1:]))
            x = layer(x)
        except ERRORS as error:
            return found, str(error)
        parameters = sum(p.numel() for p in layer.parameters())
        found.append({"layer": layer, "shape": list(x.shape[1:]), "parameters": parameters, "adds": adds})
    return found, ""


@st.composite
def networks(draw: st.DrawFn) -> str:
    """Layers that often fit and sometimes do not."""
    small = st.integers(1, 4)
    text = f"in {draw(small)} {draw(st.integers(4, 24))}"
    for kind in draw(
        st.lists(st.sampled_from(["conv", "conv", "max", "avg", "relu", "bn", "gap"]), max_size=6)
    ):
        numbers = [draw(st.integers(1, 5))] if kind == "conv" else []
        if kind in ("conv", "max", "avg"):
            numbers += [draw(small), draw(st.integers(1, 3)), draw(st.integers(0, 2))]
            numbers = numbers[: len(numbers) - draw(st.integers(0, 2))]
        text += "; " + " ".join(map(str, [kind, *numbers]))
    for kind in draw(st.sampled_from([[], ["flatten", "linear", "linear"], ["linear"], ["flatten", "conv"]])):
        steps, _ = run(text)
        arrives = steps[-1]["shape"][0] if steps else 3
        wrong = draw(st.sampled_from([0, 0, 0, 1]))
        text += {"linear": f"; linear {arrives + wrong} {draw(small)}", "conv": "; conv 2 1"}.get(
            kind, f"; {kind}"
        )
    return text


TRACE = """(text) => module.trace(module.parse(text)).map((step) => ({
  shape: step.shape ?? null, parameters: step.parameters, adds: step.multiplyAdds, error: step.error ?? null,
  dead: step.dead ?? false, r: step.r, code: step.shape ? module.code(step) : "", kind: step.layer.kind }))"""


def compare(module: Page, text: str) -> None:
    got, (want, said) = module.evaluate(TRACE, text)[1:], run(text)
    assert [step["error"] is not None for step in got][: len(want) + 1] == [False] * len(want) + [
        True
    ] * bool(said)
    assert all(step["dead"] for step in got[len(want) + 1 :])
    windows: list[tuple[int, int]] = []
    for mine, theirs in zip(got, want):
        layer = theirs["layer"]
        assert {key: mine[key] for key in ("shape", "parameters", "adds")} == {
            key: theirs[key] for key in ("shape", "parameters", "adds")
        }
        assert repr(eval(mine["code"], {"nn": nn})) == repr(layer)
        if mine["kind"] in ("conv", "max", "avg"):
            sizes = (layer.kernel_size, layer.stride)
            windows.append(tuple(size[0] if isinstance(size, tuple) else size for size in sizes))
        if mine["kind"] != "gap" and "gap" not in [step["kind"] for step in got]:
            assert mine["r"] == receptive_field(windows)


@settings(max_examples=30)
@given(text=networks())
def test_sizes_and_errors_are_those_of_pytorch(module: Page, text: str) -> None:
    compare(module, text)
    assert module.evaluate(
        "(text) => module.write(module.parse(module.write(module.parse(text))))", text
    ) == (module.evaluate("(text) => module.write(module.parse(text))", text))
    assert parse(module.evaluate("(text) => module.write(module.parse(text))", text))


@pytest.mark.parametrize("text", [text for _, text in PRESETS.values()], ids=list(PRESETS))
def test_networks_are_those_of_the_book(module: Page, text: str) -> None:
    with torch.device("meta"):
        nets = {"lenet": LeNet(), "alexnet": AlexNet(), "vgg11": zoo.vgg11(), "vgg16": zoo.vgg16()}
    name = next(name for name, (_, layers) in PRESETS.items() if layers == text)
    steps = module.evaluate(TRACE, text)
    if name not in nets:  # a mistake: one of them stops, the other has sizes of its own
        assert any(step["error"] for step in steps) == (name == "alexnet_stops")
        assert sides(text) != sides(PRESETS["alexnet"][1])
        return
    shape = (1, 32, 32) if name == "lenet" else (3, 224, 224)
    with torch.device("meta"):
        assert sum(step["parameters"] for step in steps) == sum(p.numel() for p in nets[name].parameters())
        assert sum(step["adds"] for step in steps) == multiply_adds(nets[name], shape)


# ---------------------------------------------------------------- the text of the layers


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "layer 0, '': wanted in"),
        ("conv 6 5", "layer 0, 'conv 6 5': wanted in"),
        ("in 3 224; conv 6", r"layer 1, 'conv 6': wanted 'conv channels kernel \[stride \[padding\]\]'"),
        ("in 3 224; relu; max 0", "layer 2, 'max 0'"),
        ("in 3 224; conv 6 5 1 -1", "layer 1, 'conv 6 5 1 -1'"),
        ("in 3 224; conv 6 5 1 02", "layer 1"),
        ("in 3 224;relu", "layer 0, 'in 3 224;relu'"),
        ("in 3 224; dense 3", "layer 1, 'dense 3': wanted conv or max"),
        ("in 3 224; in 3 224", "layer 1, 'in 3 224'"),
        ("in 3 224; linear 5 ٣", "layer 1"),
        ("in 3 224" + MOST_LAYERS * "; relu", f"layer {MOST_LAYERS}, 'relu': one layer too many"),
    ],
)
def test_a_text_that_means_no_layers_is_refused_by_its_part(text: str, said: str) -> None:
    with pytest.raises(traitlets.TraitError, match=said):
        ShapeTracer(layers=text)
    assert not re.fullmatch(PATTERN, text, re.ASCII)


@settings(max_examples=15)
@given(text=networks())
def test_the_address_takes_what_python_takes(text: str) -> None:
    for layers in (text, text.replace("1", "0"), text.replace("; ", ";", 1), text + "; max 2 2 1 1"):
        try:
            parse(layers)
            taken = True
        except traitlets.TraitError:
            taken = False
        assert taken == bool(re.fullmatch(PATTERN, layers, re.ASCII)), layers


def test_each_network_begins_with_its_own_layers() -> None:
    assert ShapeTracer().layers == PRESETS["vgg16"][1]
    assert ShapeTracer(network="lenet").layers == PRESETS["lenet"][1]
    assert ShapeTracer(network="lenet", layers="in 1 8; conv 2 3").layers == "in 1 8; conv 2 3"


# ---------------------------------------------------------------- the reader


def press(page: Page, act) -> None:
    """Does something and waits until it has been drawn."""
    act()
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def row(page: Page, name: str) -> Locator:
    return page.locator(".cw-layers > li").filter(has=page.locator(f".cw-at-layer >> text='{name}'"))


def stepper(page: Page, number: str) -> Locator:
    return page.locator(".cw-stepper").filter(has=page.locator(f"input[data-number={number}]"))


def shown(page: Page, column: str) -> list[str]:
    return page.locator(f".cw-layers .cw-at-{column}").all_inner_texts()


@pytest.mark.parametrize("lang", ["ja", "ko"])
def test_with_the_pointer_a_wrong_padding_bites_at_the_end(reader: Reader, lang: str) -> None:
    words = catalogue(lang)
    page = opened(reader, f"{lang}-all")
    want, _ = run(PRESETS["vgg16"][1], "meta")
    for column, key in (("parameters", "parameters"), ("multiply_adds", "adds")):
        assert shown(page, column)[1:] == [f"{step[key]:,}" for step in want]
    outputs = [str(tuple(step["shape"])) for step in want]
    assert shown(page, "output")[1:] == outputs
    padding = stepper(page, "padding")
    press(page, padding.locator("button").first.click)
    features = 512 * sides("in 3 224; conv 1 3; max 2; max 2; max 2; max 2; max 2")[-1] ** 2
    error = row(page, "fc1").locator("p.cw-warn")
    assert f"{features}" in error.inner_text() and "25088" in error.inner_text()
    assert page.locator(".cw-verdict").inner_text().startswith("fc1")
    assert "cw-dead" in row(page, "fc2").get_attribute("class")
    press(page, page.locator(".cw-verdict button").click)
    assert "cw-now" in row(page, "fc1").get_attribute("class")
    press(page, error.get_by_role("button").click)
    assert page.locator(".cw-layers p.cw-warn:visible").count() == 0
    assert shown(page, "output")[-1] == "(1000,)"
    assert page.locator(".cw-differs").count() > 0
    press(page, page.get_by_role("button", name="VGG-16").click)
    assert page.locator(".cw-differs").count() == 0
    said = words["widgets.shape_tracer.verdict_same"].replace("{network}", "VGG-16")
    assert page.locator(".cw-verdict").inner_text() == said


def test_a_padding_too_many_is_forgiven_by_the_pooling(reader: Reader) -> None:
    page = opened(reader, "ja-all")
    press(page, stepper(page, "padding").locator("button").last.click)
    own = sides("in 3 224; conv 64 3 1 2; conv 64 3 1 1; max 2")
    chips = page.locator(".cw-differs").all_inner_texts()
    assert chips == [f"conv1–2 {own[1]} ≠ 224", f"pool1 {own[3]} ≠ 112", f"conv3–4 {own[3]} ≠ 112"]
    assert page.locator(".cw-layers p.cw-warn:visible").count() == 0


@pytest.mark.parametrize("sizes", [(10, 3, 4, 0), (11, 3, 4, 1), (9, 3, 4, 1), (12, 5, 4, 1), (9, 3, 2, 1)])
def test_pixels_that_no_window_sees_are_named(reader: Reader, sizes: tuple[int, int, int, int]) -> None:
    size, kernel, stride, padding = sizes
    x = torch.zeros(1, 1, size, size, requires_grad=True)
    nn.functional.conv2d(x, torch.ones(1, 1, kernel, kernel), stride=stride, padding=padding).sum().backward()
    lost = size - 1 - int(x.grad[0, 0, 0].nonzero().max())  # columns at the right that have no influence
    rest = (size + 2 * padding - kernel) % stride
    page = opened(reader, "ja-all", f"#shape_tracer.layers=in 1 {size}; conv 1 {kernel} {stride} {padding}")
    words = catalogue("ja")[f"widgets.shape_tracer.rest_{'pixels' if lost else 'padding'}"]
    room = size + 2 * padding - kernel
    said = page.locator(".cw-sum").inner_text()
    assert (words.format(room=room, stride=stride, rest=rest, lost=lost) in said) == (rest > 0)


def test_pytorch_says_the_same_of_vectors_that_do_not_fit(reader: Reader) -> None:
    layers = "in 1 6; conv 2 3; flatten; linear 30 4"
    page = opened(reader, "ko-all", f"#shape_tracer.layers={layers}")
    _, said = run(layers)
    assert row(page, "fc1").locator("p.cw-warn code").inner_text() in said
    assert page.evaluate("document.body.innerText").count("2×4×4 = 32") == 1


@phone
def test_by_touch_a_layer_is_chosen_and_changed(reader: Reader) -> None:
    page = opened(reader, "ko-all", f"#shape_tracer.network=lenet&shape_tracer.layers={PRESETS['lenet'][1]}")
    block = page.locator(".cw-block").nth(4).bounding_box()  # conv2
    press(page, lambda: page.touchscreen.tap(block["x"] + 2, block["y"] + 2))
    assert "cw-now" in row(page, "conv2").get_attribute("class")
    press(page, stepper(page, "stride").locator("button").last.tap)
    want, said = run("in 1 32; conv 6 5; relu; max 2; conv 16 5 2; relu; max 2; flatten; linear 400 120")
    outputs = shown(page, "output")
    assert outputs[1:8] == [str(tuple(step["shape"])) for step in want] and said
    press(page, row(page, "pool1").locator(".cw-line").tap)
    press(page, page.get_by_role("button", name=catalogue("ko")["widgets.shape_tracer.remove"]).tap)
    want, _ = run("in 1 32; conv 6 5; relu; conv 16 5 2; relu; max 2; flatten")
    assert shown(page, "output")[1:7] == [str(tuple(step["shape"])) for step in want]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_with_the_keyboard_layers_are_added_and_moved(reader: Reader) -> None:
    words = catalogue("ja")
    page = opened(reader, "ja-all", "#shape_tracer.layers=in 3 20; conv 8 5 1 2; flatten")
    page.locator(".cw-strip").focus()
    press(page, lambda: page.keyboard.press("End"))
    assert "cw-now" in row(page, "flatten").get_attribute("class")
    page.locator(".cw-line[tabindex='0']").focus()
    press(page, lambda: page.keyboard.press("ArrowUp"))
    assert page.evaluate("document.activeElement.innerText").startswith("conv1")
    stepper(page, "padding").locator("input").focus()
    press(page, lambda: page.keyboard.press("ArrowDown"))
    assert shown(page, "output")[1:] == [
        str(tuple(s["shape"])) for s in run("in 3 20; conv 8 5 1 1; flatten")[0]
    ]
    page.locator(".cw-editor select").select_option("linear")
    page.get_by_role("button", name=words["widgets.shape_tracer.add"]).focus()
    press(page, lambda: page.keyboard.press("Enter"))
    assert row(page, "fc1").locator("p.cw-warn").inner_text().startswith("(8, 18, 18)")
    down = page.get_by_role("button", name=words["widgets.shape_tracer.down"])
    down.focus()
    page.keyboard.press("Enter")
    expect(row(page, "fc1").locator("p.cw-warn")).to_contain_text("2592")
    assert shown(page, "layer") == ["in", "conv1", "flatten", "fc1"]
    assert "2592" in row(page, "fc1").locator("p.cw-warn").inner_text()
    page.wait_for_function("decodeURIComponent(location.hash).includes('flatten; linear')")
    page.reload()
    page.wait_for_selector(".cw-host[data-ready]")
    assert shown(page, "layer") == ["in", "conv1", "flatten", "fc1"]


@pytest.mark.parametrize(
    "part", ["layers=in 3 224; conv", "layers=in 0 8", "network=alexnet-task", "selected=60"]
)
def test_an_address_cannot_say_nonsense(reader: Reader, part: str) -> None:
    page = opened(reader, "ja-all", f"#shape_tracer.{part}")
    assert "cw-now" in row(page, "conv1").get_attribute("class")
    assert len(shown(page, "layer")) == len(parse(PRESETS["vgg16"][1]))
    assert page.locator(".cw-differs").count() == 0


# ---------------------------------------------------------------- where AlexNet is still to be written


def test_the_task_does_not_tell_the_answer() -> None:
    for lang in ("ja", "ko"):
        with speaking(lang):
            page = ShapeTracer(network=TASK).to_html()
        for text in ("9216", "conv 64 11 4 2", "conv 192 5 1 2", "conv 384 3 1 1", "in 1 32"):
            assert text not in page
    for _, layers in TASK_PRESETS.values():
        paddings = [part[4] for part in parse(layers) if part[0] == "conv"]
        assert set(paddings) == {"0"}
        assert run(layers.replace("4096", "16"))[1] == ""  # nothing complains


def test_the_task_is_solved_by_looking_at_sizes(reader: Reader) -> None:
    page = opened(reader, "ja-task", "#shape_tracer.network=alexnet")  # which is not offered here
    assert page.locator(".cw-at-parameters, .cw-at-multiply_adds").count() == 0
    start = sides(TASK_PRESETS["task"][1])[1:]
    drawn = [55, 27, 27, 13, 13, 13, 13, 6]  # the diagram of the chapter
    names = ["conv1", "pool1", "conv2", "pool2", "conv3", "conv4", "conv5", "pool3"]
    assert page.locator(".cw-differs").all_inner_texts() == [
        f"{name} {own} ≠ {want}" for name, own, want in zip(names, start, drawn)
    ]
    for name, padding in zip(["conv1", "conv2", "conv3", "conv4", "conv5"], [2, 2, 1, 1, 1]):
        press(page, row(page, name).locator(".cw-line").click)
        stepper(page, "padding").locator("input").fill(str(padding))
        press(page, lambda: page.keyboard.press("Enter"))
    assert page.locator(".cw-differs").count() == 0
    error = row(page, "fc1").locator("p.cw-warn")
    assert "256×6×6" in error.inner_text() and error.get_by_role("button").count() == 0
    assert "9216" not in page.content()
    press(page, row(page, "fc1").locator(".cw-line").click)
    stepper(page, "inputs").locator("input").fill("9216")
    press(page, lambda: page.keyboard.press("Enter"))
    assert page.locator(".cw-layers p.cw-warn:visible").count() == 0
    assert "61,100,840" not in page.content() and "307,392" not in page.content()
