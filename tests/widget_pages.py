"""Pages with widgets and nothing else, as the site would load them, and what reads them."""

import sys
from collections.abc import Iterable
from pathlib import Path

from cnnlab import widgets
from cnnlab.figures import PALETTE
from cnnlab.i18n import speaking

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book" / "_ext"))

from cnnlab_book.widgets import write_scripts  # noqa: E402

LIGHT, DARK = ("".join(f"--fig-{role}:{pair[k]};" for role, pair in PALETTE.items()) for k in (0, 1))
PAGE = """<!doctype html>
<html lang="{lang}"><head><meta charset="utf-8"><link rel="icon" href="data:,">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<style>:root{{{light}}} html[data-theme=dark]{{{dark}}} body{{margin:0 auto;padding:.5rem;max-width:50rem;
background:var(--fig-paper);color:var(--fig-ink);font-family:system-ui,sans-serif}}</style>
<script defer src="widgets/host.js"></script></head><body><main><h1>{name}</h1>{widget}</main></body></html>
"""


def write_pages(
    folder: Path, languages: tuple[str, ...] = ("ja", "ko"), names: Iterable[str] = widgets.__all__
) -> None:
    """One page per widget and language: ``<language>-<module>.html``."""
    write_scripts(folder / "widgets")
    for lang in languages:
        with speaking(lang):
            for name in names:
                widget = getattr(widgets, name)()
                page = PAGE.format(lang=lang, name=name, light=LIGHT, dark=DARK, widget=widget.to_html())
                Path(folder, f"{lang}-{widget.module}.html").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    write_pages(target)
    print(*sorted(path.name for path in target.glob("*.html")), sep="\n")
