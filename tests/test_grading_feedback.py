"""The pages after grading: harmless whatever a submission holds, and readable for everyone."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Error, Page, sync_playwright

from cnnlab import i18n
from cnnlab.grading import feedback
from cnnlab.grading.feedback import index, page
from cnnlab.grading.results import STATUSES, Mark, Message, Result

TASK = "exercises.alexnet.my_alexnet"
CRITERIA = {
    "default": 10,
    "outputs": 30,
    "pooling": 20,
    "relu": 10,
    "steady": 10,
    "parameters": 10,
    "same": 10,
}
HINT = Message(f"{TASK}.stride", {"layer": "conv2", "got": 2})
DEFAULT = Message(f"{TASK}.other_default", {"got": "(1, 10)"})
each_language = pytest.mark.parametrize("lang", ["ja", "ko", "en"])
each_status = pytest.mark.parametrize("status", STATUSES)


def graded(name: str = "3반/김민지 13_alexnet (1).ipynb", **reached: float) -> Result:
    """A submission with full points, but for the criteria that are named."""
    hints = {"default": (DEFAULT,), "outputs": (HINT, DEFAULT)}
    marks = tuple(
        Mark(key, reached.get(key, most), most, hints.get(key, ()) if key in reached else ())
        for key, most in CRITERIA.items()
    )
    score = sum(mark.points for mark in marks)
    return Result("x-1", name, "ab" * 32, "graded", score, 100, 1.234, None, marks, 20240611)


def without_points(status: str, message: Message | None = None, name: str = "鈴木.ipynb") -> Result:
    return replace(graded(name), id=status, status=status, score=0, marks=(), message=message)


def of_status(status: str) -> Result:
    return graded(outputs=12.5, default=0) if status == "graded" else without_points(status)


ATTACKS = [
    "<script>alert(1)</script>",
    "</title></style></head><body onload=alert(1)><img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)><a href=javascript:alert(1)>'",
    "`</code><iframe src=https://example.com></iframe>`",
    "<style>@import url(https://example.com/x.css);*{display:none}</style>",
    "<meta http-equiv=refresh content=0;url=https://example.com><base href=https://example.com/>",
    "&lt;b&gt; &#60;b> {0} {x} %s \\u003cscript>",
    "<!--", "<plaintext>", "]]><![CDATA[", "<textarea>", "<table></main>",
    "\u202egnp.ipynb\u2066\u200b\x1b[31mred\x1b]0;title\x07\0\x9b\ufeff\ud800",
    "e" + "\u0301" * 3000,
    "W" * 5000, "長" * 5000, "x " * 5000,
]  # fmt: skip
each_attack = pytest.mark.parametrize("attack", ATTACKS, ids=[ascii(a)[:30] for a in ATTACKS])


def attacked(attack: str) -> list[Result]:
    """Results with an attack in every place where a submission can put text."""
    message = Message("grading.messages.raised", {"error": attack, "message": attack})
    hint = Message(f"{TASK}.other_default", {"got": attack})
    marks = tuple(Mark(key, 0, most, (hint,)) for key, most in CRITERIA.items())
    return [
        without_points("error", message, name=attack),
        replace(graded(attack, outputs=0), marks=marks, score=0),
    ]


# --- the markup -----------------------------------------------------------------------------------------

VOID = {"meta"}
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "footer"),
    *("h1", "h2", "p", "span", "strong", "bdi", "code", "a", "div", "i", "dl", "dt", "dd", "ul", "li"),
    *("table", "thead", "tbody", "tr", "th", "td"),
}


class Reader(HTMLParser):
    """Reads a page as a browser does, and notes what stands where."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError("a declaration")

    def text(self, tag: str | None = None) -> str:
        return "".join(
            data for where, data in self.texts if where == tag or (tag is None and where != "style")
        )


def assert_harmless(source: str) -> Reader:
    """The page has only the elements that its templates have, and nothing that leaves it or runs."""
    read = Reader(source)
    for tag, attributes in read.tags:
        assert tag in TAGS
        assert not [
            name for name in attributes if name.startswith("on") or name in {"src", "srcset", "action"}
        ]
        assert re.fullmatch(r"[A-Za-z0-9._-]+\.html", attributes.get("href", "x.html"))
        assert re.fullmatch(r"(width|height):[\d.]+(%|rem)", attributes.get("style", "width:0%"))
    assert [tag for tag, _ in read.tags].count("style") == 1 == [tag for tag, _ in read.tags].count("title")
    style = read.text("style")
    assert style == feedback._STYLE and "url(" not in style and "@import" not in style and "<" not in style
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    assert ("meta", {"http-equiv": "Content-Security-Policy", "content": policy}) in read.tags
    source.encode("utf-8")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u2028-\u202e\u2066-\u2069\ufeff]", source)
    return read


@each_attack
def test_nothing_of_a_submission_becomes_markup(attack):
    with i18n.speaking("ko"):
        one = attacked(attack)
        for source in (*(page(result, "ja") for result in one), index(one, "ja")):
            assert_harmless(source)
            assert len(source.encode("utf-8")) < 20_000
        assert i18n.language() == "ko"


@given(st.text(), st.text())
def test_nothing_of_any_name_or_message_becomes_markup(name, words):
    message = Message("grading.messages.raised", {"error": "E", "message": words})
    result = without_points("error", message, name)
    assert_harmless(page(result, "en"))
    assert_harmless(index([result], "en"))


def test_what_is_shown_of_an_attack():
    read = assert_harmless(page(attacked("<b>\u202e\x1b[31m`x`\n</title>")[0], "en"))
    assert "0 / 100 · <b>[U+202E]`x` </title> · The task" in read.text("title")
    assert "<b>[U+202E]'x' </title>: <b>" in read.text("code")


@each_language
@each_status
def test_every_status_in_every_language(lang, status):
    result = of_status(status)
    read = assert_harmless(page(result, lang))
    assert read.tags[0] == ("html", {"lang": lang})
    said = read.text()
    with i18n.speaking(lang):
        expected = [i18n.text(f"grading.status.{status}"), i18n.text("grading.feedback.questions")]
        if status == "graded":
            expected += ["72.5 / 100", DEFAULT.text(), HINT.text(), i18n.text(f"{TASK}.relu")]
        else:
            expected += ["0 / 100", i18n.text(f"grading.messages.{status}")]
            expected += [i18n.text("grading.feedback.next"), i18n.text(f"grading.feedback.next_{status}")]
    for words in expected:
        assert words.replace("`", "") in said
    assert result.submission in said and "20240611" in said and "ab" * 8 in said
    assert len(page(result, lang).encode("utf-8")) < 20_000


@each_language
def test_the_verdict_fits_the_score(lang):
    stolen = Message(f"{TASK}.wraps", {"module": "torchvision.models"})
    nothing = graded(**dict.fromkeys(CRITERIA, 0))
    cases = {
        "all_right": graded(),
        "some_right": graded(relu=0, same=5),
        "none_right": nothing,
        "not_counted": replace(graded(), score=0, message=stolen),
    }
    with i18n.speaking(lang):
        said = {
            name: i18n.catalogue(lang)[f"grading.feedback.{name}"].format(reached=5, total=7)
            for name in cases
        }
        reason = stolen.text().replace("`", "")
    for name, result in cases.items():
        read = assert_harmless(page(result, lang)).text()
        assert [other for other in said if said[other] in read] == [name]
        assert (reason in read) == (name == "not_counted")


def test_each_hint_stands_with_its_criterion():
    source = page(graded(outputs=12.5, default=0), "en")
    rows = re.findall(r"<tr class=(\w+)>(.*?)</tr>", source)
    assert [kind for kind, _ in rows] == ["none", "partial", "full", "full", "full", "full", "full"]
    assert "1000 numbers" not in rows[1][1] and rows[1][1].count("class=hint") == 2
    assert rows[2][1].count("class=hint") == 0
    symbols = [
        re.search(r"aria-hidden=true>(.)</span><span class=unseen>(.*?)</span>", row) for _, row in rows
    ]
    assert [m.groups() for m in symbols[:3]] == [
        ("✗", "not right yet"),
        ("△", "partly right"),
        ("✓", "right"),
    ]
    assert "12.5<span class=of> / 30</span>" in rows[1][1] and ">20<span" in rows[2][1]


def test_headers_of_tables_have_their_scope():
    for source in (page(graded(), "ja"), index([graded()], "ja")):
        heads = [attributes for tag, attributes in Reader(source).tags if tag == "th"]
        assert len(heads) >= 3 and all(head["scope"] in ("col", "row") for head in heads)


def test_unknown_language():
    for render in (lambda: page(graded(), "fr"), lambda: index([], "fr")):
        with pytest.raises(ValueError, match="unknown language 'fr'"):
            render()


# --- the teacher's page ---------------------------------------------------------------------------------


@each_language
def test_overview(lang):
    results = [graded(), graded(same=0), graded(outputs=0, default=0), *map(without_points, STATUSES[1:])]
    results = [replace(result, id=f"id-{number}") for number, result in enumerate(results)]
    source = index(results, lang)
    read = assert_harmless(source)
    assert [a["href"] for tag, a in read.tags if tag == "a"] == [f"id-{number}.html" for number in range(10)]
    with i18n.speaking(lang):
        for status in STATUSES:
            count = 3 if status == "graded" else 1
            assert f"<dt>{i18n.text(f'grading.status.{status}')}</dt><dd>{count}</dd>" in source
        ranges = {"60–69": 1, "90–99": 1, "100": 1, "0–9": 0, "50–59": 0}
        for name, count in ranges.items():
            assert f">{i18n.text('grading.feedback.bar', range=name, count=count)}<" in source
    assert "<dd>10</dd>" in source and "<dd>83.3<span class=of> / 100</span></dd>" in source


def test_overview_of_nothing():
    for results in ([], [without_points("invalid")]):
        source = index(results, "ko")
        assert_harmless(source)
        assert "class=bars" not in source


def test_overview_gives_the_reasons():
    reason = Message("grading.messages.time_limit", {"seconds": 60})
    assert reason.text() in Reader(index([without_points("timeout", reason)], i18n.language())).text()


# --- colours --------------------------------------------------------------------------------------------


def luminance(colour: str) -> float:
    channels = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def palettes() -> list[dict[str, str]]:
    """The colours of the light and of the dark page."""
    blocks = re.findall(r":root \{(.*?)\}", feedback._STYLE, re.DOTALL)[:2]
    return [dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", block)) for block in blocks]


@pytest.mark.parametrize("colours", palettes(), ids=["light", "dark"])
def test_contrast(colours):
    assert colours.keys() >= {"paper", "card", "blank", "ink", "muted", "good", "part", "open", "mark"}
    for ground in ("paper", "card", "blank"):
        for ink in ("ink", "muted", "good", "part", "open", "mark"):
            dark, light = sorted(luminance(colours[name]) for name in (ground, ink))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ground, ink)


# --- in a browser ---------------------------------------------------------------------------------------


@dataclass
class Visit:
    """What happened while a page was open, and what was asked of it."""

    requests: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    answer: Any = None


Look = Callable[..., Visit]


class Browser:
    """A browser with one page. Its thread is its own, since another module's Playwright may have this one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.thread = ThreadPoolExecutor(max_workers=1)
        self.thread.submit(self._open).result()

    def _open(self) -> None:
        names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
        program = os.environ.get("CNNLAB_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
        self.playwright = sync_playwright().start()
        try:
            chromium = self.playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        except Error as error:
            self.playwright.stop()
            raise RuntimeError(
                f"No Chromium to open pages with; name one in CNNLAB_CHROMIUM.\n{error}"
            ) from error
        self.page = chromium.new_page()
        self.page.on("request", lambda request: self.seen.requests.append(request.url))
        self.page.on("requestfailed", self._failed)
        self.page.on("console", lambda said: self.seen.troubles.append(said.text))
        self.page.on("pageerror", lambda error: self.seen.troubles.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.seen.troubles.append("dialog"), dialog.dismiss()))

    def _failed(self, request: Any) -> None:
        if request.failure == "csp":  # it was not sent
            self.seen.requests.remove(request.url)

    def _look(self, source: str, ask: Callable[[Page], Any], width: int, colours: str, medium: str) -> Visit:
        self.path.write_text(source, encoding="utf-8")
        self.seen = Visit()
        self.page.set_viewport_size({"width": width, "height": 800})
        self.page.emulate_media(color_scheme=colours, media=medium)
        self.page.goto(self.path.as_uri())
        self.seen.answer = ask(self.page)
        self.seen.requests.remove(self.path.as_uri())
        return self.seen

    def look(self, source, ask, width=1280, colours="light", medium="screen") -> Visit:
        """Open a page and ask something of it."""
        return self.thread.submit(self._look, source, ask, width, colours, medium).result()

    def close(self) -> None:
        self.thread.submit(self.page.context.browser.close).result()
        self.thread.submit(self.playwright.stop).result()
        self.thread.shutdown()


@pytest.fixture(scope="module")
def look(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Look]:
    browser = Browser(tmp_path_factory.mktemp("feedback") / "page.html")
    yield browser.look
    browser.close()


def shape(opened: Page) -> dict[str, Any]:
    return opened.evaluate(
        """() => ({
          scripts: document.querySelectorAll("script, img, svg, iframe, link, base, object, form").length,
          handlers: [...document.querySelectorAll("*")].some(
            e => [...e.attributes].some(a => a.name.startsWith("on"))),
          wide: document.documentElement.scrollWidth - innerWidth,
          outside: [...document.body.querySelectorAll("*:not(.unseen)")].filter(e => {
            const box = e.getBoundingClientRect();
            return box.width && (box.right > innerWidth + .5 || box.left < -.5);
          }).map(e => e.outerHTML.slice(0, 100)),
          main: document.body.children.length === 1 && document.body.firstElementChild.tagName === "MAIN",
        })"""
    )


CALM = {"scripts": 0, "handlers": False, "wide": 0, "outside": [], "main": True}


def assert_calm(seen: Visit) -> None:
    assert (seen.requests, seen.troubles, seen.answer) == ([], [], CALM)


def test_attacks_in_a_browser(look):
    results = [result for attack in ATTACKS for result in attacked(attack)]
    for source in (*(page(result, "en") for result in results), index(results, "en")):
        assert_calm(look(source, shape, width=390))


@each_language
def test_nothing_sticks_out(look, lang):
    results = [graded("class.zip/" + "long_name_" * 9, relu=0), *map(of_status, STATUSES)]
    for result in results:
        assert_calm(look(page(result, lang), shape, width=390))
    for width in (320, 390, 1280):
        assert_calm(look(index(results, lang), shape, width=width))
        assert_calm(look(page(results[1], lang), shape, width=width))


def test_the_browser_would_not_run_a_script_that_slipped_through(look):
    source = page(graded(), "en").replace("<main>", "<main><img src=https://example.com/x onerror=alert(1)>")
    source = source.replace("</main>", "<script>alert(1)</script></main>")
    seen = look(source, lambda opened: opened.wait_for_timeout(200))
    assert "dialog" not in seen.troubles and seen.requests == []
    assert sum("Content Security Policy" in trouble for trouble in seen.troubles) >= 2


def colours(opened: Page) -> list[str]:
    return opened.evaluate(
        "() => { const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]; }"
    )


def test_dark_and_printed(look):
    source = page(graded(relu=0), "ja")
    assert look(source, colours).answer == ["rgb(255, 253, 249)", "rgb(31, 36, 45)"]
    assert look(source, colours, colours="dark").answer == ["rgb(23, 25, 30)", "rgb(236, 233, 227)"]
    printed = look(source, colours, colours="dark", medium="print").answer
    assert printed == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]


@each_language
def test_a_sheet_of_paper_is_enough(look, lang):
    for result in (graded(**dict.fromkeys(CRITERIA, 0)), without_points("crashed", HINT)):
        sheets = look(page(result, lang), lambda opened: opened.pdf(format="A4")).answer
        assert len(re.findall(rb"/Type\s*/Page\b", sheets)) == 1


def test_a_screen_reader_hears_words(look):
    def tree(source: str) -> str:
        return look(source, lambda opened: opened.locator("body").aria_snapshot()).answer

    heard = tree(page(graded(relu=0), "en"))
    assert 'heading "Your result" [level=1]' in heard
    assert 'columnheader "What was checked"' in heard
    assert 'row "not right yet ReLU' in heard and "✗" not in heard.split("table")[1]
    heard = tree(index([graded()], "en"))
    assert re.search(r"listitem: \W?100: 1", heard)
    assert 'rowheader "3반' in heard
