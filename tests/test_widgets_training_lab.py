"""Training inside a page: torch takes the same steps, the digits are learned in time, with a worker and
without, from a server and from a folder, and a learning rate that is too large is called that."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from playwright.sync_api import Browser, Page, expect
from reading import Reader
from sklearn.datasets import load_digits
from widget_pages import open_page

from cnnlab import i18n
from cnnlab.widgets.training_lab import SHAPES
from cnnlab.widgets.widget import linked, source

SECONDS = 30  # in which the held-out digits have to be learned
each_language = pytest.mark.parametrize("lang", ["ja", "ko"])


def opened(visitor: Reader, lang: str = "ja", **state: object) -> Page:
    page = open_page("training_lab", visitor, lang, **state)
    page.wait_for_function("document.querySelector('.cw-sum').textContent !== ''")
    return page


def told(page: Page, lang: str = "ja") -> dict[str, float]:
    return numbers_in(page.locator(".cw-sum").inner_text(), lang)


def numbers_in(text: str, lang: str) -> dict[str, float]:
    """The numbers in the sentence about the state."""
    sentence = i18n.catalogue(lang)["widgets.training_lab.state"]
    pieces = re.split(r"\{(\w+)\}", sentence)
    pieces = [rf"(?P<{piece}>NaN|[\d.]+)" if k % 2 else re.escape(piece) for k, piece in enumerate(pieces)]
    found = re.fullmatch("".join(pieces), text)
    return {key: float(text) for key, text in found.groupdict().items()}


def stepped(page: Page, step: int) -> None:
    page.wait_for_function(
        "(step) => document.querySelector('.cw-sum').textContent.match(/\\d+/)[0] === step", arg=str(step)
    )


def label(lang: str, key: str) -> str:
    return i18n.catalogue(lang)[f"widgets.training_lab.{key}"]


# ---------------------------------------------------------------- numbers


def test_the_digits_are_those_of_scikit_learn() -> None:
    text = source("digit_data.mjs")
    pixels = re.search(r'pixels = "([0-9a-g]+)"', text)[1]
    labels = re.search(r'labels = "(\d+)"', text)[1]
    bunch = load_digits()
    assert [int(level, 17) for level in pixels] == bunch.images.astype(int).ravel().tolist()
    assert [int(digit) for digit in labels] == bunch.target.tolist()


REPLAY = """async ([optimizer, lr, batch, count]) => {
  const { Trainer } = await import("./widgets/trainer.mjs");
  const trainer = new Trainer(3);
  const one = ([name, { data, shape }]) => [name, [[...data], shape]];
  const copy = () => Object.fromEntries(Object.entries(trainer.params).map(one));
  const start = copy();
  const next = trainer._next.bind(trainer);
  const seen = [];
  trainer._next = (size) => {
    const { x, target } = next(size);
    seen.push([[...x.data], target]);
    return { x, target };
  };
  for (let k = 0; k < count; k++) trainer.advance({ optimizer, lr, batch });
  return { start, seen, end: copy() };
}"""
OPTIMIZERS = {
    "sgd": lambda params: torch.optim.SGD(params, lr=0.1),
    "momentum": lambda params: torch.optim.SGD(params, lr=0.05, momentum=0.9),
    "adam": lambda params: torch.optim.Adam(params, lr=0.01),
}


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.1), ("momentum", 0.05), ("adam", 0.01)])
def test_torch_takes_the_same_steps(reader: Reader, optimizer: str, lr: float) -> None:
    """The same first weights, the same images: after 12 steps, the same weights."""
    page = opened(reader)
    run = page.evaluate(REPLAY, [optimizer, lr, 17, 12])
    params = {
        name: torch.tensor(data, dtype=torch.float32).reshape(shape).requires_grad_()
        for name, (data, shape) in run["start"].items()
    }
    assert sum(p.numel() for p in params.values()) == sum(shape[2] for shape in SHAPES if len(shape) > 2)
    torch_optimizer = OPTIMIZERS[optimizer](params.values())
    for pixels, target in run["seen"]:
        x = torch.tensor(pixels, dtype=torch.float32).reshape(-1, 1, 8, 8)
        x = F.max_pool2d(F.relu(F.conv2d(x, params["conv1"], params["conv1_bias"], padding=1)), 2)
        x = F.relu(F.conv2d(x, params["conv2"], params["conv2_bias"], padding=1))
        loss = F.cross_entropy(F.linear(x.flatten(1), params["fc"], params["fc_bias"]), torch.tensor(target))
        torch_optimizer.zero_grad()
        loss.backward()
        torch_optimizer.step()
    moved = np.abs(params["fc"].detach().numpy().ravel() - np.array(run["start"]["fc"][0])).max()
    assert moved > 0.01
    for name, param in params.items():
        np.testing.assert_allclose(
            np.array(run["end"][name][0]).reshape(param.shape), param.detach(), rtol=2e-3, atol=2e-4
        )


def test_no_image_is_both_for_training_and_held_out(reader: Reader) -> None:
    page = opened(reader)
    splits = page.evaluate(
        "async () => { const t = await import('./widgets/trainer.mjs'); return [t.TRAIN, t.TEST]; }"
    )
    train, test = map(set, splits)
    assert not train & test and train | test == set(range(1797)) and len(test) == 360


def test_the_seed_decides(reader: Reader) -> None:
    """The same run twice, and another one with another seed, however the time is cut into slices."""
    page = opened(reader)
    losses = page.evaluate(
        """async () => {
          const { Trainer } = await import("./widgets/trainer.mjs");
          return [4, 4, 5].map((seed) => {
            const trainer = new Trainer(seed);
            for (let k = 0; k < 5; k++) trainer.advance({ optimizer: "adam", lr: 0.01, batch: 32 });
            return trainer.point().testLoss;
          });
        }"""
    )
    assert losses[0] == losses[1] != losses[2]


# ---------------------------------------------------------------- the page


def learned(page: Page, lang: str) -> None:
    page.locator(".cw-go").click()
    reached = page.wait_for_function(
        """(least) => {
          const told = document.querySelector('.cw-sum').textContent;
          return Number(told.match(/([\\d.]+)%/)[1]) >= least && told;
        }""",
        arg=95,
        timeout=1000 * SECONDS,
    )
    found = numbers_in(reached.json_value(), lang)
    assert found["right"] / found["all"] >= 0.95 and found["all"] == 360
    page.locator(".cw-go").click()
    expect(page.locator(".cw-go")).to_have_text(label(lang, "go_on"))
    answers = page.locator(".cw-digit span").all_inner_texts()
    wrong = page.locator(".cw-digit.cw-wrong").count()
    bunch = load_digits()
    held_out = bunch.target[::5][4::18]
    assert (np.array(list(map(int, answers))) != held_out).sum() == wrong <= 5


@pytest.mark.parametrize(("lang", "scheme"), [("ja", "http"), ("ko", "file")])
def test_learns_in_a_worker(browser: Browser, widget_folder: Path, root: str, lang: str, scheme: str) -> None:
    visitor = Reader(browser, root if scheme == "http" else widget_folder.as_uri() + "/")
    page = opened(visitor, lang)
    assert len(page.workers) == 1 and page.workers[0].url.startswith("blob:" if scheme == "http" else "data:")
    learned(page, lang)
    visitor.context.close()
    assert visitor.troubles == []


def test_learns_without_a_worker(browser: Browser, root: str) -> None:
    """On a phone, and where a page may not start one. Buttons answer meanwhile."""
    visitor = Reader(browser, root, viewport={"width": 390, "height": 800}, has_touch=True)
    visitor.page.add_init_script("window.Worker = class { constructor() { throw new Error('forbidden'); } }")
    page = opened(visitor, "ko")
    assert page.workers == []
    learned(page, "ko")
    visitor.context.close()
    assert visitor.troubles == []


def test_learns_where_the_worker_does_not_load(browser: Browser, root: str) -> None:
    visitor = Reader(browser, root)
    visitor.page.add_init_script(
        """const Real = Worker;
        window.Worker = function () { return new Real("data:text/javascript,throw 1"); };"""
    )
    page = opened(visitor)
    assert told(page)["step"] == 0
    page.locator(".cw-buttons button").nth(1).click()
    stepped(page, 1)
    visitor.context.close()


@each_language
def test_steps_pause_and_a_new_beginning(reader: Reader, lang: str) -> None:
    """One step at a time by keyboard, then a run that is paused, and back: the same first losses again."""
    page = opened(reader, lang)
    go, once, anew = (page.locator(".cw-buttons button").nth(k) for k in range(3))
    expect(go).to_have_text(label(lang, "start"))
    begin = told(page, lang)
    assert begin["step"] == 0
    once.focus()
    for step in (1, 2, 3):
        page.keyboard.press("Enter")
        stepped(page, step)
    assert told(page, lang)["step"] == 3
    go.click()
    expect(go).to_have_text(label(lang, "pause"))
    page.wait_for_function(
        "document.querySelector('.cw-line-0').getAttribute('points').split(' ').length > 3"
    )
    go.click()
    expect(go).to_have_text(label(lang, "go_on"))
    paused = told(page, lang)
    page.wait_for_timeout(400)
    assert told(page, lang) == paused and paused["step"] > 3
    anew.click()
    expect(go).to_have_text(label(lang, "start"))
    assert told(page, lang) == begin
    assert page.locator(".cw-line-0").first.get_attribute("points") == ""


def test_settings_change_while_it_runs(reader: Reader) -> None:
    """By keyboard; each change is marked in the curves and stands in the address."""
    page = opened(reader)
    page.locator(".cw-go").click()
    page.wait_for_function("document.querySelector('.cw-line-0').getAttribute('points') !== ''")
    page.locator("input[data-trait=lr]").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("location.hash.includes('training_lab.lr=0.03')")
    page.locator("input[data-trait=optimizer][value=momentum]").check()
    page.wait_for_function(
        "document.querySelectorAll('.cw-chart')[0].querySelectorAll('.cw-change').length === 2"
    )
    page.locator(".cw-go").click()
    expect(page.locator(".cw-go")).to_have_text(label("ja", "go_on"))
    page.locator(".cw-tools button").first.click()
    expect(page.locator(".cw-go")).to_have_text(label("ja", "start"))
    assert page.locator(".cw-change").count() == 0
    assert page.locator("input[data-trait=lr]").get_attribute("aria-valuetext") == "0.1"


@each_language
def test_a_learning_rate_that_is_too_large_is_called_that(reader: Reader, lang: str) -> None:
    page = opened(reader, lang, lr=10)
    page.locator(".cw-go").click()
    warning = page.locator(".cw-warn")
    expect(warning).to_contain_text(label(lang, "trouble_dead").split("{step}")[0])
    assert page.locator(".cw-go").is_disabled()
    page.locator("input[data-trait=lr]").focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    page.locator(".cw-buttons button").nth(2).click()
    expect(warning).to_be_empty()
    assert page.locator(".cw-go").is_enabled()


def test_nan_is_told_in_words(browser: Browser, root: str) -> None:
    """With a trainer whose third step breaks a weight."""
    visitor = Reader(browser, root)
    broken = source("trainer.mjs").replace(
        "    this.step += 1;", "    if (++this.step === 3) this.params.fc.data[0] = NaN;"
    )
    assert broken != source("trainer.mjs")
    visitor.context.route(
        "**/trainer.mjs", lambda route: route.fulfill(body=broken, content_type="text/javascript")
    )
    page = opened(visitor)
    page.locator(".cw-go").click()
    expect(page.locator(".cw-warn")).to_contain_text("NaN")
    assert np.isnan(told(page)["loss"]) and told(page)["step"] == 4
    visitor.context.close()
    assert visitor.troubles == []


def test_in_a_notebook_and_closed_there(reader: Reader) -> None:
    """As a notebook has it: one text, without addresses of its own. Closing it ends its worker."""
    page = opened(reader)
    page.evaluate(
        """async (text) => {
          const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
          const { default: lab } = await import(address);
          const { labels, spec } = JSON.parse(document.querySelector(".cw-host").dataset.model);
          const state = { labels, spec };
          for (const [key, { value }] of Object.entries(spec)) state[key] = value;
          const model = { get: (key) => state[key], set() {}, save_changes() {}, on() {}, off() {} };
          const el = document.body.appendChild(document.createElement("div"));
          el.id = "cell";
          window.close_it = await lab.render({ model, el });
        }""",
        linked("training_lab.mjs"),
    )
    page.wait_for_function("document.querySelector('#cell .cw-sum').textContent !== ''")
    assert len(page.workers) == 2
    page.locator("#cell .cw-buttons button").nth(1).click()
    page.wait_for_function("document.querySelector('#cell .cw-sum').textContent.match(/\\d+/)[0] === '1'")
    page.evaluate("close_it()")
    for _ in range(100):
        if len(page.workers) == 1:
            break
        page.wait_for_timeout(100)
    assert len(page.workers) == 1
