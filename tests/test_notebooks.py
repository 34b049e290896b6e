"""The notebooks: one lesson in every language, the rules of the house, and a run the way Colab runs them.

What they compute and show is compared by nbval: ``pytest --nbval notebooks``.
"""

from __future__ import annotations

import ast
import copy
import importlib.util
import io
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import tokenize
import venv
import zipfile
from collections.abc import Callable
from difflib import unified_diff
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
import yaml
from IPython.core.inputtransformer2 import TransformerManager
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
PATHS = sorted(NOTEBOOKS.glob("*/*.ipynb"))
PAGES = sorted(NOTEBOOKS.glob("*/*.md"))
BY_PATH = {f"{path.parent.name}/{path.stem}": path for path in PATHS}
FIRST = "ja"  # what the other languages are compared with
OTHERS = [path for path in PATHS + PAGES if path.parent.name != FIRST]
every_notebook = pytest.mark.parametrize("path", BY_PATH.values(), ids=BY_PATH.keys())
# What the folded parts of an exercise are called.
HINTS = {"ja": ["ヒント1", "ヒント2", "解答"], "ko": ["힌트 1", "힌트 2", "풀이"]}
FIGURE = {"ja": r"図", "ko": r"그림 "}
CJK = re.compile("[\u3000-\u30ff\u3400-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef]")
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
# A heading, or the name of a folded part with empty lines around what it holds.
PARTS = re.compile(r"^(#{1,6} )|<details>\s*<summary>(.*?)</summary>\n\n.+?\n\n</details>", re.M | re.S)
IGNORED = "nbval-ignore-output"
SETUP = """\
import importlib.util

if importlib.util.find_spec("cnnlab") is None:
    %pip install -q "cnnlab @ git+{address}"

import cnnlab

cnnlab.setup("{language}")"""


def address() -> str:
    return yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]


def read(path: Path) -> NotebookNode:
    return nbformat.read(path, nbformat.NO_CONVERT)


# ---------------------------------------------------------------- the same in every language


def code_facts(source: str) -> dict[str, object]:
    """What must be equal in a code cell: its syntax, but for the argument of `cnnlab.setup`, and comments."""
    python = TransformerManager().transform_cell(source)
    tree = ast.parse(python)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "cnnlab.setup":
            node.args, node.keywords = [], []
    tokens = tokenize.generate_tokens(io.StringIO(python).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    return {"code": ast.unparse(tree).splitlines(), "comments": comments}


def text_facts(source: str) -> dict[str, object]:
    """What must be equal in a text: all that is neither words nor numbers in words."""
    fences = FENCE.findall(source)
    prose = FENCE.sub("", source)
    prose = re.sub(r"(`+)[^`].*?\1", "``", prose)
    formulas = [display or inline for display, inline in re.findall(r"\$\$(.+?)\$\$|\$(.+?)\$", prose, re.S)]
    formulas = [re.sub(r"\s+", "", re.sub(r"\\text\{[^{}]*\}", r"\\text{}", formula)) for formula in formulas]
    python = [fence.split("\n", 1)[1].rsplit("\n", 1)[0] for fence in fences if fence.startswith("```python")]
    captions = "|".join(FIGURE.values())
    return {
        "levels of headings": [len(marks) for marks in re.findall(r"^(#{1,6})\s", prose, re.M)],
        "numbers of figures": re.findall(rf"^\*\*(?:{captions})(\d+\.\d+)\*\*", prose, re.M),
        # The order of words may change the order of formulas within a cell.
        "formulas": sorted(formulas),
        "links": sorted(
            re.findall(r"(?<!!)\[[^\]]*\]\(<?([^)\s>]+)", prose) + re.findall(r'<a [^>]*href="([^"]+)', prose)
        ),
        "pictures": re.findall(r"!\[[^\]]*\]\(<?([^)\s>]+)", prose)
        + re.findall(r'<img [^>]*src="([^"]+)', prose),
        "number of <details>": prose.count("<details"),
        "rows of tables": len(re.findall(r"^\|.*\|\s*$", prose, re.M)),
        "blocks of code": len(fences),
        "code of solutions": [ast.unparse(ast.parse(code)).splitlines() for code in python],
    }


def facts(cell: NotebookNode) -> dict[str, object]:
    found = {"type": cell.cell_type, "tags": sorted(cell.metadata.get("tags", []))}
    found["nbgrader"] = cell.metadata.get("nbgrader")
    return found | (code_facts(cell.source) if cell.cell_type == "code" else text_facts(cell.source))


def differences(one: dict[str, object], two: dict[str, object]) -> list[str]:
    """One line for each fact that differs; of lists only what differs is shown."""
    found = []
    for key in one.keys() | two.keys():
        left, right = one.get(key), two.get(key)
        if left == right:
            continue
        if isinstance(left, list) and isinstance(right, list):
            lines = unified_diff([str(x) for x in left], [str(x) for x in right], lineterm="", n=0)
            changes = [line for line in lines if not line.startswith(("---", "+++", "@@"))]
            found.append(f"{key}: {'; '.join(changes)}")
        else:
            found.append(f"{key}: -{left}; +{right}")
    return sorted(found)


def drift(one: NotebookNode, two: NotebookNode) -> list[str]:
    """Where two notebooks do not teach the same steps: lines ``cell, fact: -what one has; +what two has``."""
    ids, others = [cell.id for cell in one.cells], [cell.id for cell in two.cells]
    if ids != others:
        return differences({"ids of cells": ids}, {"ids of cells": others})
    return [
        f"cell {left.id!r}, {difference}"
        for left, right in zip(one.cells, two.cells)
        for difference in differences(facts(left), facts(right))
    ]


def test_every_language_has_the_same_files():
    files = {
        folder.name: sorted(
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.suffix in {".md", ".ipynb"}
        )
        for folder in NOTEBOOKS.iterdir()
        if folder.is_dir() and not folder.name.startswith((".", "__"))
    }
    assert set(files) == set(HINTS)
    assert files[FIRST]
    assert [name for name in files if files[name] != files[FIRST]] == [], files


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_languages_teach_the_same_steps(path: Path):
    first = NOTEBOOKS / FIRST / path.name
    if path.suffix == ".ipynb":
        found = drift(read(first), read(path))
    else:
        found = differences(*(text_facts(page.read_text(encoding="utf-8")) for page in (first, path)))
    assert not found, f"- {FIRST}, + {path.parent.name}\n" + "\n".join(found)


def lesson() -> NotebookNode:
    """A notebook with everything that the comparison looks at."""
    text = (
        "# T\n\n**図2.1** C. $O_{mn}$ and $$\\text{高さ}=1$$ [a](b.ipynb) ![c](d.png)\n\n"
        "<details><summary>ヒント1</summary>\n\n```python\nx = 1  # 数\n```\n\n</details>\n\n"
        "| a |\n|---|\n| b |"
    )
    cells = [
        nbformat.v4.new_markdown_cell(text, id="title"),
        nbformat.v4.new_code_cell(SETUP.format(address=address(), language="ja"), id="setup"),
        nbformat.v4.new_code_cell("x = 1  # (N,)\nx", id="one", metadata={"tags": [IGNORED]}),
    ]
    return nbformat.v4.new_notebook(cells=cells)


def test_drift_allows_what_languages_may_differ_in():
    korean = lesson()
    korean.cells[0].source = (
        "# 제목\n\n**그림 2.1** 설명. $$\\text{높이} = 1$$ and $O_{mn}$ [가](b.ipynb) ![나](d.png) `$x$`\n\n"
        "<details><summary>힌트 1</summary>\n\n```python\nx = 1  # 수\n```\n\n</details>\n\n"
        "| 가 |\n|---|\n| 나 |"
    )
    korean.cells[1].source = SETUP.format(address=address(), language="ko")
    assert drift(lesson(), korean) == []


DRIFTS = {
    "levels of headings": (0, "# T", "## T"),
    "numbers of figures": (0, "図2.1", "図2.2"),
    "formulas": (0, "O_{mn}", "O_{nm}"),
    "links": (0, "b.ipynb", "a.ipynb"),
    "pictures": (0, "d.png", "e.png"),
    "number of <details>": (0, "<details>", "<div>"),
    "code of solutions": (0, "x = 1", "x = 2"),
    "blocks of code": (0, "```python\nx = 1  # 数\n```", ""),
    "rows of tables": (0, "| b |", ""),
    "code": (2, "x = 1", "x = 2"),
    "comments": (2, "(N,)", "(C,)"),
}


@pytest.mark.parametrize("fact", DRIFTS)
def test_drift_in_a_source_is_named(fact: str):
    position, before, after = DRIFTS[fact]
    other = lesson()
    assert before in other.cells[position].source
    other.cells[position].source = other.cells[position].source.replace(before, after, 1)
    found = drift(lesson(), other)
    assert any(line.startswith(f"cell {other.cells[position].id!r}, {fact}: ") for line in found), found


def test_drift_of_the_install_line_is_named():
    other = lesson()
    other.cells[1].source = other.cells[1].source.replace("cnnlab @", "torch @")
    assert [line for line in drift(lesson(), other) if line.startswith("cell 'setup', code")]


def test_drift_of_cells_is_named():
    missing, renamed, moved, retyped, untagged = (lesson() for _ in range(5))
    del missing.cells[2]
    renamed.cells[2].id = "two"
    moved.cells[1:] = moved.cells[:0:-1]
    retyped.cells[2] = nbformat.v4.new_markdown_cell("x", id="one")
    untagged.cells[2].metadata = NotebookNode()
    assert drift(lesson(), missing) == ["ids of cells: -one"]
    assert drift(lesson(), renamed) == ["ids of cells: -one; +two"]
    assert drift(lesson(), moved) != []
    assert "cell 'one', type: -code; +markdown" in drift(lesson(), retyped)
    assert drift(lesson(), untagged) == [f"cell 'one', tags: -{IGNORED}"]


# ---------------------------------------------------------------- the rules of the house


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def broken_rules(notebook: NotebookNode, language: str) -> list[str]:
    """One line for each rule that a notebook breaks, with the cell."""
    wrong = []
    cells = notebook.cells
    codes = code_cells(notebook)
    if cells[0].cell_type != "markdown" or not re.match(r"# \S", cells[0].source):
        wrong.append(
            f"cell {cells[0].id!r}: the first cell has to be Markdown that begins with the title, '# …'"
        )
    if cells[1].id != "setup" or cells[1].source != SETUP.format(address=address(), language=language):
        wrong.append(
            "cell 'setup': it has to be the second cell, word for word as in tests/test_notebooks.py"
        )
    if notebook.metadata.get("kernelspec", {}).get("name") != "python3":
        wrong.append("the kernel has to be python3")
    for cell in cells:
        if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", cell.id):
            wrong.append(
                f"cell {cell.id!r}: an id is made of small letters, figures and hyphens, like 'edge-filters'"
            )
        if cell.get("attachments") or "data:image" in cell.source:
            wrong.append(f"cell {cell.id!r}: holds a picture; put it into a file")
    for cell in codes:
        if len(cell.source.splitlines()) > 12:
            wrong.append(f"cell {cell.id!r}: {len(cell.source.splitlines())} lines of code, at most 12")
        if found := CJK.findall(cell.source):
            wrong.append(f"cell {cell.id!r}: words stand in Markdown, not in code: {''.join(found)}")
        if IGNORED not in cell.metadata.get("tags", []) and cell.execution_count is None:
            wrong.append(f"cell {cell.id!r}: not run, so nbval compares nothing; run `make notebooks`")
        if re.search(r"image/|data:image", json.dumps(cell.outputs)):
            wrong.append(f"cell {cell.id!r}: the bytes of a picture are in the file; run `make notebooks`")
    median = statistics.median(len(cell.source.splitlines()) for cell in codes)
    if median > 4:
        wrong.append(f"half of the code cells have {median:g} lines or more, at most 4")
    return wrong + unhelpful(cells, language)


def unhelpful(cells: list[NotebookNode], language: str) -> list[str]:
    """Exercises that lack something: a section has the check and, folded, two hints and a solution."""
    sections: list[tuple[list[str], list[str]]] = [([], [])]  # cells with a check, names of what is folded
    for cell in cells:
        if cell.cell_type == "code" and re.search(r"\b(check_\w+|alexnet\.check)\(", cell.source):
            sections[-1][0].append(cell.id)
        if cell.cell_type == "markdown":
            for heading, name in re.findall(PARTS, re.sub(FENCE, "``", cell.source)):
                if heading:
                    sections.append(([], []))
                else:
                    sections[-1][1].append(name)
    return [
        f"cell {checks[0]!r}: its section has to fold {HINTS[language]}, with empty lines around what is "
        f"folded; found {names}"
        for checks, names in sections
        if checks and names != HINTS[language]
    ]


@every_notebook
def test_notebook_keeps_the_rules(path: Path):
    broken = broken_rules(read(path), path.parent.name)
    assert not broken, "\n".join(broken)


def good_notebook() -> NotebookNode:
    folded = "\n\n".join(f"<details><summary>{name}</summary>\n\nx\n\n</details>" for name in HINTS["ja"])
    cells = [
        nbformat.v4.new_markdown_cell("# T", id="title"),
        nbformat.v4.new_code_cell(
            SETUP.format(address=address(), language="ja"), id="setup", execution_count=1
        ),
        nbformat.v4.new_code_cell("x = 1\nx", id="one", execution_count=2),
        nbformat.v4.new_code_cell("c.check_one(x)", id="exercise-1-check", execution_count=3),
        nbformat.v4.new_markdown_cell(folded, id="exercise-1-hints"),
    ]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return nbformat.v4.new_notebook(cells=cells, metadata=kernel)


def picture() -> NotebookNode:
    return nbformat.v4.new_output("display_data", {"image/png": "iVBO", "text/plain": "x"})


FAULTS: dict[str, tuple[Callable[[NotebookNode], object], str]] = {
    "no title": (lambda nb: nb.cells[0].update(source="T"), "'title'"),
    "other setup": (lambda nb: nb.cells[1].update(source=nb.cells[1].source + "\n"), "'setup'"),
    "other kernel": (lambda nb: nb.metadata.kernelspec.update(name="ir"), "kernel"),
    "id": (lambda nb: nb.cells[2].update(id="One_1"), "'One_1'"),
    "long cell": (lambda nb: nb.cells[2].update(source="x\n" * 13), "13 lines"),
    "long cells": (lambda nb: [cell.update(source="x\n" * 5) for cell in nb.cells[2:4]], "5 lines or more"),
    "Japanese comment": (lambda nb: nb.cells[2].update(source="x = 1  # 数"), "数"),
    "Korean text": (lambda nb: nb.cells[2].update(source='x = "수"'), "수"),
    "not run": (lambda nb: nb.cells[2].update(execution_count=None), "not run"),
    "picture": (lambda nb: nb.cells[2].update(outputs=[picture()]), "bytes of a picture"),
    "picture in text": (
        lambda nb: nb.cells[0].update(source="# T\n![a](data:image/png;x)"),
        "holds a picture",
    ),
    "no hints": (lambda nb: nb.cells[4].update(source="x"), "'exercise-1-check'"),
    "one hint": (
        lambda nb: nb.cells[4].update(source=nb.cells[4].source.replace("ヒント2", "")),
        "'exercise-1-check'",
    ),
    "tight hint": (
        lambda nb: nb.cells[4].update(source=nb.cells[4].source.replace("\n\nx", "\nx")),
        "empty lines",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_broken_rule_is_named(fault: str):
    change, words = FAULTS[fault]
    notebook = good_notebook()
    assert broken_rules(notebook, "ja") == []
    change(notebook)
    broken = broken_rules(notebook, "ja")
    assert any(words in line for line in broken), broken


def test_readme_leads_to_every_chapter_in_colab():
    owner = address().removeprefix("https://github.com/")
    colab = f"https://colab.research.google.com/github/{owner}/blob/main/notebooks/"
    links = re.findall(r"https://colab[^)\s]*", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert sorted(links) == sorted(f"{colab}{name}.ipynb" for name in BY_PATH)


# ---------------------------------------------------------------- make notebooks


@pytest.fixture(scope="module")
def notebooks() -> ModuleType:
    """``book/notebooks.py``; the folder is not a package."""
    spec = importlib.util.spec_from_file_location("book_notebooks", ROOT / "book/notebooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@every_notebook
def test_notebook_is_clean(notebooks: ModuleType, path: Path):
    found = notebooks.complaints(path)
    assert not found, "Run `make notebooks`.\n" + "\n".join(found)


def small_notebook(*sources: str, **tags: list[str]) -> NotebookNode:
    """A notebook with cells ``a``, ``b``, …; ``a=["tag"]`` gives one a tag."""
    cells = [nbformat.v4.new_code_cell(source, id="abcdefgh"[i]) for i, source in enumerate(sources)]
    for cell in cells:
        if cell.id in tags:
            cell.metadata.tags = tags[cell.id]
    return nbformat.v4.new_notebook(cells=cells)


def run_script(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "book/notebooks.py"), *map(str, arguments)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=300)


def test_make_notebooks_keeps_text_and_drops_the_rest(tmp_path: Path):
    path = tmp_path / "空 白" / "ja" / "01_x.ipynb"
    path.parent.mkdir(parents=True)
    notebook = small_notebook(
        'import sys\nprint("가")\nprint("中")\nprint("!", file=sys.stderr)\n1 + 1',
        "import time\ntime.time()",
        "from IPython.display import SVG, display\ndisplay(SVG('<svg/>'))\n0",
        b=[IGNORED],
    )
    notebook.metadata = NotebookNode(
        language_info={"name": "python", "version": "3.99"}, colab={"provenance": []}
    )
    notebook.cells[0].metadata = NotebookNode(collapsed=False, tags=["keep"], execution={"x": 1})
    path.write_text(json.dumps(notebook), encoding="utf-8")
    done = run_script(path)
    assert done.returncode == 0, done.stderr
    assert "written" in done.stdout
    text = path.read_text(encoding="utf-8")
    assert text.endswith("}\n") and text.startswith('{\n "cells"') and "가" in text
    result = read(path)
    nbformat.validate(result)
    assert result.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert [cell.id for cell in result.cells] == ["a", "b", "c"]
    assert [cell.execution_count for cell in result.cells] == [1, 2, 3]
    assert [cell.metadata for cell in result.cells] == [{"tags": ["keep"]}, {"tags": [IGNORED]}, {}]
    first, second, third = (cell.outputs for cell in result.cells)
    assert [output.get("text") or output.data for output in first] == ["가\n中\n", {"text/plain": "2"}]
    assert first[1].execution_count == 1
    assert second == []
    assert [output.data for output in third] == [
        {"text/plain": "<IPython.core.display.SVG object>"},
        {"text/plain": "0"},
    ]
    assert run_script("--check", path).returncode == 0
    again = run_script(path)
    assert "unchanged" in again.stdout
    assert path.read_text(encoding="utf-8") == text
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_failing_cell_is_named_and_the_file_stays(tmp_path: Path):
    path = tmp_path / "ko" / "01_x.ipynb"
    path.parent.mkdir()
    nbformat.write(small_notebook("1", "1 / 0", "2"), path)
    before = path.read_bytes()
    done = run_script(path)
    assert done.returncode == 1
    assert "ko/01_x, cell 'b': ZeroDivisionError" in done.stderr
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_check_names_what_is_not_clean(notebooks: ModuleType, tmp_path: Path):
    path = tmp_path / "01_x.ipynb"
    notebook = small_notebook("1", "2", b=[IGNORED])
    for number, cell in enumerate(notebook.cells, 1):
        cell.execution_count = number
    clean = notebooks.clean(notebook)
    nbformat.write(clean, path)
    assert notebooks.complaints(path) == []
    for cell, field, value, words in [
        (1, "outputs", [nbformat.v4.new_output("stream", text="0.1 s")], "cell 'b': outputs"),
        (0, "outputs", [picture()], "cell 'a': outputs"),
        (0, "outputs", [nbformat.v4.new_output("stream", name="stderr", text="50%")], "cell 'a': outputs"),
        (0, "metadata", {"scrolled": True}, "cell 'a': metadata"),
        (0, "source", "x = 1\nfigures.curves(x)", "cell 'a': shows a figure, but has no output"),
        (1, "execution_count", 7, "cell 'b': number 7"),
    ]:
        dirty = copy.deepcopy(clean)
        dirty.cells[cell][field] = value
        nbformat.write(dirty, path)
        assert [line for line in notebooks.complaints(path) if words in line], words
    path.write_text(json.dumps(clean), encoding="utf-8")
    assert "written differently" in notebooks.complaints(path)[0]


# ---------------------------------------------------------------- the way Colab runs them


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_wheel_holds_the_whole_package_and_nothing_else(wheel: Path):
    source = ROOT / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and "__pycache__" not in path.parts
    }
    assert {name for name in wanted if name.startswith("cnnlab/locale/")} >= {
        f"cnnlab/locale/{code}/exercises.toml" for code in HINTS
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        metadata = next(
            archive.read(name).decode() for name in archive.namelist() if name.endswith("/METADATA")
        )
    assert names == wanted
    assert "License-Expression: MIT" in metadata


@pytest.fixture(scope="module")
def colab(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel and what it depends on, and nothing of this folder.

    The dependencies are those of the running environment: a ``.pth`` file adds its folders to the path. Other
    ``.pth`` files in those folders have no effect then, such as the one that makes the checkout importable.
    """
    folder = tmp_path_factory.mktemp("colab") / "venv"
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def ask(code: str) -> str:
        command = [str(python), "-I", "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder).stdout.strip()

    packages = Path(ask("import sysconfig; print(sysconfig.get_path('purelib'))"))
    here = [path for path in sys.path if Path(path).name in {"site-packages", "dist-packages"}]
    (packages / "dependencies.pth").write_text("\n".join(here) + "\n", encoding="utf-8")
    found = ask("import importlib.util as u; print(u.find_spec('torch') is not None, u.find_spec('cnnlab'))")
    assert found == "True None"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(packages),
    ]
    subprocess.run([*install, str(wheel)], check=True, timeout=120)
    return python


def in_environment(python: Path, folder: Path) -> type[AsyncKernelManager]:
    """Starts kernels with this Python, whatever else is installed on the machine."""
    kernel = folder / "kernels/python3"
    kernel.mkdir(parents=True)
    command = [str(python), "-m", "ipykernel_launcher", "--log-level=40", "-f", "{connection_file}"]
    spec = {"argv": command, "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")

    class Manager(AsyncKernelManager):
        def __init__(self, **options: object) -> None:
            super().__init__(**options)
            dirs = [str(kernel.parent)]
            self.kernel_spec_manager = KernelSpecManager(kernel_dirs=dirs, ensure_native_kernel=False)

    return Manager


# One language of each notebook, since both have the same code: the first in Korean, the second in Japanese, …
TURN = dict(zip(sorted({path.stem for path in PATHS}), itertools.cycle(("ko", "ja"))))
IN_TURN = {name: path for name, path in BY_PATH.items() if path.parent.name == TURN[path.stem]}


@pytest.mark.parametrize("path", IN_TURN.values(), ids=IN_TURN.keys())
def test_notebook_runs_alone_with_the_wheel(colab: Path, tmp_path: Path, path: Path):
    folder = tmp_path / "content"
    folder.mkdir()
    notebook = read(path)
    question = (
        "import sys\nprint([sys.modules[m].__file__ for m in sys.modules if m.partition('.')[0] == 'cnnlab'])"
    )
    notebook.cells.append(nbformat.v4.new_code_cell(question, id="where-from"))
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "PYTHONHOME"}}
    NotebookClient(
        notebook,
        timeout=600,
        kernel_name="python3",
        kernel_manager_class=in_environment(colab, tmp_path),
        resources={"metadata": {"path": str(folder)}},
    ).execute(env={**environment, "IPYTHONDIR": str(tmp_path / "ipython"), "PYTHONNOUSERSITE": "1"})
    modules = ast.literal_eval(notebook.cells[-1].outputs[0].text)
    packages = colab.parents[1]
    assert modules and all(packages in Path(module).parents for module in modules), modules
    assert list(folder.iterdir()) == [], "a chapter leaves no files behind where it runs"
