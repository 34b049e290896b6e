"""Grades on a Dask cluster: each of its workers has sandboxes of its own, and the grades are the same.

What travels are the files and settings, and back come finished results. A worker that dies loses nothing:
Dask gives what it had to another one.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from cnnlab.grading import grader, sandbox
from cnnlab.grading.answer import Kind, NotAnAnswer
from cnnlab.grading.results import Message, Result
from cnnlab.grading.submissions import Submission

RETRIES = 3
_own = threading.local()  # the worker of a thread of Dask's worker


@dataclass(frozen=True)
class Sent:
    """A submission on its way: with its content, or with what keeps it from being read."""

    id: str
    name: str
    kind: Kind
    content: bytes
    problem: tuple[str, Message | None] | None = None

    def read(self) -> bytes:
        if self.problem is not None:
            raise NotAnAnswer(*self.problem)
        return self.content


def grade_all(
    submissions: Iterable[Submission], settings: grader.Settings, address: str, stop: threading.Event
) -> Iterator[Result]:
    """As `cnnlab.grading.grader.grade_all`, on the cluster whose scheduler is at `address`.

    Raises
    ------
    SandboxError
        If Dask is not installed, or no cluster answers, or its workers have no sandbox.
    """
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise sandbox.SandboxError('Dask is not installed: pip install "cnnlab[dask]"') from error
    try:
        client = Client(address, timeout=10)
    except (OSError, ValueError) as error:
        raise sandbox.SandboxError(f"no Dask scheduler at {address}: {error}") from error
    if not client.nthreads():
        with contextlib.suppress(TimeoutError):
            client.wait_for_workers(1, timeout=60)
        if not client.nthreads():
            client.close()
            raise sandbox.SandboxError(f"the Dask cluster at {address} has no workers")
    waiting = iter(submissions)

    def send() -> list:
        submission = next(waiting, None)
        if submission is None:
            return []
        return [client.submit(_grade, _sent(submission), settings, pure=False, retries=RETRIES)]

    with client:
        ahead = 4 * max(1, sum(client.nthreads().values()))
        running = as_completed([future for _ in range(ahead) for future in send()])
        for future in running:
            if stop.is_set():
                return
            yield future.result()
            for following in send():
                running.add(following)


def _sent(submission: Submission) -> Sent:
    content, problem = b"", None
    try:
        content = submission.read()
    except NotAnAnswer as found:
        problem = (found.status, found.message)
    return Sent(submission.id, submission.name, submission.kind, content, problem)


def _grade(submission: Sent, settings: grader.Settings) -> Result:
    """Runs on the cluster."""
    key = replace(settings, seed=0)
    if getattr(_own, "key", None) != key:
        _own.worker, _own.key = sandbox.Worker(sandbox.choose(settings.sandbox), settings.limits), key
    return grader.grade(submission, _own.worker, settings.seed)
