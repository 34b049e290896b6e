"""Every exercise as it stands in the chapters: its stub is not answered, its folded solution passes."""

import ast
import json
import re
from pathlib import Path

import pytest

from cnnlab import i18n
from cnnlab.exercises import Report

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SOLUTION = re.compile(r"<summary>(?:解答|풀이)</summary>.*?```python\n(.*?)```", re.DOTALL)
DEFINITIONS = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)


def parse(source: str) -> ast.Module:
    """A code cell without its magics."""
    return ast.parse(re.sub(r"^(\s*)%.*$", r"\1pass", source, flags=re.MULTILINE))


def is_check(node: ast.stmt) -> bool:
    called = node.value.func if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) else None
    return isinstance(called, ast.Attribute) and (
        called.attr.startswith("check_") or ast.unparse(called) == "alexnet.check"
    )


def exercises(path: Path) -> list:
    """For each exercise: the definitions before it, its stub, its solution, its check."""
    before: list[ast.stmt] = []
    stub: list[ast.stmt] = []
    check: ast.stmt | None = None
    found = []
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            body = parse(source).body
            stub += [node for node in body if not is_check(node)]
            check = next(filter(is_check, body), check)
            continue
        solution = SOLUTION.search(source)
        if check is None:
            before += [node for node in stub if isinstance(node, DEFINITIONS)]
            stub = []
        elif solution:
            answer = [node for node in ast.parse(solution[1]).body if not is_check(node)]
            name = f"{path.parent.name}-{path.stem}-{ast.unparse(check.value.func)}"
            found.append(pytest.param(path.parent.name, list(before), stub, answer, check, id=name))
            stub, check = [], None
    assert len(found) >= 2, f"{path} has {len(found)} exercises with a solution"
    return found


# The numbered chapters; the pages that are only to be played with have no exercises.
every_exercise = pytest.mark.parametrize(
    ("lang", "before", "stub", "solution", "check"),
    [exercise for path in sorted(NOTEBOOKS.glob("*/[0-9]*.ipynb")) for exercise in exercises(path)],
)


@pytest.fixture
def report_of(lang: str):
    """Run statements, then a check; give its report, in the chapter's language."""

    def run(statements: list[ast.stmt], check: ast.Expr) -> Report:
        known: dict[str, object] = {}
        module = ast.fix_missing_locations(ast.Module(statements, type_ignores=[]))
        exec(compile(module, "<chapter>", "exec"), known)
        return eval(compile(ast.Expression(check.value), "<check>", "eval"), known)

    before = i18n.language()
    i18n.set_language(lang)
    yield run
    i18n.set_language(before)


@every_exercise
def test_stub_is_not_answered(report_of, before, stub, solution, check):
    assert report_of(before + stub, check).status == "unanswered"


@every_exercise
def test_folded_solution_passes(report_of, before, stub, solution, check):
    report = report_of(before + solution, check)
    assert report.passed, report
