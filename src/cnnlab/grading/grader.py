"""Grades a batch: each submission becomes a `Result`, and a file as soon as it is there.

The answer is found in the file's syntax tree, observed in the sandbox, and judged here, by the criteria
that the notebook's `alexnet.check` uses. A worker only ever gives claims; points come from numbers that are
computed again.
"""

from __future__ import annotations

import hashlib
import queue
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cnnlab.exercises.alexnet import POINTS, draw, judge, remarks
from cnnlab.exercises.observation import Challenge, Observation
from cnnlab.exercises.report import Hint
from cnnlab.grading import feedback, results
from cnnlab.grading.answer import Answer, Kind, NotAnAnswer, extract
from cnnlab.grading.evidence import from_bytes
from cnnlab.grading.results import Mark, Message, Result, plain
from cnnlab.grading.sandbox import Limits, Worker
from cnnlab.grading.submissions import Submission
from cnnlab.i18n import speaking

CLASS = "MyAlexNet"
MAX_SCORE = sum(POINTS.values())
AGAIN = ("timeout", "memory", "crashed")  # a limit may be another one next time


@dataclass(frozen=True)
class Settings:
    """How a batch is graded.

    Attributes
    ----------
    sandbox : {"bwrap", "none"}
    limits : Limits
        Of each submission.
    seed : int
        Of the challenge: the same for a whole batch.
    """

    sandbox: str
    limits: Limits = field(default_factory=Limits)
    seed: int = field(default_factory=lambda: secrets.randbelow(2**31))


class Readable(Protocol):
    """What `grade` needs of a submission: one of `cnnlab.grading.submissions`, or one that has travelled."""

    @property
    def id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> Kind: ...
    def read(self) -> bytes: ...


def grade(submission: Readable, worker: Worker, seed: int) -> Result:
    """Grade one submission, whatever it is. Raises only if the grader itself does not work.

    Parameters
    ----------
    submission : Submission
    worker : Worker
    seed : int
    """
    content = b""
    outcome: _Outcome
    try:
        content = submission.read()
        outcome = _run(extract(content, submission.kind, CLASS), worker, draw(seed))
    except NotAnAnswer as found:
        outcome = _Outcome(found.status, found.message)
    return Result(
        id=submission.id,
        submission=submission.name,
        digest=hashlib.sha256(content).hexdigest(),
        status=outcome.status,
        score=sum(mark.points for mark in outcome.marks),
        max_score=MAX_SCORE,
        seconds=round(outcome.seconds, 3),
        message=outcome.message,
        marks=outcome.marks,
        seed=seed,
    )


@dataclass
class _Outcome:
    status: str
    message: Message | None = None
    marks: tuple[Mark, ...] = ()
    seconds: float = 0.0


def _run(answer: Answer, worker: Worker, challenge: Challenge) -> _Outcome:
    if answer.wraps:
        return _wrapped(answer.wraps)
    pieces = [[piece.code, piece.origin, piece.line] for piece in answer.source]
    task = {"pieces": pieces, "name": CLASS, "seed": challenge.seed, "num_classes": challenge.num_classes}
    ended, seconds, data = worker.run(task)
    if ended == "lost":  # the machine may have been short of something: once more
        ended, seconds, data = worker.run(task)
    outcome = _ended(ended, data, worker.limits) or _judged(data, challenge, worker.limits)
    outcome.seconds = seconds
    return outcome


def _ended(ended: str, data: bytes, limits: Limits) -> _Outcome | None:
    """What there is to say where no observation has come back."""
    if ended == "timeout":
        return _Outcome("timeout", Message("grading.messages.time_limit", {"seconds": plain(limits.seconds)}))
    if ended == "memory":
        return _Outcome("memory", _memory(limits))
    kind, _, number = ended.partition(" ")
    if kind in ("processes", "output", "lost"):
        return _Outcome("crashed", Message(f"grading.worker.{kind}", {}))
    if kind == "signal":
        return _Outcome("crashed", Message("grading.worker.signal", {"number": int(number)}))
    if not data:
        return _Outcome("crashed")
    return None


def _memory(limits: Limits) -> Message:
    return Message("grading.messages.memory_limit", {"mebibytes": limits.memory})


def _judged(data: bytes, challenge: Challenge, limits: Limits) -> _Outcome:
    """The outcome that follows from what the worker claims to have seen."""
    try:
        seen = from_bytes(data)
    except ValueError:
        return _Outcome("crashed", Message("grading.worker.garbled", {}))
    if seen.problem == "memory":
        return _Outcome("memory", _memory(limits))
    if seen.status == "unanswered":
        return _Outcome("unanswered")
    if seen.status == "wraps":
        return _wrapped(seen.got)
    if seen.status != "seen" or (seen.failure and not seen.steps):
        return _Outcome("error", _why(seen))
    try:
        findings, said = judge(seen, challenge), [_message(hint) for hint in remarks(seen)]
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
        # What is judged may be invented. It must not end the batch, whatever a check has forgotten.
        return _Outcome("crashed", Message("grading.worker.garbled", {}))
    marks = []
    for finding in findings:
        hints = [_message(finding.hint)] if finding.hint else []
        if finding.criterion == "same" and not finding.holds:
            hints += said
        marks.append(Mark(finding.criterion, finding.points, finding.max_points, tuple(hints)))
    return _Outcome("graded", marks=tuple(marks))


def _wrapped(module: str) -> _Outcome:
    """No points for a network that somebody else has written."""
    marks = tuple(Mark(criterion, 0, points) for criterion, points in POINTS.items())
    return _Outcome("graded", _message(Hint("wraps", {"module": module})), marks)


def _message(hint: Hint) -> Message:
    return Message(f"exercises.alexnet.my_alexnet.{hint.name}", dict(hint.values))


def _why(seen: Observation) -> Message | None:
    """Why a class could not be built or run."""
    if seen.failure:
        values: dict = {"error": seen.failure.kind, "message": seen.failure.message}
        place, _, number = seen.failure.origin.partition(" ")
        if place == "cell":
            return Message(
                "grading.messages.raised_in_cell", {**values, "cell": number, "line": seen.failure.line}
            )
        if place == "file":
            return Message("grading.messages.raised_in_line", {**values, "line": seen.failure.line})
        return Message("grading.messages.raised", values)
    if seen.problem in ("no_argument", "not_a_module", "no_return"):
        return _message(Hint(seen.problem, {"got": seen.got}))
    return (
        Message("grading.worker.not_a_class", {"got": seen.got}) if seen.problem == "not_callable" else None
    )


# --- a batch ---------------------------------------------------------------------------------------------


def grade_all(
    submissions: Iterable[Submission], settings: Settings, jobs: int, stop: threading.Event
) -> Iterator[Result]:
    """Grade side by side, and give each result as soon as it is there, in no order.

    Parameters
    ----------
    submissions : iterable of Submission
        Read one by one, a few in advance.
    settings : Settings
    jobs : int
        Workers.
    stop : threading.Event
        Once set, nothing new is begun, and the workers are ended.
    """
    idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
    workers = [Worker(settings.sandbox, settings.limits) for _ in range(jobs)]
    for worker in workers:
        idle.put(worker)

    def work(submission: Submission) -> Result:
        worker = idle.get()
        try:
            return grade(submission, worker, settings.seed)
        finally:
            idle.put(worker)

    waiting, running = iter(submissions), set[Future[Result]]()
    pool = ThreadPoolExecutor(jobs)
    try:
        while not stop.is_set():
            while len(running) < 2 * jobs and (submission := next(waiting, None)) is not None:
                running.add(pool.submit(work, submission))
            if not running:
                break
            done, running = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for worker in workers:
            worker.close()


class Folder:
    """The folder that a batch is written to: results, feedback, tables.

    Parameters
    ----------
    path : Path
    lang : str
        Language of what is written for people.
    """

    def __init__(self, path: Path, lang: str) -> None:
        self.path, self.lang = path, lang

    def known(self, submission: Submission) -> Result | None:
        """The result of an earlier run, if the file is the same and no limit has ended it."""
        try:
            text = (self.path / "results" / f"{submission.id}.json").read_text("utf-8")
            result = Result.from_json(text)
            same = result.digest == hashlib.sha256(submission.read()).hexdigest()
        except (OSError, ValueError, NotAnAnswer):
            return None
        return (
            result if same and result.submission == submission.name and result.status not in AGAIN else None
        )

    def others(self, batch: Sequence[Result]) -> int:
        """How many results of earlier runs are in the folder, but not in this batch."""
        known = {f"{result.id}.json" for result in batch}
        return sum(file.name not in known for file in self.path.glob("results/*.json"))

    def add(self, result: Result) -> None:
        """Write a result, and the page for the student."""
        results.write(self.path / "feedback" / f"{result.id}.html", feedback.page(result, self.lang))
        results.write(self.path / "results" / f"{result.id}.json", result.to_json())  # last: now it is done

    def finish(self, batch: Sequence[Result], formats: Sequence[str], assignment: str) -> None:
        """Write the tables of a batch."""
        with speaking(self.lang):
            results.write_csv(batch, self.path / "grades.csv")
            if "gradescope" in formats:
                results.gradescope(batch, self.path)
            if "nbgrader" in formats:
                results.nbgrader_csv(batch, self.path / "nbgrader.csv", assignment)
        results.write(self.path / "feedback" / "index.html", feedback.index(batch, self.lang))
