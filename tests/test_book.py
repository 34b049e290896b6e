"""The site as a reader meets it: built, opened in Chromium, in both languages, with nothing fetched from
elsewhere.

The browser is Chromium from the system, or the one that the environment variable CNNLAB_CHROMIUM names, or
Playwright's own.
"""

import base64
import gzip
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import quote, unquote

import nbformat
import pytest
import yaml
from fontTools.ttLib import TTFont
from PIL import Image
from playwright.sync_api import Browser, Page
from reading import Reader, serve
from widget_pages import barriers, sticking_out

from cnnlab import widgets

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
LANGUAGES = tomllib.loads((BOOK / "languages.toml").read_text(encoding="utf-8"))
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
FILES = [entry["file"] for entry in TOC["chapters"]]
CHAPTERS = [stem for stem in FILES if (ROOT / "notebooks" / "ja" / f"{stem}.ipynb").exists()]
LESSONS = [stem for stem in CHAPTERS if stem[0].isdigit()]  # not the pages that are only to be played with
PAGES = [(code, stem) for code in LANGUAGES for stem in [TOC["root"], *FILES, "search"]]
NOTEBOOKS = [(code, stem) for code in LANGUAGES for stem in CHAPTERS]
TERMS = tomllib.loads((ROOT / "tests/search_terms.toml").read_text(encoding="utf-8"))
every_page = pytest.mark.parametrize(("code", "stem"), PAGES)
every_chapter = pytest.mark.parametrize(("code", "stem"), NOTEBOOKS)
every_lesson = pytest.mark.parametrize(("code", "stem"), [page for page in NOTEBOOKS if page[1] in LESSONS])
every_language = pytest.mark.parametrize("code", list(LANGUAGES))
FIRST_VIEW = 500_000  # bytes with gzip
CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]")
# Labels that are the same in every language.
UNTRANSLATED = re.compile(r"(Colab|CNN|MNIST|cnnlab[\w.]*|Ctrl|K|\.ipynb|\.md|\.pdf|[\W\d_]*)")


def load(name: str) -> ModuleType:
    """A module of ``book/``, which is not a package."""
    spec = importlib.util.spec_from_file_location(f"book_{name}", BOOK / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", autouse=True)
def extensions() -> Iterator[None]:
    sys.path.insert(0, str(BOOK / "_ext"))
    yield
    sys.path.remove(str(BOOK / "_ext"))


def run_build(root: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, str(root / "book/build.py")],
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=1500,
        cwd=root,
    )


# ---------------------------------------------------------------- the built site


@pytest.fixture(scope="session")
def site() -> Path:
    done = run_build(ROOT)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return BOOK / "_build/html"


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    with serve(site) as root:
        yield root


@pytest.fixture
def reader(browser: Browser, address: str) -> Iterator[Reader]:
    visitor = Reader(browser, address)
    yield visitor
    visitor.context.close()
    assert visitor.troubles == []


@pytest.fixture
def phone(browser: Browser, address: str) -> Iterator[Reader]:
    visitor = Reader(browser, address, viewport={"width": 390, "height": 844})
    yield visitor
    visitor.context.close()
    assert visitor.troubles == []


@pytest.fixture(scope="module", params=PAGES, ids=lambda page: "-".join(page))
def shown(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[tuple[str, str, Page]]:
    """A page that is opened once for all tests that only look at it: language, stem, page."""
    visitor = Reader(browser, address)
    yield (*request.param, visitor.open("{}/{}.html".format(*request.param)))
    visitor.context.close()
    assert visitor.troubles == []


@pytest.fixture(scope="module", params=PAGES, ids=lambda page: "-".join(page))
def on_phone(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Page]:
    """The same on a phone, with all hints and solutions unfolded."""
    visitor = Reader(browser, address, viewport={"width": 390, "height": 844})
    page = visitor.open("{}/{}.html".format(*request.param))
    page.evaluate("for (const node of document.querySelectorAll('details')) node.open = true")
    yield page
    visitor.context.close()
    assert visitor.troubles == []


@every_page
def test_page_is_in_its_language_and_knows_the_other(reader: Reader, code: str, stem: str) -> None:
    page = reader.open(f"{code}/{stem}.html")
    assert page.evaluate("document.documentElement.lang") == code
    alternates = page.eval_on_selector_all(
        "link[rel=alternate][hreflang]", "links => Object.fromEntries(links.map(l => [l.hreflang, l.href]))"
    )
    assert alternates == {
        **{other: f"{reader.root}{other}/{stem}.html" for other in LANGUAGES},
        "x-default": f"{reader.root}index.html",
    }
    for other in LANGUAGES:
        if other == code:
            continue
        page.click(f".language-switch a[hreflang={other}]")
        page.wait_for_url(f"**/{other}/{stem}.html*", wait_until="domcontentloaded")
        assert page.evaluate("document.documentElement.lang") == other
        page.click(f".language-switch a[hreflang={code}]")
        page.wait_for_url(f"**/{code}/{stem}.html*", wait_until="domcontentloaded")


@every_chapter
def test_switch_leads_to_the_same_section(reader: Reader, code: str, stem: str) -> None:
    page = reader.open(f"{code}/{stem}.html")
    sections = page.eval_on_selector_all("article section section[id]", "nodes => nodes.map(node => node.id)")
    assert len(sections) >= 3
    section = sections[len(sections) // 2]
    page.evaluate("id => document.getElementById(id).scrollIntoView()", section)
    other = next(name for name in LANGUAGES if name != code)
    page.click(f".language-switch a[hreflang={other}]")
    page.wait_for_url(f"**/{other}/{stem}.html#*", wait_until="domcontentloaded")
    reached = unquote(page.url.split("#")[1])
    assert reached in sections
    assert page.evaluate("id => document.getElementById(id).tagName", reached) == "SECTION"


def test_interface_is_in_the_language_of_the_page(shown: tuple[str, str, Page]) -> None:
    code, _, page = shown
    labels = page.evaluate(
        """() => {
          const found = new Set();
          const names = ["title", "aria-label", "placeholder", "data-bs-title",
                         "data-bs-original-title", "data-tooltip"];
          for (const name of names)
            for (const node of document.querySelectorAll(`[${name}]`))
              if (!node.closest("article svg, .language-switch a")) found.add(node.getAttribute(name));
          const parts = "button, summary, .admonition-title, .prev-next-subtitle, .onthispage";
          for (const node of document.querySelectorAll(parts))
            found.add(node.textContent);
          for (const node of document.querySelectorAll("button svg title")) found.add(node.textContent);
          for (const node of document.querySelectorAll("img")) found.add(node.alt);
          return [...found].map(text => text.trim()).filter(Boolean);
        }"""
    )
    own = {table["name"] for table in LANGUAGES.values()}
    assert [text for text in labels if not CJK.search(text) and not UNTRANSLATED.fullmatch(text)] == []
    foreign = {"ja": "[\uac00-\ud7a3]", "ko": "[\u3040-\u30ff]"}
    if code in foreign:
        assert [text for text in labels if re.search(foreign[code], text) and text not in own] == []


def test_nothing_scrolls_sideways_on_a_phone(on_phone: Page) -> None:
    page = on_phone
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    wide = page.evaluate(
        """() => [...document.querySelectorAll("article *")].filter(node => {
          if (node.getBoundingClientRect().right <= 391 || !node.checkVisibility()) return false;
          for (let box = node; box && box.tagName !== "ARTICLE"; box = box.parentElement)
            if (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(box).overflowX)) return false;
          return true;
        }).map(node => node.outerHTML.slice(0, 120))"""
    )
    assert wide == []


def test_wide_formulas_can_be_scrolled_to_their_beginning(on_phone: Page) -> None:
    cut = on_phone.evaluate(
        """() => [...document.querySelectorAll("article div.math > math")].filter(math => {
          const box = math.parentElement.getBoundingClientRect();
          return box.width && math.firstElementChild.getBoundingClientRect().left < box.left - 1;
        }).map(math => math.textContent)"""
    )
    assert cut == []


def broken(page: Page, root: str, pattern: str) -> list[str]:
    """Matches of a pattern in the running text, its code included, that stand on more than one line; widgets
    are no running text."""
    return page.evaluate(
        """([root, pattern]) => {
          const blocks = "p, li, td, th, dt, dd, figcaption, summary, h1, h2, h3, h4, nav";
          let text = "", places = [], block = null;
          const walker = document.createTreeWalker(document.querySelector(root), NodeFilter.SHOW_TEXT);
          for (let node; (node = walker.nextNode());) {
            const parent = node.parentElement;
            if (!parent.checkVisibility()) continue;
            const other = parent.closest("pre, math, svg, script, .headerlink, .cw-host");
            if (other || parent.closest(blocks) !== block) { text += "\\n"; places.push(null); }
            block = parent.closest(blocks);
            if (other) continue;
            for (let i = 0; i < node.length; i++) places.push([node, i]);
            text += node.data;
          }
          const box = ([node, i]) => {
            const range = document.createRange();
            range.setStart(node, i);
            range.setEnd(node, i + 1);
            return range.getBoundingClientRect();
          };
          return [...text.matchAll(new RegExp(pattern, "g"))].filter(match => {
            const first = box(places[match.index]), last = box(places[match.index + match[0].length - 1]);
            return last.top > first.bottom - 2;
          }).map(match => text.slice(match.index - 9, match.index + match[0].length + 9));
        }""",
        [root, pattern],
    )


def test_lines_end_where_a_reader_may_pause(on_phone: Page) -> None:
    code = on_phone.evaluate("document.documentElement.lang")
    figure = rf"{LANGUAGES[code]['figure']}\s?\d+\.\d+"
    if on_phone.query_selector("article") is None:
        return
    assert broken(on_phone, "article", figure) == []
    assert broken(on_phone, "article", r"(?<![\w/.@-])[A-Za-z0-9]+(?:-[A-Za-z0-9]+)+(?![\w/@-])") == []
    if code == "ko":
        assert broken(on_phone, "article", r"[^\s(\[“‘「『《〈/·×÷-][가-힣]") == []
    assert "\u2060" not in on_phone.text_content("article"), "readers would copy it"


def test_contents_do_not_break_korean_words(shown: tuple[str, str, Page]) -> None:
    code, _, page = shown
    if code == "ko" and page.query_selector(".bd-sidebar-secondary"):
        assert broken(page, ".bd-sidebar-secondary", "[가-힣]{2}") == []


@every_language
def test_tables_of_the_start_page_fit_a_phone(phone: Reader, code: str) -> None:
    page = phone.open(f"{code}/index.html")
    wide = "tables => tables.filter(table => table.scrollWidth > table.clientWidth).map(t => t.textContent)"
    assert page.eval_on_selector_all("article table", wide) == []


def test_what_scrolls_sideways_shows_it(on_phone: Page) -> None:
    assert (
        on_phone.evaluate(
            """() => [...document.querySelectorAll("article *")].filter(node => {
              const style = getComputedStyle(node);
              return style.overflowX === "auto" && node.scrollWidth > node.clientWidth + 1
                && !style.backgroundAttachment.includes("local");
            }).map(node => node.outerHTML.slice(0, 120))"""
        )
        == []
    )


def test_outputs_of_one_line_and_errors_wrap(on_phone: Page) -> None:
    assert (
        on_phone.evaluate(
            """() => [...document.querySelectorAll("article .cell_output pre")].filter(node =>
              (!node.textContent.trim().includes("\\n") || node.closest(".traceback, .stderr"))
              && node.scrollWidth > node.clientWidth + 1
            ).map(node => node.textContent)"""
        )
        == []
    )


def test_outputs_printed_one_after_another_are_one_box(shown: tuple[str, str, Page]) -> None:
    assert shown[2].query_selector_all("div.cell_output > .output.stream + .output.stream") == []


def test_code_of_usual_width_fits(shown: tuple[str, str, Page]) -> None:
    code, stem, page = shown
    cut = page.evaluate(
        """() => [...document.querySelectorAll("article .cell_input pre")].filter(node => {
          const widths = node.textContent.split("\\n").map(
            line => [...line].reduce((sum, sign) => sum + (sign > "\\u2e80" ? 2 : 1), 0));
          return Math.max(...widths) <= 94 && node.scrollWidth > node.clientWidth + 1;
        }).map(node => node.textContent)"""
    )
    assert cut == []
    sizes = page.eval_on_selector_all(
        "article pre", "nodes => nodes.map(node => parseFloat(getComputedStyle(node).fontSize))"
    )
    assert min(sizes, default=13) >= 13


def test_nothing_stands_between_a_root_and_what_follows(shown: tuple[str, str, Page]) -> None:
    gaps = shown[2].eval_on_selector_all(
        "article msqrt",
        """roots => roots.map(root => [root.textContent,
          root.getBoundingClientRect().right - root.lastElementChild.getBoundingClientRect().right])""",
    )
    assert [root for root, gap in gaps if gap > 1] == []


def test_footer_ends_like_a_sentence_of_its_language(shown: tuple[str, str, Page]) -> None:
    code, _, page = shown
    assert page.text_content("footer .copyright").strip() == f"© {LANGUAGES[code]['copyright']}"


@every_language
def test_font_of_formulas_has_every_sign(site: Path, code: str) -> None:
    """A root's sign does not stand in the page's text, yet without it in the font no root is drawn."""
    css = "".join(path.read_text(encoding="utf-8") for path in (site / code / "_static").glob("*.css"))
    packed = re.search(r'"Book Math";src:url\(data:font/woff;base64,([^)]*)\)', css)[1]
    font = TTFont(io.BytesIO(base64.b64decode(packed)))
    pages = "".join(path.read_text(encoding="utf-8") for path in (site / code).glob("*.html"))
    formulas = re.findall(r"<math.*?</math>", pages, re.DOTALL)
    signs = {sign for formula in formulas for sign in re.sub(r"<[^>]*>", "", formula)} | set("√")
    assert any("<msqrt" in formula for formula in formulas)
    assert [
        sign for sign in signs if "\u2190" <= sign < "\u2bff" and ord(sign) not in font.getBestCmap()
    ] == []


def test_formulas_are_rendered(shown: tuple[str, str, Page]) -> None:
    code, stem, page = shown
    page.evaluate("for (const node of document.querySelectorAll('details')) node.open = true")
    formulas = page.evaluate(
        """() => [...document.querySelectorAll("article .math")].map(node => {
          const math = node.querySelector("math");
          const box = math ? math.getBoundingClientRect() : {width: 0, height: 0};
          const wrong = !!node.querySelector("merror");
          return [math ? math.textContent : "", box.width > 0 && box.height > 0, wrong];
        })"""
    )
    assert formulas or stem not in CHAPTERS
    assert [text for text, drawn, wrong in formulas if not drawn or wrong] == []
    prose = page.evaluate(
        """() => {
          const copy = (document.querySelector("article") || document.body).cloneNode(true);
          for (const node of copy.querySelectorAll("pre, code, math, svg")) node.remove();
          return copy.textContent;
        }"""
    )
    assert re.findall(r"\$[^$\n]{1,40}\$|\\(?:frac|sum|begin|text)\b", prose) == []
    assert not formulas or page.evaluate("document.fonts.check('16px \"Book Math\"')")


def test_figures_have_names_and_captions(shown: tuple[str, str, Page]) -> None:
    code, stem, page = shown
    figures = page.evaluate(
        """() => [...document.querySelectorAll("article :is(.cell_output, figure) :is(svg, img)")]
          .filter(node => !node.closest("button, .cw-host")).map(node => {
          const label = document.getElementById(node.getAttribute("aria-labelledby") || "-");
          const name = label ? label.textContent : node.getAttribute("alt") || "";
          return [node.getAttribute("role") || node.tagName, name, !!node.closest("figure")];
        })"""
    )
    assert figures or stem not in LESSONS
    word = LANGUAGES[code]["figure"]
    for role, name, framed in figures:
        assert role in {"img", "IMG"}
        assert re.match(rf"{word}\s?\d+\.\d+\s*\S", name.strip()), name
        assert framed
    assert (
        page.eval_on_selector_all(
            "article img", "nodes => nodes.filter(node => !node.alt).map(node => node.src)"
        )
        == []
    )


@every_lesson
def test_figures_change_with_the_theme(browser: Browser, address: str, code: str, stem: str) -> None:
    seen = {}
    for theme in ("light", "dark"):
        reader = Reader(browser, address, color_scheme=theme)
        page = reader.open(f"{code}/{stem}.html")
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        seen[theme] = page.evaluate(
            """() => {
              const inked = document.querySelector('article figure svg [style*="--fig-ink"]');
              return inked ? [getComputedStyle(inked).fill, getComputedStyle(inked).stroke] : null;
            }"""
        )
        reader.context.close()
        assert reader.troubles == []
    assert seen["light"] and seen["dark"] and seen["light"] != seen["dark"]


@every_chapter
def test_page_is_light(site: Path, browser: Browser, address: str, code: str, stem: str) -> None:
    reader = Reader(browser, address)
    addresses: set[str] = set()
    reader.page.on("request", lambda request: addresses.add(request.url.split("?")[0]))
    reader.open(f"{code}/{stem}.html")
    reader.page.wait_for_load_state("networkidle")
    reader.context.close()
    files = [site / unquote(url.removeprefix(address)) for url in addresses if url.startswith(address)]
    weight = sum(len(gzip.compress(path.read_bytes(), 6)) for path in files)
    assert weight <= FIRST_VIEW


def test_colab_and_download_lead_to_the_notebook_of_the_language(
    shown: tuple[str, str, Page], site: Path
) -> None:
    code, stem, page = shown
    if stem not in CHAPTERS:
        return
    url = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
    owner = url.removeprefix("https://github.com/")
    colab = page.get_attribute("a[href*=colab]", "href")
    assert (
        colab == f"https://colab.research.google.com/github/{owner}/blob/main/notebooks/{code}/{stem}.ipynb"
    )
    download = page.get_attribute("a.btn-download-source-button", "href")
    notebook = json.loads((site / code / download).read_text(encoding="utf-8"))
    assert notebook == json.loads((ROOT / "notebooks" / code / f"{stem}.ipynb").read_text(encoding="utf-8"))


@pytest.mark.parametrize("scheme", ["http", "file"])
@every_language
def test_search_finds_course_terms(
    site: Path, browser: Browser, address: str, code: str, scheme: str
) -> None:
    reader = Reader(browser, address if scheme == "http" else site.as_uri() + "/")
    texts = {}
    for stem in CHAPTERS:
        page = reader.open(f"{code}/{stem}.html")
        texts[stem] = page.evaluate(
            """() => {
              const copy = document.querySelector("article").cloneNode(true);
              const left = "pre, svg, math, .cell_output, figcaption";
              for (const node of copy.querySelectorAll(left)) node.remove();
              return copy.textContent;
            }"""
        )
    terms = TERMS[code] if scheme == "http" else TERMS[code][:5]
    missed = {}
    for term in terms:
        page = reader.open(f"{code}/search.html?q={quote(term)}")
        page.wait_for_function(
            "document.querySelector('#search-results .search-summary')?.textContent.trim()"
        )
        found = page.eval_on_selector_all("#search-results li a", "links => links.map(link => link.href)")
        stems = {re.sub(r".*/|\.html.*", "", link) for link in found}
        wanted = {stem for stem, text in texts.items() if term in text}
        if not stems or wanted - stems:
            missed[term] = sorted(wanted - stems)
    page = reader.open(f"{code}/search.html?q={quote('量子重力' if code == 'ja' else '양자중력')}")
    page.wait_for_function("document.querySelector('#search-results .search-summary')?.textContent.trim()")
    assert page.query_selector_all("#search-results li a") == []
    reader.context.close()
    assert missed == {}
    assert reader.troubles == []
    assert len(TERMS[code]) >= 20


@every_chapter
def test_folder_opened_from_disk_works(site: Path, browser: Browser, code: str, stem: str) -> None:
    reader = Reader(browser, site.as_uri() + "/")
    page = reader.open(f"{code}/{stem}.html")
    assert page.evaluate("document.querySelector('article .math math').getBoundingClientRect().width") > 0
    assert page.evaluate("document.fonts.check('16px \"Book Math\"')")
    other = next(name for name in LANGUAGES if name != code)
    page.click(f".language-switch a[hreflang={other}]")
    page.wait_for_url(f"**/{other}/{stem}.html*")
    reader.context.close()
    assert reader.troubles == []


# ---------------------------------------------------------------- widgets on their pages


def widgets_of(page: Page) -> list[str]:
    hosts = page.locator(".cw-host")
    return [host.get_attribute("data-widget") for host in hosts.all()]


def wait_for_widgets(page: Page) -> None:
    """They start when the reader comes near."""
    for host in page.locator(".cw-host").all():
        host.scroll_into_view_if_needed()
        host.locator(".cw").wait_for()
    page.wait_for_function("!document.querySelector('.cw-host:not([data-ready])')")


def test_every_widget_stands_in_both_languages(site: Path) -> None:
    places = {
        code: {
            (path.stem, name)
            for path in site.glob(f"{code}/*.html")
            for name in re.findall(r'class="cw-host" data-widget="(\w+)"', path.read_text(encoding="utf-8"))
        }
        for code in LANGUAGES
    }
    assert {name for _, name in places["ja"]} == {getattr(widgets, name).module for name in widgets.__all__}
    assert all(found == places["ja"] for found in places.values())


def test_a_page_loads_only_its_own_widgets(shown: tuple[str, str, Page]) -> None:
    _, _, page = shown
    names = widgets_of(page)
    wait_for_widgets(page)
    loaded = page.evaluate("performance.getEntriesByType('resource').map((entry) => entry.name)")
    files = {url.rsplit("/", 1)[1].split("?")[0] for url in loaded if "/_static/widgets/" in url}
    if not names:
        assert not files
        return
    all_widgets = {f"{getattr(widgets, name).module}.mjs" for name in widgets.__all__}
    assert files & all_widgets == {f"{name}.mjs" for name in names}
    # Only a page that is opened from disk needs the copies of the modules in classic scripts.
    assert {name for name in files if name.endswith(".js")} == {"host.js"}


@every_chapter
@pytest.mark.parametrize("width", [390, 1440])
def test_widgets_fit_and_can_be_used(
    browser: Browser, address: str, code: str, stem: str, width: int
) -> None:
    reader = Reader(browser, address, viewport={"width": width, "height": 900})
    page = reader.open(f"{code}/{stem}.html")
    wait_for_widgets(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    titles = page.locator(".cw-host .cw-title").all_inner_texts()
    assert len(titles) == len(widgets_of(page)) and all(titles)
    assert sticking_out(page) == []
    reader.context.close()
    assert reader.troubles == []


@every_language
def test_a_link_leads_to_one_situation_also_from_disk(site: Path, browser: Browser, code: str) -> None:
    reader = Reader(browser, site.as_uri() + "/")
    page = reader.open(f"{code}/02_convolution.html#conv_explorer.row=1&conv_explorer.bias=3")
    host = page.locator(".cw-host[data-widget=conv_explorer][data-ready]")
    host.wait_for()
    assert host.locator(".cw-ou").inner_text() == "12"
    assert 0 <= host.bounding_box()["y"] < 900
    host.locator(".cw-window").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("location.hash.includes('conv_explorer.col=1')")
    assert host.locator(".cw-ou").inner_text() == "9"
    reader.context.close()
    assert reader.troubles == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_the_widgets(shown: tuple[str, str, Page], theme: str) -> None:
    _, _, page = shown
    if not widgets_of(page):
        return
    wait_for_widgets(page)
    assert barriers(page, theme) == ""


def test_keyboard_reaches_the_text_first(reader: Reader) -> None:
    page = reader.open(f"ja/{CHAPTERS[0]}.html")
    page.keyboard.press("Tab")
    assert (
        page.evaluate("document.activeElement.textContent")
        == LANGUAGES["ja"]["strings"]["Skip to main content"]
    )
    page.keyboard.press("Enter")
    assert page.url.endswith("#main-content")


def test_landing_offers_both_languages_and_remembers(reader: Reader) -> None:
    page = reader.open("index.html")
    assert page.query_selector_all(".card.chosen") == []
    assert page.eval_on_selector_all(".card", "cards => cards.map(card => card.dataset.language)") == list(
        LANGUAGES
    )
    for code in LANGUAGES:
        page = reader.open("index.html")
        assert page.url.endswith("/index.html")
        page.click(f".card[data-language={code}]")
        page.wait_for_url(f"**/{code}/index.html")
        page = reader.open("index.html")
        assert page.url.endswith("/index.html"), "the choice stays with the reader"
        assert page.eval_on_selector_all(".card.chosen", "cards => cards.map(card => card.lang)") == [code]
        assert page.is_visible(f".card[data-language={code}] .last")


def test_landing_has_two_themes_and_fits_a_phone(phone: Reader) -> None:
    page = phone.open("index.html")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before


def test_second_build_has_nothing_to_do(site: Path) -> None:
    done = run_build(ROOT)
    assert done.returncode == 0, done.stderr
    assert "Chapters: 0 to run" in done.stdout
    assert "Pages: unchanged" in done.stdout
    assert str(site / "index.html") in done.stdout


# ---------------------------------------------------------------- builds that must fail


def write_notebook(path: Path, *cells: tuple[str, str, str]) -> None:
    """A notebook from (kind, id, source)."""
    kinds = {"code": nbformat.v4.new_code_cell, "text": nbformat.v4.new_markdown_cell}
    notebook = nbformat.v4.new_notebook(
        cells=[kinds[kind](source, id=name) for kind, name, source in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, path)


@pytest.fixture
def small_book(tmp_path: Path) -> Path:
    """A book of one chapter in a folder whose name has blanks, Japanese and Korean."""
    root = tmp_path / "わたしの 本 책"
    shutil.copytree(BOOK, root / "book", ignore=shutil.ignore_patterns("_build", "__pycache__"))
    shutil.copy(ROOT / "_config.yml", root)
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: index\nchapters:\n  - file: one\n", encoding="utf-8"
    )
    for code in LANGUAGES:
        folder = root / "notebooks" / code
        folder.mkdir(parents=True)
        (folder / "index.md").write_text("# 本 책\n\n[1](one.ipynb#sum)\n", encoding="utf-8")
        write_notebook(
            folder / "one.ipynb",
            ("text", "title", "# 1"),
            ("text", "sum", "## $1+1$"),
            ("code", "two", "1 + 1"),
        )
    return root


def test_small_book_is_built_in_an_odd_folder_and_an_empty_home(small_book: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    done = run_build(small_book, HOME=str(home), USERPROFILE=str(home))
    assert done.returncode == 0, done.stdout + done.stderr
    for code in LANGUAGES:
        page = (small_book / "book/_build/html" / code / "one.html").read_text(encoding="utf-8")
        assert f'<html lang="{code}"' in page
        assert 'id="sum"' in page
        assert re.search(r"<span></span>2\b", page)


def test_failing_cell_fails_the_build_and_is_named(small_book: Path) -> None:
    write_notebook(
        small_book / "notebooks/ko/one.ipynb",
        ("text", "title", "# 1"),
        ("code", "fine", "x = 1"),
        ("code", "divide", "x / 0"),
        ("code", "after", "x"),
    )
    done = run_build(small_book)
    assert done.returncode == 1
    assert "ko/one, cell 'divide': ZeroDivisionError: division by zero" in done.stderr
    assert "ja/one, cell" not in done.stderr
    assert not (small_book / "book/_build/html").exists()


def test_faults_of_pages_fail_the_build_and_are_named(small_book: Path) -> None:
    drawing = "from IPython.display import SVG\nSVG('<svg xmlns=\"http://www.w3.org/2000/svg\"/>')"
    write_notebook(
        small_book / "notebooks/ja/one.ipynb",
        ("text", "title", "# 1"),
        ("text", "sum", "## 2\n\n[なし](nowhere.ipynb)"),
        ("code", "drawing", drawing),
    )
    write_notebook(
        small_book / "notebooks/ko/one.ipynb",
        ("text", "title", "# 1"),
        ("text", "sum", "## 2\n\n$\\unknown$"),
        ("text", "picture", "![](picture.png)"),
    )
    (small_book / "notebooks/ko/picture.png").write_bytes(b"")
    for _ in range(2):  # also the second time, when Sphinx could have taken pages from its memory
        done = run_build(small_book)
        assert done.returncode == 1
        lines = done.stderr.splitlines()
        assert any(
            "ja/one.ipynb" in line and "'sum'" in line and "nowhere.ipynb" in line for line in lines
        ), done.stderr
        assert any("ja/one.ipynb" in line and "'drawing'" in line and "caption" in line for line in lines), (
            done.stderr
        )
        assert any("ko/one.ipynb" in line and "'sum'" in line and "unknown" in line for line in lines), (
            done.stderr
        )
        assert any(
            "ko/one.ipynb" in line and "picture.png has no alternative text" in line for line in lines
        ), done.stderr


def test_links_to_missing_places_are_found(tmp_path: Path) -> None:
    links = load("links")
    (tmp_path / "a.html").write_text(
        '<p id="here"></p><p id="here"></p><a href="#here"></a><a href="#gone"></a>'
        '<a href="b.html#there"></a><a href="c.html"></a>'
        '<img src="https://example.org/x.png"><a href="https://example.org/">fine</a>'
    )
    (tmp_path / "b.html").write_text('<p id="there"></p>')
    assert links.check(tmp_path) == [
        "a.html: the id 'here' is there twice",
        "a.html: fetches https://example.org/x.png from another site",
        "a.html: link to a missing place #gone",
        "a.html: broken link c.html",
    ]


# ---------------------------------------------------------------- parts


def test_outputs_belong_to_the_sources_and_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    execution = load("execution")
    package = tmp_path / "cnnlab"
    package.mkdir()
    (package / "ops.py").write_text("a = 1\n")
    monkeypatch.setattr(execution, "package_folder", lambda: package)
    monkeypatch.setenv("CNNLAB_DATA", str(tmp_path / "data"))
    states = [execution.state()]
    assert execution.state() == states[0]
    (package / "ops.py").write_text("a = 2\n")
    states.append(execution.state())
    (tmp_path / "data/MNIST/raw").mkdir(parents=True)
    (tmp_path / "data/MNIST/raw/train-images-idx3-ubyte").write_bytes(b"1")
    states.append(execution.state())
    (package / "locale.toml").write_text("a = 2\n")
    states.append(execution.state())
    assert len(set(states)) == 4


def test_query_is_cut_like_the_index(browser: Browser) -> None:
    from cnnlab_book import search

    context = browser.new_context()
    page = context.new_page()
    page.evaluate(
        "source => { window.cut = new Function(source + '; return splitQuery;')(); }", search.SPLITTER
    )
    for text in (
        "畳み込み層 conv2d",
        "특징 맵을 3×3",
        "層",
        "ｃｏｎｖ２ｄとReLU",
        "グループ・正規化",
        "im2col 전개, K_H",
        "々〆ー",
        "é ñ Ω",
    ):
        query = page.evaluate("text => window.cut(text)", text)
        assert query
        assert set(query) <= set(search.split(text)), text
        assert set(search.split(text)) - set(query) <= set(text), "the index has single characters besides"
    context.close()


@pytest.mark.parametrize(
    ("code", "text", "links"),
    [
        ("ja", "畳み込み層とパディング、もう一度パディング", ["convolution", "layer", "padding"]),
        ("ja", "層化した人形", []),
        ("ja", "大域平均プーリングのあとのプーリング", ["global-average-pooling", "pooling"]),
        ("ja", "サブフィルタリング", []),
        ("ko", "합성곱을 한 다음 최대 풀링", ["convolution", "max-pooling"]),
        ("ko", "역합성곱", []),
    ],
)
def test_terms_are_linked_once_and_whole(code: str, text: str, links: list[str]) -> None:
    from cnnlab_book import glossary

    seen: set[str] = set()
    pieces = glossary.split(text, code, seen)
    assert [key for _, key in pieces if key] == links
    assert "".join(words for words, _ in pieces) == text
    assert [key for _, key in glossary.split(text, code, seen) if key] == []


@pytest.mark.parametrize(
    ("code", "text", "pieces"),
    [
        ("ja", "ConvNeXt-Tは（図4.2）", ["[ConvNeXt-T]", "は（", "[図4.2]", "）"]),
        ("ja", "-1とa-とhttps://x-y.org/a-b.html", ["-1とa-とhttps://x-y.org/a-b.html"]),
        ("ko", "LeNet-5는 9~13%였고 (층)을", ["[LeNet-5는]", " 9~13%", "+", "였고 (층)", "+", "을"]),
        ("ko", "곱셈-누산, 그림 4.2", ["[곱셈-누산]", ", ", "[그림 4.2]"]),
        ("ja", "（層）을", ["（層）을"]),
    ],
)
def test_names_are_kept_and_particles_joined(code: str, text: str, pieces: list[str]) -> None:
    from cnnlab_book import breaks

    marks = {"kept": "[{}]", "joiner": "+{}"}
    cut = breaks.split(text, code)
    assert "".join(piece.astext() for piece in cut) == text
    shown = [
        marks[piece["classes"][0]].format(piece.astext()) if piece.tagname == "inline" else piece.astext()
        for piece in cut
    ]
    assert shown == pieces


def test_particle_is_joined_to_the_element_before_it() -> None:
    from cnnlab_book import breaks
    from docutils import nodes

    line = nodes.paragraph("", "은 ", nodes.strong("", "9%"), nodes.Text("는 (가)"), nodes.emphasis("", "는"))
    line.insert(0, nodes.Text("은 "))
    assert [breaks.follows_sign(line, i) for i in (0, 1, 3)] == [False, False, True]
    assert breaks.follows_sign(line[4], 0)


def test_formula_that_is_not_known_is_refused() -> None:
    from cnnlab_book.formulas import mathml

    assert mathml("x^2", False).startswith("<math")
    assert "出力" in mathml(r"\text{出力} \\ y", True)
    with pytest.raises(ValueError, match="unknown"):
        mathml(r"\unknown", False)
    with pytest.raises(ValueError):
        mathml(r"\frac{1}{2", False)


def test_drawing_goes_into_the_page() -> None:
    from cnnlab_book.figures import inline_svg

    svg = """<?xml version="1.0"?><!DOCTYPE svg><svg xmlns="http://www.w3.org/2000/svg"
    xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 1 1"><metadata>when</metadata>
    <defs><style type="text/css">*{stroke-linecap: butt}</style></defs>
    <defs><path id="a" d=""/></defs><g id="unused"><use xlink:href="#a" style="fill: #ABCDEF"/>
    <path fill="#abcdef" clip-path="url(#a)"/>
    <image href="data:image/png;base64,PICTURE"/><path style="fill: #123456"/></g></svg>"""
    picture = io.BytesIO()
    Image.new("RGBA", (40, 30), (1, 2, 3, 255)).save(picture, "png", compress_level=0)
    svg = svg.replace("PICTURE", base64.b64encode(picture.getvalue()).decode())
    drawn = inline_svg(svg, "f-", "name", {"ink": ("#abcdef", "#ffffff")})
    assert drawn.startswith('<svg role="img" aria-labelledby="name"')
    assert 'id="f-a"' in drawn and 'href="#f-a"' in drawn and "url(#f-a)" in drawn and "unused" not in drawn
    assert drawn.count("var(--fig-ink, #abcdef)") == 2
    packed = base64.b64decode(re.search('base64,([^"]+)', drawn)[1])
    with Image.open(io.BytesIO(packed)) as image:
        assert image.size == (40, 30) and image.convert("RGBA").getpixel((39, 29)) == (1, 2, 3, 255)
    assert len(packed) < len(picture.getvalue()) / 10
    assert "#123456" in drawn and "xlink" not in drawn and "<style" not in drawn and "when" not in drawn


def test_languages_have_the_same_tables() -> None:
    def keys(table: dict) -> set:
        return {key if not isinstance(value, dict) else (key, *sorted(value)) for key, value in table.items()}

    first, *others = LANGUAGES.values()
    for table in others:
        assert keys(table) == keys(first)
    for code in LANGUAGES:
        assert (ROOT / "notebooks" / code).is_dir()


# ---------------------------------------------------------------- the address of the repository


def test_copies_of_the_address_agree() -> None:
    repository = load("repository")
    address = repository.read()
    assert repository.ADDRESS.fullmatch(address)
    name = address.rsplit("/", 1)[1]
    for path in repository.copies():
        text = path.read_text(encoding="utf-8")
        own = re.findall(rf"https://github\.com/[A-Za-z0-9-]+/{re.escape(name)}(?![A-Za-z0-9_-])", text)
        assert set(own) <= {address}, path
    for code, stem in NOTEBOOKS:
        notebook = nbformat.read(ROOT / "notebooks" / code / f"{stem}.ipynb", nbformat.NO_CONVERT)
        setup = next(cell for cell in notebook.cells if cell.id == "setup")
        assert f'"{name} @ git+{address}"' in setup.source


def test_address_is_changed_everywhere_by_one_command(tmp_path: Path) -> None:
    repository = load("repository")
    old, new = repository.read(), "https://github.com/some-body/their.book"
    shutil.copy(ROOT / "_config.yml", tmp_path)
    shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    page = "[Colab](https://colab.research.google.com/github/{}/blob/main/x) <{}>, {}-other"
    (tmp_path / "README.md").write_text(page.format(old.split(".com/")[1], old, old))
    changed = repository.change(new + "/", tmp_path)
    assert repository.read(tmp_path) == new
    assert (tmp_path / "README.md").read_text() == page.format("some-body/their.book", new, old)
    for path in tmp_path.rglob("*.ipynb"):
        assert path in changed
        nbformat.validate(nbformat.read(path, nbformat.NO_CONVERT))
        assert old not in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="expected an address like"):
        repository.change("somewhere", tmp_path)
