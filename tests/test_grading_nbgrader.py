"""The chapter with the task goes through the real nbgrader, and its points are those of `cnnlab grade`."""

from __future__ import annotations

import copy
import csv
import os
import re
import subprocess
import sys
import sysconfig
from contextlib import closing
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode
from nbgrader.api import Gradebook

pytestmark = pytest.mark.alone

NAME = "13_alexnet"
CHAPTERS = Path(__file__).parents[1] / "notebooks"
# What has to run for the score: the figures and the training need not.
NEEDED = {"setup", "imports", "exercise-alexnet", "score-alexnet"}
CONFIG = """\
c = get_config()
c.Execute.timeout = 300
c.Execute.iopub_timeout = 60
c.Execute.startup_timeout = 300
"""


def nbgrader(course: Path, *arguments: str) -> None:
    home = course / "home"
    folders = ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *arguments],
        cwd=course,
        env={
            **os.environ,
            "PATH": sysconfig.get_path("scripts") + os.pathsep + os.environ["PATH"],  # it calls `alembic`
            "HOME": str(home),
            **{name: str(home / name.lower()) for name in folders},
        },
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def chapter(language: str) -> NotebookNode:
    return nbformat.read(CHAPTERS / language / f"{NAME}.ipynb", as_version=4)


def solution(notebook: NotebookNode) -> str:
    folded = next(cell.source for cell in notebook.cells if cell.id == "solution-alexnet")
    return re.search(r"```python\n(.*?)```", folded, re.DOTALL)[1]


@pytest.fixture(scope="module", params=["ja", "ko"])
def course(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course whose assignment is the chapter as it is, handed out."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "nbgrader_config.py").write_text(CONFIG)
    (folder / "source/alexnet").mkdir(parents=True)
    nbformat.write(chapter(request.param), folder / f"source/alexnet/{NAME}.ipynb")
    nbgrader(folder, "generate_assignment", "alexnet")
    return folder


def released(course: Path) -> NotebookNode:
    return nbformat.read(course / f"release/alexnet/{NAME}.ipynb", as_version=4)


def test_what_is_handed_out_is_the_chapter(course: Path) -> None:
    source = nbformat.read(course / f"source/alexnet/{NAME}.ipynb", as_version=4)
    assert [cell.source for cell in released(course).cells] == [cell.source for cell in source.cells]
    assert [cell.id for cell in released(course).cells if "nbgrader" in cell.metadata] == ["score-alexnet"]


def test_the_points_are_the_same(course: Path) -> None:
    answer = solution(released(course))
    answers = {
        "stub": None,
        "right": answer,
        "padding": answer.replace("stride=4, padding=2", "stride=4, padding=3"),
        "warns": answer.replace(
            "super().__init__()", "super().__init__(); import warnings; warnings.warn('x')"
        ),
        "raises": answer.replace("super().__init__()", "raise ValueError('x')"),
        "whole": answer.replace("MaxPool2d(kernel_size=3, stride=2)", "AvgPool2d(3, 2)"),
    }
    if course.name.startswith("ko"):  # the same cells, as another test holds: two are enough
        answers = {student: answers[student] for student in ("stub", "padding")}
    for student, code in answers.items():
        notebook = copy.deepcopy(released(course))
        for cell in notebook.cells:
            if cell.id == "exercise-alexnet" and code is not None:
                cell.source = code
        if student != "whole":
            notebook.cells = [cell for cell in notebook.cells if cell.id in NEEDED]
        (course / f"submitted/{student}/alexnet").mkdir(parents=True)
        nbformat.write(notebook, course / f"submitted/{student}/alexnet/{NAME}.ipynb")
    nbgrader(course, "autograde", "alexnet")
    with closing(Gradebook(f"sqlite:///{course / 'gradebook.db'}")) as gradebook:
        entries = gradebook.assignment_submissions("alexnet")
        assert not any(entry.needs_manual_grade for entry in entries)
        theirs = {entry.student.id: entry.score for entry in entries}
    command = ["grade", "submitted", "--out", "graded", "--format", "nbgrader", "--seed", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "cnnlab.grading.cli", *command],
        cwd=course,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    with (course / "graded/nbgrader.csv").open(encoding="utf-8", newline="") as file:
        ours = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    scores = {"stub": 0, "right": 100, "warns": 100, "padding": 83, "raises": 0, "whole": 82}
    assert ours == theirs == {student: scores[student] for student in answers}
    nbgrader(course, "generate_feedback", "alexnet")
    page = (course / f"feedback/padding/alexnet/{NAME}.html").read_text(encoding="utf-8")
    assert "83.0 / 100.0" in page
