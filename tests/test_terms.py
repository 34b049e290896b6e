"""One term per concept: no page, notebook or message uses a variant that `book/terms.toml` rules out."""

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
TERMS = tomllib.loads((ROOT / "book" / "terms.toml").read_text("utf-8"))
NOT_PROSE = re.compile(
    r"```.*?```|\$\$.*?\$\$|\$[^$\n]*\$|`[^`\n]*`|\]\([^)]*\)|<[^>\n]*>|https?://\S+|\"[^\"\n]*\"", re.DOTALL
)


def prose(path: Path) -> str:
    """The words of a notebook's Markdown cells, a page or a catalogue."""
    words = path.read_text("utf-8")
    if path.suffix == ".toml":
        values = re.findall(r'^\w+ = "(.*)"$', words, re.MULTILINE)
        return "\n".join(re.sub(r"`[^`]*`|\{\w+\}", " ", value) for value in values)
    if path.suffix == ".ipynb":
        cells = json.loads(words)["cells"]
        words = "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return NOT_PROSE.sub(" ", words)


def pages(lang: str) -> list[Path]:
    folder = ROOT / "notebooks" / lang
    messages = (ROOT / "src/cnnlab/locale" / lang).glob("*.toml")
    found = [*folder.glob("*.ipynb"), *folder.glob("*.md"), *messages]
    assert len(found) >= 4
    return sorted(found)


def variants(words: str, lang: str) -> list[str]:
    """What stands in `words` and is ruled out, each with the term to use and its surroundings."""
    return [
        f"{match[0]!r} (use {term[lang]!r}): …{words[max(0, match.start() - 20) : match.end() + 20]!r}…"
        for term in TERMS.values()
        for variant in term.get(f"avoid_{lang}", [])
        for match in re.finditer(variant, words)
    ]


@pytest.mark.parametrize("path", [*pages("ja"), *pages("ko")], ids=lambda p: f"{p.parent.name}-{p.name}")
def test_no_page_uses_a_variant(path):
    assert variants(prose(path), path.parent.name) == []


@pytest.mark.parametrize(
    ("words", "lang", "use"),
    [
        ("フィルターを当てる", "ja", "フィルタ"),
        ("このレイヤは", "ja", "層"),
        ("精度は98%", "ja", "正解率"),
        ("컨볼루션 계층", "ko", "합성곱"),
        ("파라미터를 센다", "ko", "매개변수"),
    ],
)
def test_a_variant_is_found(words, lang, use):
    assert any(use in line for line in variants(words, lang))


def test_terms_do_not_rule_each_other_out():
    for name, term in TERMS.items():
        assert {"en", "ja", "ko"} <= set(term), name
        assert variants(term["ja"], "ja") == [] == variants(term["ko"], "ko"), name


def test_code_formulas_and_titles_are_not_prose():
    page = ROOT / "notebooks" / "ja" / "02_convolution.ipynb"
    assert "畳み込み" in prose(page) and "\\sum" not in prose(page) and "Proceedings" in prose(page)
    assert "Gradient-Based" not in prose(page)
