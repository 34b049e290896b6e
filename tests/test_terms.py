"""One term per concept: no page, notebook or message uses a variant that `book/terms.toml` rules out."""

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("book_prose", ROOT / "book" / "prose.py")
book_prose = sys.modules["book_prose"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(book_prose)
TERMS, pages, variants = book_prose.TERMS, book_prose.pages, book_prose.variants


def prose(path: Path) -> str:
    return book_prose.prose("\n\n".join(text for _, text in book_prose.pieces(path)))


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
