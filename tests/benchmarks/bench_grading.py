"""How fast a class is graded, and how much memory that takes, beside `nbgrader autograde` in the same run.

    python tests/benchmarks/bench_grading.py [--count 100] [--peer 5] [--jobs 2] [--memory 1000]

The submissions are notebooks as chapter 13 hands them out, cut to the cells that the score needs, each with
the right answer. `cnnlab grade` gets `count` of them and is timed from its start to its end, under bwrap.
nbgrader gets `peer` of them: the time is that of `nbgrader autograde` alone. With ``--memory N`` also N
submissions are graded, and the memory of the grader's own process is shown every hundred.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import nbformat
from nbformat import NotebookNode

CHAPTER = Path(__file__).parents[2] / "notebooks/ja/13_alexnet.ipynb"
NEEDED = {"setup", "imports", "exercise-alexnet", "score-alexnet"}


def answered() -> NotebookNode:
    """The chapter with the right answer, without figures and training."""
    notebook = nbformat.read(CHAPTER, as_version=4)
    folded = next(cell.source for cell in notebook.cells if cell.id == "solution-alexnet")
    for cell in notebook.cells:
        if cell.id == "exercise-alexnet":
            cell.source = re.search(r"```python\n(.*?)```", folded, re.DOTALL)[1]  # type: ignore[index]
    notebook.cells = [cell for cell in notebook.cells if cell.id in NEEDED]
    return notebook


def handed_in(folder: Path, count: int) -> Path:
    """Submissions in nbgrader's layout, each a little different."""
    notebook = answered()
    for number in range(count):
        path = folder / f"submitted/student{number:04d}/alexnet/13_alexnet.ipynb"
        path.parent.mkdir(parents=True)
        notebook.cells[-2].source += f"\n# {number}"
        nbformat.write(notebook, path)
    return folder / "submitted"


def grade(folder: Path, submissions: Path, jobs: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "cnnlab.grading.cli", "grade", str(submissions), "--lang", "en"]
    command += ["--out", str(folder / "graded"), "--jobs", str(jobs), "--sandbox", "bwrap"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def full_marks(folder: Path) -> int:
    return (folder / "graded/grades.csv").read_text("utf-8-sig").count('"graded",100,100,')


def own_seconds(folder: Path, count: int, jobs: int) -> float:
    submissions = handed_in(folder, count)
    start = time.perf_counter()
    assert grade(folder, submissions, jobs).wait() == 0
    seconds = time.perf_counter() - start
    assert full_marks(folder) == count
    return seconds


def nbgrader(course: Path, *arguments: str) -> None:
    scripts = sysconfig.get_path("scripts")
    environment = {**os.environ, "HOME": str(course), "PATH": scripts + os.pathsep + os.environ["PATH"]}
    command = [sys.executable, "-m", "nbgrader", *arguments]
    done = subprocess.run(command, cwd=course, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def peer_seconds(course: Path, count: int) -> float:
    handed_in(course, count)
    (course / "source/alexnet").mkdir(parents=True)
    nbformat.write(answered(), course / "source/alexnet/13_alexnet.ipynb")
    nbgrader(course, "generate_assignment", "alexnet")
    start = time.perf_counter()
    nbgrader(course, "autograde", "alexnet")
    seconds = time.perf_counter() - start
    nbgrader(course, "export", "--to", "grades.csv")
    assert (course / "grades.csv").read_text().count("100.0,100.0") == count
    return seconds


def memory(folder: Path, count: int, jobs: int) -> None:
    process = grade(folder, handed_in(folder, count), jobs)
    shown = 0
    while process.poll() is None:
        done = len(list(folder.glob("graded/results/*.json")))
        if done >= shown + 100:
            shown = done // 100 * 100
            with open(f"/proc/{process.pid}/status") as file:
                size = int(re.search(r"VmRSS:\s+(\d+)", file.read())[1]) // 1024  # type: ignore[index]
            print(f"  after {shown:4d}: {size} MiB", flush=True)
        time.sleep(0.5)
    assert process.returncode == 0 and full_marks(folder) == count


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--peer", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--memory", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as own, tempfile.TemporaryDirectory() as course:
        peer = peer_seconds(Path(course), options.peer) / options.peer
        seconds = own_seconds(Path(own), options.count, options.jobs)
    each = seconds / options.count
    print(f"cnnlab grade, {options.count} submissions, {options.jobs} jobs, start included: {seconds:.1f} s")
    print(f"  {1 / each:.2f} a second (to reach: 1)")
    print(f"nbgrader autograde, {options.peer} submissions: {peer:.2f} s each")
    print(f"  {peer / each:.1f} times as long (to reach: 10)")
    if options.memory:
        print(f"memory of the grader's process over {options.memory} submissions")
        with tempfile.TemporaryDirectory() as folder:
            memory(Path(folder), options.memory, options.jobs)


if __name__ == "__main__":
    main()
