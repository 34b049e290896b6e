"""Checks the links inside the built site: every page, file and anchor that a page refers to is there."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ADDRESSES = {
    "a": "href",
    "link": "href",
    "script": "src",
    "img": "src",
    "source": "src",
    "iframe": "src",
    "form": "action",
}


class _Page(HTMLParser):
    """Anchors and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.anchors: set[str] = set()
        self.addresses: list[str] = []
        self.fetched: list[str] = []
        self.repeated: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        for key in ("id", "name") if tag == "a" else ("id",):
            if values.get(key):
                if key == "id" and values["id"] in self.anchors:
                    self.repeated.append(values["id"])
                self.anchors.add(values[key])
        address = values.get(ADDRESSES.get(tag, ""))
        if address:
            self.addresses.append(address)
            if tag not in {"a", "form"} and values.get("rel") not in {"alternate", "canonical"}:
                self.fetched.append(address)


def check(site: Path) -> list[str]:
    """Complaints about the pages below a folder, each beginning with the page."""
    pages = {path.resolve(): _Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    complaints = []
    for path, page in pages.items():
        name = path.relative_to(site.resolve()).as_posix()
        complaints += [f"{name}: the id {anchor!r} is there twice" for anchor in page.repeated]
        complaints += [
            f"{name}: fetches {a} from another site" for a in page.fetched if a.startswith(("http", "//"))
        ]
        for address in page.addresses:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                complaints.append(f"{name}: broken link {address}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                complaints.append(f"{name}: link to a missing place {address}")
    return complaints
