"""Runs in the sandbox: a process that has imported torch, and a fork of it for each submission.

The first process runs no student's code. For each task on its standard input it makes a fork in user,
process and mount namespaces of its own (`_shut_in`), which reads the task. It watches what the fork uses
and relays the bytes that it writes, without looking at them. When a submission ends, for whatever reason,
every process that it has left behind ends, too, and nothing of it stays in the first process: neither its
code nor what it has written.

There is no right answer here: `cnnlab.models` and `torchvision.models.alexnet` are empty.

A task is eight digits, the number of bytes that follow, and JSON: ``{"pieces": [[code, origin, line], …],
"name": …, "seed": …, "num_classes": …}``. The answer is a line of JSON, ``{"ended": …, "seconds": …,
"size": …}``, followed by so many bytes. The arguments of the process are the limits: seconds, MiB, and
whether forks are to be shut in.
"""

from __future__ import annotations
import __future__

import contextlib
import ctypes
import errno
import functools
import gc
import json
import linecache
import operator
import os
import resource
import select
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NoReturn

import torch

from cnnlab.exercises.observation import Challenge, Failure, Observation, observe
from cnnlab.grading import seccomp
from cnnlab.grading.evidence import to_bytes

MIB = 2**20
OUTPUT = 64 * MIB  # of one submission, through its pipe
TASKS = 256  # processes and threads of one submission
EVERY = 0.02  # seconds between two looks at a submission
HIDDEN = ("cnnlab.models", "cnnlab.exercises.alexnet", "torchvision.models.alexnet")

# From <sched.h>, <sys/mount.h> and <sys/prctl.h> of Linux.
NEW_MOUNTS, NEW_IPC, NEW_USER, NEW_PROCESSES, NEW_NETWORK = (
    0x20000,
    0x8000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
READ_ONLY, NO_SUID, NO_DEVICES, NO_PROGRAMS, REMOUNT, BIND, WITH_ALL_BELOW = (
    *(1, 2, 4, 8),
    *(0x20, 0x1000, 0x4000),
)
SET_DUMPABLE, SET_DEATH_SIGNAL, NO_NEW_PRIVILEGES = 4, 1, 38
FUTURES = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)
LIBC = ctypes.CDLL(None, use_errno=True)


def main(seconds: float, memory: int, shut: bool) -> None:
    """Announce itself, then serve tasks until there are no more.

    Parameters
    ----------
    seconds : float
        Time limit of a submission.
    memory : int
        Its limit of memory in MiB.
    shut : bool
        Whether it is shut in: this process runs in a sandbox. Else the fork is only limited.
    """
    torch.set_num_threads(1)  # a fork must not inherit a pool of threads
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # should memory run out, a submission ends, not what else there is on the machine
    LIBC.prctl(SET_DUMPABLE, 0, 0, 0, 0)
    for name in HIDDEN:
        sys.modules[name] = types.ModuleType(name)  # empty, so that what imports it can still be imported
    observe(_Warm, Challenge(0))
    buffer = bytearray(OUTPUT)
    gc.collect()
    gc.freeze()
    if shut and not _works(seccomp.forbid):
        raise OSError("the system does not let a process give up system calls (seccomp)")
    nested = shut and _works(lambda: _shut_in(lambda: None))
    _answer({"ready": True, "nested": nested})
    poll = select.poll()
    poll.register(0, select.POLLIN)
    while poll.poll()[0][1] & select.POLLIN:
        ended, spent, size = serve(buffer, seconds, memory, shut, nested)
        data = memoryview(buffer)[: size if ended == "done" else 0]
        _answer({"ended": ended, "seconds": spent, "size": len(data)}, data)
        buffer[:size] = bytes(size)  # the next submission inherits this memory


class _Warm(torch.nn.Module):
    """Run once, so that what torch prepares at the first call is there in every fork."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 11, 4, 2)
        self.fc = torch.nn.Linear(4 * 27 * 27, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.nn.functional.max_pool2d(self.conv(x).relu(), 3, 2).flatten(1))


def _answer(header: dict, data: memoryview | bytes = b"") -> None:
    for part in (json.dumps(header).encode() + b"\n", data):
        rest = memoryview(part)
        while rest:
            rest = rest[os.write(1, rest) :]


# --- outside the submission ----------------------------------------------------------------------------


def serve(buffer: bytearray, seconds: float, memory: int, shut: bool, nested: bool) -> tuple[str, float, int]:
    """Run the next submission.

    Parameters
    ----------
    buffer : bytearray
        For what it writes.
    seconds, memory, shut
        As for `main`.
    nested : bool
        Whether it gets namespaces of its own. Where a sandbox cannot hold another one, it shares those of
        this process, and `cnnlab.grading.sandbox` begins a new sandbox after it.

    Returns
    -------
    ended : str
        "done", "timeout", "memory", "processes", "output", or "signal 11" and the like.
    seconds : float
    size : int
        How many bytes it has written to `buffer`, however it ended.
    """
    start = time.monotonic()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _enter(writing, seconds, memory, shut, nested)
    os.close(writing)
    os.set_blocking(reading, False)
    try:
        ended, size = _watch(pid, reading, buffer, start + seconds, memory, shut)
    finally:
        _sweep(pid, shut)
        os.close(reading)
    return ended, time.monotonic() - start, size


def _watch(pid: int, reading: int, buffer: bytearray, end: float, memory: int, shut: bool) -> tuple[str, int]:
    """Read what the submission writes until it ends or reaches a limit; how it ended, and the bytes."""
    poll = select.poll()
    poll.register(reading, select.POLLIN)
    base, size, looked = _anonymous(os.getpid()), 0, 0.0
    while True:
        poll.poll(1000 * EVERY)
        got = _read(reading, buffer, size)
        size += got or 0
        if size == OUTPUT:
            return "output", size
        if got == 0:  # closed: it ends now, or goes on without anything to say
            time.sleep(EVERY / 10)
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            while size < OUTPUT and (got := _read(reading, buffer, size)):
                size += got
            code = _exit_code(status)
            return ("done" if code < 128 else f"signal {code - 128}"), size
        now = time.monotonic()
        if now > end:
            return "timeout", size
        if now - looked > EVERY:
            looked = now
            used, tasks = _used(pid, base, shut)
            if used > memory * MIB:
                return "memory", size
            if tasks > TASKS:
                return "processes", size


def _read(reading: int, buffer: bytearray, start: int) -> int | None:
    """Read on into the buffer; None if there is nothing now, 0 if there will be nothing any more."""
    try:
        return os.readv(reading, [memoryview(buffer)[start:]])
    except BlockingIOError:
        return None


def _processes(pid: int, shut: bool) -> Iterator[int]:
    """The submission's processes: all but the first two, where nothing else runs here."""
    if not shut:
        yield pid
        return
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in (1, os.getpid()):
            yield int(name)


def _used(pid: int, base: int, shut: bool) -> tuple[int, int]:
    """Bytes of memory that the submission has filled, and how many processes and threads it has."""
    memory = tasks = 0
    for process in _processes(pid, shut):
        memory += max(0, _anonymous(process) - base)
        with contextlib.suppress(OSError):
            tasks += len(os.listdir(f"/proc/{process}/task"))
    return memory, tasks


def _anonymous(pid: int) -> int:
    """Bytes of memory that hold no file."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            lines = dict(line.split(":", 1) for line in file if ":" in line)
        return 1024 * sum(int(lines.get(name, "0 kB").split()[0]) for name in ("RssAnon", "RssShmem"))
    except (OSError, ValueError):
        return 0


def _sweep(pid: int, shut: bool) -> None:
    """End every process of the submission."""
    if not shut:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    while True:
        left = False
        for process in _processes(pid, shut):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
                left = True
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not left:
            return
        time.sleep(0.001)


# --- inside ----------------------------------------------------------------------------------------------


def _enter(writing: int, seconds: float, memory: int, shut: bool, nested: bool) -> NoReturn:
    """Become the submission's first process; never returns."""
    code = 1
    try:
        task = _take()
        os.closerange(writing + 1, 4096)
        for number in range(3, writing):
            with contextlib.suppress(OSError):
                os.close(number)
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)

        def run() -> None:
            os.setsid()  # signals to its group reach nobody else
            _limit(seconds, memory)
            if shut:
                seccomp.forbid()
            _run(task, writing)

        if nested:
            code = _shut_in(run)
        else:
            run()
    finally:
        os._exit(code)


def _take() -> dict:
    """The task, from standard input."""
    text = b""
    while len(text) < 8 or len(text) < 8 + int(text[:8]):
        text += os.read(0, 8 - len(text) if len(text) < 8 else 8 + int(text[:8]) - len(text))
    return json.loads(text[8:])


def _shut_in(run: Callable[[], None]) -> int:
    """Run a function in namespaces of its own; returns how it ended, as a shell would.

    The fork that runs it cannot see, signal or trace any process but its own, has an empty /tmp that ends
    with it, no network, and no right to anything.
    """
    user, group = os.getuid(), os.getgid()
    _call("unshare", NEW_USER | NEW_MOUNTS | NEW_PROCESSES | NEW_IPC | NEW_NETWORK)
    LIBC.prctl(SET_DUMPABLE, 1, 0, 0, 0)  # else only root could write these files
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user} {user} 1"),
        ("gid_map", f"{group} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    LIBC.prctl(SET_DUMPABLE, 0, 0, 0, 0)
    first = os.fork()
    if first == 0:
        LIBC.prctl(SET_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
        _empty_tmp()
        # Who starts the grader as root owns much of /proc, even without any right.
        flags = REMOUNT | BIND | READ_ONLY | NO_SUID | NO_DEVICES | NO_PROGRAMS
        _call("mount", None, b"/proc", None, flags, None)
        _give_up_rights()
        second = os.fork()
        if second == 0:
            run()
            os._exit(0)
        while True:  # the first process of a namespace inherits all orphans; it ends with the second
            done, status = os.wait()
            if done == second:
                os._exit(_exit_code(status))
    return _exit_code(os.waitpid(first, 0)[1])


def _empty_tmp() -> None:
    """A /tmp of its own, in which nothing is but what is imported from there."""
    packages = [path for path in sys.path if path.startswith("/tmp/")]
    opened = [os.open(path, os.O_PATH) for path in packages]
    options = b"size=64m,nr_inodes=4096,mode=0777"
    _call("mount", b"tmpfs", b"/tmp", b"tmpfs", NO_SUID | NO_DEVICES, options)
    for path, number in zip(packages, opened):
        os.makedirs(path, exist_ok=True)
        _call("mount", b"/proc/self/fd/%d" % number, os.fsencode(path), None, BIND | WITH_ALL_BELOW, None)
        os.close(number)
    os.chdir("/tmp")


def _exit_code(status: int) -> int:
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _call(name: str, *arguments: Any) -> None:
    if getattr(LIBC, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _give_up_rights() -> None:
    """No capability, and none to be had again."""
    _call("prctl", NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    _call("capset", header, (ctypes.c_uint32 * 6)())


def _works(function: Callable[[], int | None]) -> bool:
    """Whether the system allows what a function does: it is called in a fork, and gives 0 or nothing."""
    pid = os.fork()
    if pid == 0:
        code: int | None = 1
        try:
            code = function()
        finally:
            os._exit(code or 0)
    return os.waitpid(pid, 0)[1] == 0


def _run(task: dict, writing: int) -> NoReturn:
    """Define the answer, look at what it computes, write that down."""
    try:
        seen = _look(task)
    except BaseException as error:  # whatever a student's code may raise
        seen = Observation("not_built", "raised", failure=Failure.of(error))
        if _is_of_memory(error):
            seen.problem = "memory"
    if seen.failure:  # the name of the cell, without what makes it the reader's code
        seen.failure = replace(
            seen.failure, origin=seen.failure.origin.removeprefix("<ipython ").removesuffix(">")
        )
    for piece in to_bytes(seen):
        while piece:
            piece = piece[os.write(writing, piece[:MIB]) :]
    os._exit(0)


def _limit(seconds: float, memory: int) -> None:
    """What the system itself refuses; `_watch` sees to the rest."""
    with open("/proc/self/statm") as file:
        virtual = int(file.read().split()[0]) * resource.getpagesize()
    for kind, value in (
        (resource.RLIMIT_AS, virtual + memory * MIB),
        (resource.RLIMIT_CPU, int(seconds) + 5),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 64 * MIB),
        (resource.RLIMIT_NPROC, TASKS),
        (resource.RLIMIT_NOFILE, 256),
    ):
        with contextlib.suppress(ValueError, OSError):  # a lower limit holds already
            resource.setrlimit(kind, (value, value))


def _look(task: dict) -> Observation:
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    os.environ.clear()
    os.environ.update(HOME="/tmp", PATH="/usr/bin", LANG="C.UTF-8", MPLBACKEND="agg")
    flags = 0  # what `from __future__ import …` has chosen holds for all that follows
    for code, origin, line in task["pieces"]:
        file = f"<ipython {origin}>"
        source = "\n" * (line - 1) + code
        linecache.cache[file] = _lines(file, source)
        compiled = compile(source, file, "exec", flags, dont_inherit=True)
        flags |= compiled.co_flags & FUTURES
        exec(compiled, module.__dict__)
    challenge = Challenge(task["seed"], task["num_classes"])
    seen = observe(module.__dict__.get(task["name"]), challenge)
    if seen.error is not None and _is_of_memory(seen.error):
        seen.problem = "memory"
    return seen


def _is_of_memory(error: BaseException) -> bool:
    full = isinstance(error, OSError) and error.errno == errno.ENOMEM
    return full or isinstance(error, MemoryError) or "can't allocate memory" in str(error)


def _lines(file: str, source: str) -> tuple:
    """What `linecache` knows of a cell: the lines of its pieces, each at its place."""
    known = linecache.cache.get(file, (0, None, [], file))[2]  # type: ignore[misc]
    lines = [line + "\n" for line in source.split("\n")]
    lines = (
        [new if new.strip() else old for old, new in zip(known, lines)]
        + lines[len(known) :]
        + known[len(lines) :]
    )
    return len(source), None, lines, file


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "shut")
