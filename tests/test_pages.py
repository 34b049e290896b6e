"""The pages that are no chapters: the glossary has every term, the bibliography every paper, and so on."""

import json
import re
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
ALL = tomllib.loads((ROOT / "book" / "terms.toml").read_text("utf-8"))
TERMS = {key: term for key, term in ALL.items() if term.get("glossary", True)}
LANGUAGES = ("ja", "ko")
each_language = pytest.mark.parametrize("lang", LANGUAGES)


def page(lang: str, name: str) -> str:
    return (ROOT / "notebooks" / lang / f"{name}.md").read_text("utf-8")


def markdown(lang: str, stem: str) -> dict[str, str]:
    """The Markdown cells of a chapter, by id."""
    cells = json.loads((ROOT / "notebooks" / lang / f"{stem}.ipynb").read_text("utf-8"))["cells"]
    return {cell["id"]: "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"}


def entries(lang: str) -> dict[str, str]:
    """What the glossary says of each term."""
    return dict(re.findall(r"(?m)^(\S.*)\n: (.+)$", page(lang, "glossary")))


@each_language
def test_glossary_has_every_term_and_nothing_else(lang):
    assert sorted(entries(lang)) == sorted(term[lang] for term in TERMS.values())


def test_glossaries_have_the_same_terms_in_each_part():
    parts = []
    for lang in LANGUAGES:
        keys = {term[lang]: key for key, term in TERMS.items()}
        sections = re.split(r"(?m)^## .*$", page(lang, "glossary"))[1:]
        parts.append([sorted(keys[name] for name in re.findall(r"(?m)^(\S.*)\n: ", s)) for s in sections])
    assert parts[0] == parts[1]


def section(lang: str, stem: str, cell: str) -> str:
    """The Markdown from a cell up to the next cell that begins with a heading of the second level."""
    cells = markdown(lang, stem)
    names = list(cells)
    assert cell in cells, f"{stem}.ipynb has no cell {cell!r}"
    start = names.index(cell)
    ends = [i for i in range(start + 1, len(names)) if cells[names[i]].startswith("## ")]
    return "\n\n".join(cells[name] for name in names[start : ends[0] if ends else None])


@each_language
def test_each_entry_leads_to_where_the_term_is_introduced(lang):
    wrong = []
    for name, text in entries(lang).items():
        links = re.findall(r"\]\((\w+)\.ipynb#([\w-]+)\)", text)
        if not links:
            wrong.append(f"{name}: no link to a section of a chapter")
            continue
        stem, cell = links[-1]
        if name not in section(lang, stem, cell):
            wrong.append(f"{name}: does not stand in {stem}.ipynb#{cell}")
    assert wrong == []


def titles(text: str) -> set[str]:
    """Titles of papers and books in a list of references."""
    return set(re.findall(r'(?m)^- [^"\n]*"([^"\n]+?),?"', text))


@each_language
def test_bibliography_has_every_paper_of_the_chapters(lang):
    chapters = sorted((ROOT / "notebooks" / lang).glob("*.ipynb"))
    cited = {
        title for path in chapters for text in markdown(lang, path.stem).values() for title in titles(text)
    }
    assert len(cited) > 20
    assert cited - titles(page(lang, "bibliography")) == set()


@each_language
def test_reference_has_every_module_for_readers(lang):
    named = re.findall(r"\.\. automodule:: cnnlab\.(\w+)", page(lang, "api"))
    package = ROOT / "src" / "cnnlab"
    public = {path.stem for path in package.glob("*.py")} | {"figures", "widgets"}
    assert set(named) == public - {"__init__", "blocked", "i18n"}


@each_language
def test_start_page_leads_to_every_page(lang):
    folder = ROOT / "notebooks" / lang
    files = {path.name for path in [*folder.glob("*.ipynb"), *folder.glob("*.md")]} - {"index.md"}
    assert set(re.findall(r"\]\((\w+\.(?:ipynb|md))\)", page(lang, "index"))) == files
