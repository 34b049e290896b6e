"""Pages with widgets and nothing else, as the site would load them, and how they are opened.

The fixtures `widget_folder`, `root` and `reader` in conftest.py use them.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page
from reading import Reader

from cnnlab import widgets
from cnnlab.figures.style import variables
from cnnlab.i18n import speaking
from cnnlab.widgets.widget import Widget

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book" / "_ext"))

from cnnlab_book.widgets import write_scripts  # noqa: E402

LIGHT, DARK = variables()
PAGE = """<!doctype html>
<html lang="{lang}"><head><meta charset="utf-8"><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<style>:root{{{light}}} html[data-theme=dark]{{{dark}}} body{{margin:0 auto;padding:.5rem;max-width:50rem;
background:var(--fig-paper);color:var(--fig-ink);font-family:system-ui,sans-serif}}</style>
<script defer src="widgets/host.js"></script></head><body><main><h1>{name}</h1>{widget}</main></body></html>
"""


LANGUAGES = ("ja", "ko")


def write_page(folder: Path, lang: str, name: str, widget: Widget) -> None:
    """``<language>-<name>.html`` with one widget, which was made in that language."""
    page = PAGE.format(lang=lang, name=name, light=LIGHT, dark=DARK, widget=widget.to_html())
    Path(folder, f"{lang}-{name}.html").write_text(page, encoding="utf-8")


def write_pages(folder: Path) -> None:
    """What pages load, and one page per widget and language: ``<language>-<module>.html``."""
    write_scripts(folder / "widgets")
    for lang in LANGUAGES:
        with speaking(lang):
            for name in widgets.__all__:
                widget = getattr(widgets, name)()
                write_page(folder, lang, widget.module, widget)


def fragment(module: str, **state: object) -> str:
    """The end of an address: numbers and words as they are, True as true, tables as 1,0;0,1."""

    def written(value: object) -> str:
        if isinstance(value, str | int | float):
            return str(value).lower() if isinstance(value, bool) else str(value)
        return ";".join(",".join(map(str, row)) for row in value)

    parts = [f"{module}.{name}={written(value)}" for name, value in state.items()]
    return "#" + "&".join(parts) if parts else ""


def open_page(name: str, visitor: Reader, lang: str = "ja", end: str = "", **state: object) -> Page:
    """A page of `write_page`, its widget ready. What the address says of the widget is `end`, or `state`."""
    page = visitor.open(f"{lang}-{name}.html{end or fragment(name, **state)}")
    page.wait_for_selector(".cw-host[data-ready]")
    return page


def drawn(page: Page) -> None:
    """Waits until what has changed is drawn: widgets draw once per frame, and not before the next one."""
    page.evaluate(
        """() => new Promise((done) =>
          setTimeout(() => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))))"""
    )


def written(page: Page) -> str:
    """The address, once all that has changed stands in it: it is written at most every 300 ms. A timer of the
    page itself comes after the one that writes, however busy the machine is."""
    return page.evaluate("() => new Promise((done) => setTimeout(() => done(location.href), 350))")


def sticking_out(page: Page) -> list[str]:
    """What reaches beyond the right edge of its widget."""
    return page.evaluate(
        """() => [...document.querySelectorAll('.cw')].flatMap((box) =>
          [...box.querySelectorAll('button, input, canvas, svg, .cw-grid')]
            .filter((node) => node.getClientRects().length)
            .filter((node) => node.getBoundingClientRect().right > box.getBoundingClientRect().right + 1)
            .map((node) => node.outerHTML.slice(0, 80)))"""
    )


def barriers(page: Page, theme: str) -> str:
    """What axe finds against the widgets of a page in the light or dark theme; nothing, if all is well."""
    before = page.evaluate("document.documentElement.dataset.theme")
    page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
    # Without `preload`, which would fetch style sheets again, by addresses that are wrong from here.
    found = Axe().run(page, context=".cw", options={"resultTypes": ["violations"], "preload": False})
    page.evaluate("(theme) => { document.documentElement.dataset.theme = theme ?? ''; }", before)
    return found.generate_report() if found.violations_count else ""


@contextmanager
def imported(browser: Browser, root: str, module: str) -> Iterator[Page]:
    """A page in which ``window.module`` is a module of the widgets."""
    page = browser.new_page()
    page.goto(f"{root}ja-conv_explorer.html")
    page.evaluate("async (name) => { window.module = await import(`./widgets/${name}.mjs`); }", module)
    yield page
    page.close()


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    write_pages(target)
    print(*sorted(path.name for path in target.glob("*.html")), sep="\n")
