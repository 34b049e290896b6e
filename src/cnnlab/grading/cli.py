"""The command `cnnlab`.

    cnnlab grade PATH… --out DIR
    cnnlab grade --help

It ends with 0 if every submission has its row, 2 for wrong usage, 3 if the grader itself failed or there is
no sandbox, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import locale
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cnnlab
from cnnlab.i18n import languages, set_language, text

if TYPE_CHECKING:
    from cnnlab.grading.grader import Folder, Settings
    from cnnlab.grading.results import Result
    from cnnlab.grading.submissions import Submission

FAILED, INTERRUPTED = 3, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # names of files may hold what a terminal cannot show
    set_language(options.lang)
    return _grade(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cnnlab", description="The tools of the CNN course book.")
    parser.add_argument("--version", action="version", version=f"cnnlab {cnnlab.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    grade = commands.add_parser(
        "grade",
        help="grade a folder, a zip or single files",
        description="Grade notebooks: writes grades.csv, results/ and feedback/. Run again, it goes on.",
    )
    add = grade.add_argument
    add("paths", nargs="+", type=Path, metavar="PATH", help=".ipynb, .py, a folder, or a zip of an LMS")
    add("--out", type=Path, required=True, metavar="DIR", help="folder for what is written")
    add("--exercise", choices=["alexnet"], default="alexnet", help="the exercise (%(default)s)")
    add(
        "--lang",
        choices=languages(),
        default=_own_language(),
        help="language of messages and feedback (%(default)s)",
    )
    add(
        "--jobs",
        type=_positive(int),
        default=os.cpu_count() or 1,
        metavar="N",
        help="side by side (%(default)s)",
    )
    add(
        "--time-limit",
        type=_positive(float),
        default=60,
        metavar="SECONDS",
        help="of a submission (%(default)s)",
    )
    add(
        "--memory-limit",
        type=_positive(int),
        default=4096,
        metavar="MIB",
        help="of a submission (%(default)s)",
    )
    add(
        "--sandbox",
        choices=["auto", "bwrap", "none"],
        default="auto",
        help="none: only for code that you trust",
    )
    add("--seed", type=int, metavar="N", help="repeats the challenges of an earlier run")
    add("--format", choices=["gradescope", "nbgrader"], nargs="+", default=[], help="more tables")
    add("--again", action="store_true", help="grade all of them again, also those that have not changed")
    add("--dask", metavar="ADDRESS", help="send the submissions to the Dask scheduler at this address")
    return parser


def _own_language() -> str:
    own = (locale.getlocale()[0] or "")[:2]
    return own if own in languages() else "en"


def _positive(kind: type) -> type:
    def number(words: str):
        value = kind(words)
        if not 0 < value < float("inf"):
            raise ValueError(words)
        return value

    number.__name__ = f"positive {kind.__name__}"
    return number  # type: ignore[return-value]


def _grade(options: argparse.Namespace) -> int:
    from cnnlab.grading import grader, sandbox, submissions

    try:
        found = submissions.find(options.paths, lang=options.lang)
    except (FileNotFoundError, ValueError) as error:
        return _complain(str(error), 2)
    if not found:
        return _complain(text("grading.cli.nothing", paths=", ".join(map(str, options.paths))), 2)
    try:
        chosen = "" if options.dask else sandbox.choose(options.sandbox)
    except sandbox.SandboxError as error:
        return _complain(text("grading.cli.no_sandbox", reason=error), FAILED)
    limits = sandbox.Limits(options.time_limit, options.memory_limit)
    settings = grader.Settings(chosen or options.sandbox, limits)
    if options.seed is not None:
        settings = grader.Settings(settings.sandbox, limits, options.seed % 2**31)
    folder = grader.Folder(options.out, options.lang)
    try:
        return _batch(found, settings, folder, options)
    except (sandbox.SandboxError, OSError) as error:
        return _complain(text("grading.cli.failed", reason=error), FAILED)


def _batch(found: list[Submission], settings: Settings, folder: Folder, options: argparse.Namespace) -> int:
    """Grade what is not known yet, and write everything; whatever happens, the tables hold what is done."""
    from tqdm import tqdm

    results: dict[str, Result] = {}
    if not options.again:
        results = {s.id: known for s in found if (known := folder.known(s)) is not None}
        if results:
            print(text("grading.cli.known", count=len(results)))
    todo = [submission for submission in found if submission.id not in results]
    stop, status = threading.Event(), 0
    try:
        with tqdm(total=len(found), initial=len(results), unit="file", disable=None if todo else True) as bar:
            for result in _results(todo, settings, stop, options):
                results[result.id] = result
                folder.add(result)
                bar.update()
    except KeyboardInterrupt:
        status = _complain(text("grading.cli.interrupted"), INTERRUPTED)
    finally:
        stop.set()
        batch = [results[submission.id] for submission in found if submission.id in results]
        folder.finish(batch, options.format, options.exercise)
    if others := folder.others(batch):
        print(text("grading.cli.others", count=others))
    counts = Counter(text(f"grading.status.{result.status}") for result in batch)
    print(*(f"{name}: {count}" for name, count in counts.most_common()), sep="\n")
    print(
        text(
            "grading.cli.written", table=folder.path / "grades.csv", page=folder.path / "feedback/index.html"
        )
    )
    return status


def _results(
    todo: list[Submission], settings: Settings, stop: threading.Event, options: argparse.Namespace
) -> Iterator[Result]:
    from cnnlab.grading import grader

    if options.dask:
        from cnnlab.grading import cluster

        return cluster.grade_all(todo, settings, options.dask, stop)
    return grader.grade_all(todo, settings, options.jobs, stop)


def _complain(words: str, status: int) -> int:
    print(words, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
