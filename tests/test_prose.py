"""`make prose` reads what it should, leaves out what it should, and finds what is wrong."""

import json
from pathlib import Path

import pytest
from test_terms import book_prose as prose

TWO_CELLS = {
    "cells": [
        {"cell_type": "markdown", "id": "first", "metadata": {}, "source": ["# 題\n", "\n", "{0}"]},
        {"cell_type": "code", "id": "code", "metadata": {}, "source": ["x"], "outputs": []},
        {"cell_type": "markdown", "id": "second", "metadata": {}, "source": ["{1}"]},
    ]
}


def notebook(folder: Path, language: str, first: str, second: str) -> Path:
    text = (
        json.dumps(TWO_CELLS).replace("{0}", json.dumps(first)[1:-1]).replace("{1}", json.dumps(second)[1:-1])
    )
    path = folder / language / "99_x.ipynb"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def test_pieces_of_a_notebook_a_page_and_messages(tmp_path):
    path = notebook(tmp_path, "ja", "a", "b")
    assert prose.pieces(path) == [("first", "# 題\n\na"), ("second", "b")]
    (tmp_path / "x.md").write_text("c", "utf-8")
    assert prose.pieces(tmp_path / "x.md") == [("", "c")]
    (tmp_path / "x.toml").write_text('[a.b]\ntitle = "d"\nhint = "{got} e."\n', "utf-8")
    assert prose.pieces(tmp_path / "x.toml") == [("title", "# d"), ("hint", "`x` e.")]


def test_every_language_has_its_pages():
    for language in prose.CHECKS:
        kinds = {path.suffix for path in prose.pages(language)}
        assert kinds == {".ipynb", ".md", ".toml"}


GOOD_JA = "窓を動かします。\n\n$$a, b$$\n\n**図9.1** 窓の動き。右へ進む。"
BAD_JA = {
    "見れる": "no-dropping-the-ra",
    "窓を動かすのは、これは、それは、あれは、長い文である。": "no-mix-dearu-desumasu",
    "窓ｱを動かします。": "no-hankaku-kana",
}


def test_good_japanese_passes(tmp_path):
    path = notebook(tmp_path, "ja", GOOD_JA, '- A. Author, "Is this a title?", 2020。原典')
    assert prose.check([path], "ja") == []


@pytest.mark.parametrize(("words", "rule"), BAD_JA.items())
def test_bad_japanese_is_found_in_its_cell(tmp_path, words, rule):
    path = notebook(tmp_path, "ja", GOOD_JA, f"窓を動かします。{words}")
    found = prose.check([path], "ja")
    assert any(f"[{rule}]" in line and "99_x.ipynb, second: " in line for line in found), found
    assert not any(", first: " in line for line in found)


def test_good_korean_passes(tmp_path):
    words = "창을 옮깁니다. 필터(filter)를 $K$개 씁니다. **합성곱**을 `x`로 하고, 28은 ‘창’과 같습니다."
    assert prose.check([notebook(tmp_path, "ko", words, "에폭마다 손실을 봅니다.")], "ko") == []


@pytest.mark.parametrize("word", ["합성곱를", "창울", "됬습니다", "에폭로"])
def test_bad_korean_is_found_in_its_cell(tmp_path, word):
    found = prose.check([notebook(tmp_path, "ko", "창을 옮깁니다.", f"창을 {word} 옮깁니다.")], "ko")
    assert len(found) == 1 and f"second: '{word}'" in found[0]


def test_terms_are_checked_in_both_languages(tmp_path):
    for language, word in (("ja", "フィルターを当てます。"), ("ko", "레이어를 쌓습니다.")):
        found = prose.check([notebook(tmp_path, language, word, word)], language)
        assert any("first: " in line and "(use " in line for line in found), found


def test_nouns_take_the_particles_of_their_last_sound():
    assert prose.personal_dictionary(["합성곱", "커널", "패딩도시마", "=더해집니다"]).split() == [
        "합성곱/책", "커널/길", "패딩도시마/사과", "더해집니다"
    ]  # fmt: skip


def test_course_words_are_needed_and_stand_once():
    words = prose.course_words()
    assert sorted(words) == sorted(set(words))
    used = {
        word
        for path in prose.pages("ko")
        for _, text in prose.pieces(path)
        for word in prose.korean_words(text)
    }
    unused = [w for w in words if not any(u.startswith(w.lstrip("=")) for u in used)]
    assert unused == []


def test_every_rule_that_differs_has_its_reason():
    for name, rule in prose.RULES["rules"].items():
        reason = rule["off"] if "off" in rule else rule["reason"]
        assert len(reason.split()) >= 3, name
        assert ("off" in rule) != ("options" in rule), name


def test_a_missing_hunspell_is_named(monkeypatch):
    monkeypatch.setattr(prose.shutil, "which", lambda name: None)
    with pytest.raises(prose.ProseError, match="apt install hunspell hunspell-ko"):
        prose.unknown_words(["창"])
