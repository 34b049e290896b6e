"""What holds for every widget: its numbers are those of `cnnlab.ops`, and a reader can use it on any screen,
in both languages, with and without a server."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser, Page
from reading import Reader
from widget_pages import LANGUAGES, barriers, imported, open_page, sticking_out, written

from cnnlab import i18n, ops, widgets
from cnnlab.widgets.widget import Widget, linked, source, style

FOLDER = Path(widgets.__file__).parent
CLASSES: list[type[Widget]] = [getattr(widgets, name) for name in widgets.__all__]
SCRIPTS = 150_000  # bytes with gzip, of all widgets together
each = pytest.mark.parametrize("widget", CLASSES, ids=lambda widget: widget.module)
each_language = pytest.mark.parametrize("lang", LANGUAGES)
# What the host does is the same for all, so one widget stands for it.
SAMPLE = "conv_explorer"


# ---------------------------------------------------------------- numbers


@pytest.fixture(scope="module")
def core(browser: Browser, root: str) -> Iterator[Page]:
    with imported(browser, root, "core") as page:
        yield page


def packed(value: Any) -> Any:
    """What JavaScript gets: a tensor for an array."""
    if isinstance(value, np.ndarray):
        return {"shape": list(value.shape), "data": value.ravel().tolist()}
    return value


CALL = """([name, values]) => {
  const unpack = (value) => value?.data ? module.tensor(value.shape, value.data) : value;
  const pack = (value) => value?.data
    ? { shape: value.shape, data: [...value.data] } : typeof value === "object"
    ? Object.fromEntries(Object.entries(value).map(([key, part]) => [key, pack(part)])) : value;
  return pack(module[name](...values.map(unpack)));
}"""


def unpacked(value: Any) -> Any:
    if isinstance(value, dict) and "data" in value:
        return np.array(value["data"], dtype=np.float64).reshape(value["shape"])
    return {key: unpacked(part) for key, part in value.items()} if isinstance(value, dict) else value


def call(core: Page, name: str, *values: Any) -> Any:
    return unpacked(core.evaluate(CALL, [name, [packed(value) for value in values]]))


def near(got: Any, want: Any) -> None:
    want = np.asarray(want)
    assert np.shape(got) == want.shape
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def geometry(**most: int) -> st.SearchStrategy:
    """Sizes that are different in both directions, with windows that fit."""

    @st.composite
    def drawn(draw: st.DrawFn) -> dict:
        size = {name: draw(st.integers(1, top)) for name, top in most.items()}
        kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 3)))
        stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 4)))
        padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 1)))
        dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 3)))
        spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
        H, W = (max(1, span - 2 * p) + draw(st.integers(0, 5)) for span, p in zip(spans, padding))
        return {
            **size,
            "H": H,
            "W": W,
            "kernel": kernel,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
        }

    return drawn()


@given(g=geometry(N=2, C=3, OC=4))
def test_convolution_is_that_of_ops(core: Page, g: dict) -> None:
    x, weight = random(g["N"], g["C"], g["H"], g["W"]), random(g["OC"], g["C"], *g["kernel"], seed=1)
    bias = random(g["OC"], seed=2)
    options = {key: g[key] for key in ("stride", "padding", "dilation")}
    out = ops.conv2d(x, weight, bias, **options)
    near(call(core, "conv2d", x, weight, bias, options), out)
    grad = random(*out.shape, seed=3)
    grad_x, grad_weight, grad_bias = ops.conv2d_backward(grad, x, weight, **options)
    found = call(core, "conv2dBackward", grad, x, weight, options)
    near(found["gradX"], grad_x)
    near(found["gradWeight"], grad_weight)
    near(found["gradBias"], grad_bias)


@given(g=geometry(N=2, C=3))
def test_im2col_is_that_of_ops(core: Page, g: dict) -> None:
    x = random(g["N"], g["C"], g["H"], g["W"])
    options = {key: g[key] for key in ("stride", "padding", "dilation")}
    matrix = ops.im2col_matrix(x, g["kernel"], **options)
    near(call(core, "im2col", x, list(g["kernel"]), options), matrix)
    grad = random(*matrix.shape, seed=1)
    near(
        call(core, "col2im", grad, list(x.shape), list(g["kernel"]), options),
        ops.col2im_matrix(grad, x.shape, g["kernel"], **options),
    )


@given(g=geometry(N=2, C=3))
def test_pooling_is_that_of_ops(core: Page, g: dict) -> None:
    kernel = g["kernel"]
    padding = [min(p, k // 2) for p, k in zip(g["padding"], kernel)]
    x = random(g["N"], g["C"], g["H"] + kernel[0], g["W"] + kernel[1])
    options = {"stride": g["stride"], "padding": padding}
    same = {"stride": g["stride"], "padding": tuple(padding)}
    grad = random(*ops.max_pool2d(x, kernel, **same).shape, seed=1)
    for name in ("max", "avg"):
        forward, backward = getattr(ops, f"{name}_pool2d"), getattr(ops, f"{name}_pool2d_backward")
        near(call(core, f"{name}Pool2d", x, list(kernel), options), forward(x, kernel, **same))
        found = call(core, f"{name}Pool2dBackward", grad, x, list(kernel), options)
        near(found, backward(grad, x, kernel, **same))


def test_the_rest_of_a_network_is_that_of_ops(core: Page) -> None:
    x, weight, bias = random(3, 5), random(4, 5, seed=1), random(4, seed=2)
    logits, target = ops.linear(x, weight, bias), np.array([1, 3, 0])
    near(call(core, "linear", x, weight, bias), logits)
    grad = random(3, 4, seed=3)
    found = call(core, "linearBackward", grad, x, weight)
    for name, want in zip(("gradX", "gradWeight", "gradBias"), ops.linear_backward(grad, x, weight)):
        near(found[name], want)
    near(call(core, "relu", x), ops.relu(x))
    near(call(core, "reluBackward", x, weight[:3]), ops.relu_backward(x, weight[:3]))
    near(call(core, "softmax", 100 * logits), ops.softmax(100 * logits))
    near(call(core, "crossEntropy", logits, target.tolist()), ops.cross_entropy(logits, target))
    near(
        call(core, "crossEntropyBackward", logits, target.tolist()),
        ops.cross_entropy_backward(logits, target),
    )


def test_worked_example_of_the_book(core: Page) -> None:
    x = np.array([[1, 0, 2, 1], [2, 1, 0, 3], [0, 3, 1, 1], [1, 2, 0, 2]], dtype=np.float32)[None, None]
    w = np.array([[1, 0, 1], [0, 2, 0], [1, 0, -1]], dtype=np.float32)[None, None]
    assert call(core, "conv2d", x, w, None, {}).ravel().tolist() == [4, 3, 9, 6]


@pytest.mark.parametrize("name", ["conv2d", "im2col"])
def test_a_window_that_does_not_fit_is_named(core: Page, name: str) -> None:
    second = {"conv2d": random(1, 1, 3, 2), "im2col": [3, 2]}[name]
    with pytest.raises(Exception, match="3 x 2 does not fit into an image of 2 x 5"):
        call(core, name, random(1, 1, 2, 5), second, None if name == "conv2d" else {}, {})


# ---------------------------------------------------------------- words and sizes


@each
@pytest.mark.parametrize("lang", i18n.languages())
def test_every_label_is_there_and_used(widget: type[Widget], lang: str) -> None:
    """A label that the module composes, such as `preset_${name}`, counts by its beginning."""
    own = {key.split(".")[2] for key in i18n.catalogue(lang) if key.startswith(f"widgets.{widget.module}.")}
    common = {key.split(".")[2] for key in i18n.catalogue(lang) if key.startswith("widgets.common.")}
    text = source(f"{widget.module}.mjs") + source("ui.mjs")
    asked = set(re.findall(r"\bt\(\"(\w+)\"", text))
    assert asked <= own | common
    begun = tuple(re.findall(r"[`\"'](\w+_)\$\{", text)) + tuple(widget._state_names())
    literal = set(re.findall(r"[\"'](\w+)[\"']", text))
    unused = {key for key in own - literal - {"static"} if not key.startswith(begun)}
    assert not unused, f"labels that nothing shows: {sorted(unused)}"
    with i18n.speaking(lang):
        assert {"title", "static", "reset", "link"} <= widget().labels.keys()


def test_scripts_are_small() -> None:
    files = sorted(FOLDER.glob("*.mjs"))
    sizes = {path.name: len(gzip.compress(path.read_bytes(), mtime=0)) for path in files}
    assert len(files) > 2 and sum(sizes.values()) <= SCRIPTS, sizes


def test_modules_follow_the_contract() -> None:
    for widget in CLASSES:
        text = source(f"{widget.module}.mjs")
        assert re.search(r"^export default \{ render \};$", text, re.M), widget.module
        assert "import(" not in text and not re.search(r"https?://(?!www\.w3\.org)", text)


def test_linking_puts_every_module_inside() -> None:
    for path in FOLDER.glob("*.mjs"):
        text = linked(path.name)
        assert "./" not in re.sub(
            r"base64,[A-Za-z0-9+/=]+", "", "\n".join(re.findall(r"^import .*$", text, re.M))
        )
    assert "--fig-input" in style()


# ---------------------------------------------------------------- Python


@each
def test_state_is_checked(widget: type[Widget]) -> None:
    made = widget()
    assert made.spec.keys() == set(widget._state_names())
    with pytest.raises(TypeError, match="has no nonsense"):
        widget(nonsense=1)
    for name, spec in made.spec.items():
        assert spec["value"] == getattr(made, name)
        if "max" in spec and isinstance(spec["value"], int | float):
            with pytest.raises(traitlets.TraitError):
                setattr(made, name, spec["max"] + 1)


@each
def test_a_notebook_gets_the_widget_and_a_page_for_where_it_cannot_run(widget: type[Widget]) -> None:
    data, _ = widget()._repr_mimebundle_()
    assert data.keys() == {"text/plain", "text/html", "application/vnd.jupyter.widget-view+json"}
    assert f'data-widget="{widget.module}"' in data["text/html"] and "<p>" in data["text/html"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([[1, 2], [3]], "inhomogeneous|wanted a table"),
        ([1, 2], "got 1 axes"),
        ([["a"]], "wanted a table of numbers"),
        ([[np.nan]], "wanted numbers from"),
        ([[1] * 4], "wanted 1 to 3 columns, got 4"),
        ([[100]], "wanted numbers from -99 to 99, got 100 to 100"),
    ],
)
def test_a_grid_says_what_it_wants(value: Any, said: str) -> None:
    with pytest.raises(traitlets.TraitError, match=said):
        widgets.ConvExplorer(weight=value)


# ---------------------------------------------------------------- every widget in a browser


@each
@each_language
@pytest.mark.parametrize("width", [390, 1440])
def test_fits_the_screen(browser: Browser, root: str, widget: type[Widget], lang: str, width: int) -> None:
    visitor = Reader(browser, root, viewport={"width": width, "height": 900})
    page = open_page(widget.module, visitor, lang)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = sticking_out(page)
    visitor.context.close()
    assert beyond == [] and visitor.troubles == []


@each
@each_language
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(reader: Reader, widget: type[Widget], lang: str, theme: str) -> None:
    page = open_page(widget.module, reader, lang)
    assert barriers(page, theme) == ""


@each
def test_reset_leads_back(reader: Reader, widget: type[Widget]) -> None:
    page = open_page(widget.module, reader, "ja")
    page.evaluate("document.querySelector('.cw-tools button').scrollIntoView()")
    for box in page.locator(".cw input[type=range]").all()[:3]:
        box.focus()
        page.keyboard.press("ArrowRight")
    for box in page.locator(".cw input[type=checkbox]").all():
        box.click()
    page.locator(".cw-tools button").first.click()
    assert "#" not in written(page)
    values = [box.input_value() for box in page.locator(".cw input[type=range]").all()]
    page.reload()
    page.wait_for_selector(".cw-host[data-ready]")
    assert values == [box.input_value() for box in page.locator(".cw input[type=range]").all()]


@each
@each_language
def test_works_from_a_folder(browser: Browser, widget_folder: Path, widget: type[Widget], lang: str) -> None:
    visitor = Reader(browser, widget_folder.as_uri() + "/")
    open_page(widget.module, visitor, lang)
    visitor.context.close()
    assert visitor.troubles == []


@each
@each_language
def test_words_stand_there_without_scripts(
    browser: Browser, root: str, widget: type[Widget], lang: str
) -> None:
    visitor = Reader(browser, root, java_script_enabled=False)
    page = visitor.open(f"{lang}-{widget.module}.html")
    shown = page.locator(".cw-host").inner_text()
    visitor.context.close()
    assert i18n.catalogue(lang)[f"widgets.{widget.module}.static"] in shown


# ---------------------------------------------------------------- the host


def test_state_stands_in_the_address_and_comes_back(reader: Reader) -> None:
    page = open_page(SAMPLE, reader, "ja")
    page.locator(".cw-window").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"location.hash === '#{SAMPLE}.col=1'")
    page.goto("about:blank")
    page.goto(f"{reader.root}ja-{SAMPLE}.html#{SAMPLE}.col=1&{SAMPLE}.weight=1,0;0,-1.5&{SAMPLE}.flip=true")
    page.wait_for_selector(".cw-host[data-ready]")
    assert page.locator(".cw-role-filter input").evaluate_all("nodes => nodes.map((n) => n.value)") == [
        "\u22121.5", "0", "0", "1",
    ]  # fmt: skip
    page.evaluate(f"location.hash = '#{SAMPLE}.row=1'")
    page.wait_for_function("document.querySelectorAll('.cw-role-filter input').length === 9")
    assert page.locator(".cw-window").get_attribute("aria-valuenow") == "2"


@pytest.mark.parametrize(
    "part",
    [
        "row=99",
        "row=1.5",
        "row=",
        "row=x",
        "weight=1,2;3",
        "weight=1,2,3,4",
        "weight=1e9",
        "flip=1",
        "bias=NaN",
        "no=1",
    ],
)
def test_an_address_cannot_say_nonsense(reader: Reader, part: str) -> None:
    page = open_page(SAMPLE, reader, "ja", f"#{SAMPLE}.{part}")
    assert page.locator(".cw-ou").inner_text() == "4"


def test_an_address_of_a_section_stays(reader: Reader) -> None:
    page = open_page(SAMPLE, reader, "ko", "#a-section")
    page.locator(".cw-tools button").first.click()
    assert written(page).endswith("#a-section")


def test_a_module_that_fails_leaves_the_picture(browser: Browser, root: str) -> None:
    visitor = Reader(browser, root)
    visitor.page.route(
        f"**/{SAMPLE}.mjs",
        lambda route: route.fulfill(status=200, body="throw 1", content_type="text/javascript"),
    )
    with visitor.page.expect_console_message():
        visitor.open(f"ja-{SAMPLE}.html")
    assert visitor.page.locator(".cw-host > svg").is_visible()
    visitor.context.close()
    assert visitor.troubles


def test_the_link_can_be_copied(browser: Browser, root: str) -> None:
    visitor = Reader(browser, root, permissions=["clipboard-read", "clipboard-write"])
    page = open_page(SAMPLE, visitor, "ja", f"#{SAMPLE}.row=1")
    page.locator(".cw-tools button").nth(1).click()
    page.wait_for_function("navigator.clipboard.readText().then((text) => text !== '')")
    assert page.evaluate("navigator.clipboard.readText()") == f"{root}ja-{SAMPLE}.html#{SAMPLE}.row=1"
    visitor.context.close()
    assert visitor.troubles == []


def test_pages_hold_their_state_as_text(widget_folder: Path) -> None:
    page = (widget_folder / f"ko-{SAMPLE}.html").read_text(encoding="utf-8")
    model = (
        re.search(r'data-model="([^"]*)"', page)[1]
        .replace("&quot;", '"')
        .replace("&amp;", "&")
        .replace("&#x27;", "'")
    )
    assert json.loads(model)["spec"]["row"] == {"value": 0, "min": 0, "max": 7, "integer": True}
