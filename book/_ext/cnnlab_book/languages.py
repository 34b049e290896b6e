"""The language of a page: interface strings, `<html lang>`, and links to the same page in the other
languages.

A build has one language: the name of the source folder (``notebooks/ja``), looked up in
``book/languages.toml``.
"""

import gettext
import html
import json
import re
from pathlib import Path
from typing import Any

import sphinx.locale
from sphinx.application import Sphinx
from sphinx.config import Config

try:
    import tomllib
except ModuleNotFoundError:  # Python 3.10
    import tomli as tomllib

BOOK = Path(__file__).resolve().parents[2]
# Attributes whose text a reader sees as a tooltip or hears from a screen reader.
SPOKEN = re.compile(r'\b(title|aria-label|placeholder|alt|data-bs-title|data-toggle-hint)="([^"]*)"')


def load(folder: Path = BOOK) -> dict[str, dict[str, Any]]:
    """The tables of ``languages.toml``, by language code, in the order in which they are offered."""
    return tomllib.loads((folder / "languages.toml").read_text(encoding="utf-8"))


class Strings(gettext.NullTranslations):
    """Our strings first, then those that the themes and Sphinx bring."""

    def __init__(self, strings: dict[str, str], fallback: gettext.NullTranslations) -> None:
        super().__init__()
        self.strings = strings
        self.add_fallback(fallback)

    def gettext(self, message: str) -> str:
        return self.strings.get(message) or super().gettext(message)


def configure(app: Sphinx, config: Config) -> None:
    """Set everything in the configuration that depends on the language of this build."""
    tables = load()
    code = Path(app.srcdir).name
    if code not in tables:
        raise ValueError(
            f"{app.srcdir}: book/languages.toml has no table [{code}]; it has {', '.join(tables)}"
        )
    table = tables[code]
    strings = table["strings"]
    config.language = code
    config.html_search_language = code
    config.html_title = table["title"]
    config.project = table["title"]
    config.author = table["author"]
    config.copyright = table["copyright"]
    config.nb_code_prompt_show = strings["Show code cell {type}"]
    config.nb_code_prompt_hide = strings["Hide code cell {type}"]
    config.togglebutton_hint = strings["Click to show"]
    config.togglebutton_hint_hide = strings["Click to hide"]
    options = config.html_theme_options
    options["search_bar_text"] = strings["Search this book..."]
    options["toc_title"] = strings["Contents"]
    options["path_to_docs"] = f"{options['path_to_docs'].rstrip('/')}/{code}"
    if config.html_baseurl:
        config.html_baseurl = f"{config.html_baseurl.rstrip('/')}/{code}/"
    config.html_context.setdefault("default_mode", "auto")
    config.templates_path.insert(0, str(BOOK / "_templates"))
    config.html_static_path.append(str(BOOK / "_static"))
    config.html_css_files.append("book.css")
    config.html_js_files.append("book.js")


def use_strings(app: Sphinx) -> None:
    """Put our strings before those of Sphinx and of the themes."""
    strings = load()[app.config.language]["strings"]
    sphinx.locale.init([None, str(Path(sphinx.locale.__file__).parent)], app.config.language)
    for domain in ("sphinx", "booktheme", "togglebutton"):
        key = ("general", domain)
        known = sphinx.locale.translators.get(key, gettext.NullTranslations())
        if not isinstance(known, Strings):
            sphinx.locale.translators[key] = Strings(strings, known)
    app.translator = sphinx.locale.translators["general", "sphinx"]
    environment = getattr(app.builder.templates, "environment", None)
    if environment is not None:
        environment.install_gettext_translations(app.translator)


def add_alternates(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any
) -> None:
    """Tell the templates where the same page is in each language."""
    root = context.get("content_root", "./")
    base = app.config.html_baseurl.rsplit("/", 2)[0] + "/" if app.config.html_baseurl else f"{root}../"
    tables = load()
    context["languages"] = [
        {
            "code": code,
            "name": table["name"],
            "label": table["strings"]["Read this page in"],
            "href": f"{root}../{code}/{pagename}.html",
            "canonical": f"{base}{code}/{pagename}.html",
            "current": code == app.config.language,
        }
        for code, table in tables.items()
    ]
    context["landing"] = f"{base}index.html"
    table = tables[app.config.language]
    strings = {"language": app.config.language, "search": table["search"], **table["script"]}
    context["book_strings"] = json.dumps(strings, ensure_ascii=False).replace("</", "<\\/")


def translate_attributes(page: str, strings: dict[str, str]) -> str:
    """Translate tooltips and labels that a theme has written into its templates in English."""

    def replace(match: re.Match[str]) -> str:
        text = strings.get(html.unescape(match[2]))
        return f'{match[1]}="{html.escape(text)}"' if text else match[0]

    return SPOKEN.sub(replace, page)


def translate_pages(app: Sphinx, exception: Exception | None) -> None:
    if exception is not None or app.builder.format != "html":
        return
    strings = load()[app.config.language]["strings"]
    for path in Path(app.outdir).rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        translated = translate_attributes(page, strings)
        if translated != page:
            path.write_text(translated, encoding="utf-8", newline="\n")


def setup(app: Sphinx) -> None:
    app.connect("config-inited", configure, priority=1)
    app.connect("builder-inited", use_strings, priority=1)
    app.connect("html-page-context", add_alternates)
    app.connect("build-finished", translate_pages)
