"""Starts workers in a sandbox, and speaks with them.

The sandbox is bubblewrap (`bwrap`): no network, a read-only system of which only Python and its packages
can be seen, processes of its own, an empty environment. What runs in it is `cnnlab.grading.worker`.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path

SANDBOXES = ("auto", "bwrap", "none")
LARGEST = 64 * 2**20  # bytes that a submission may write
START = 300  # seconds within which a worker has to be ready
HEADER = 10_000  # bytes of a line
PATIENCE = 30  # seconds after the time limit, when the worker itself is given up
BOOT = (
    "import sys; sys.path[:] = sys.argv[4:]; from cnnlab.grading import worker; "
    "worker.main(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == 'shut')"
)
ENVIRONMENT = {
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PATH": "/usr/bin:/bin",
    "PYTHONDONTWRITEBYTECODE": "1",
}
# What a student could take a finished AlexNet, or its sizes, out of: in the sandbox, these files are empty.
HIDDEN = ("cnnlab/models.py", "cnnlab/exercises/alexnet.py", "torchvision/models/alexnet.py")
# What in /proc belongs to the whole machine. If root starts the grader, these files take the submission for
# root, and ask for no other right: `sys/kernel/core_pattern` would run a program outside of the sandbox.
OF_THE_SYSTEM = ("acpi", "bus", "fs", "irq", "mtrr", "scsi", "sys", "sysrq-trigger")
ROOM = 64 * 2**20  # bytes of /tmp
# How a submission may have ended, as `cnnlab.grading.worker.serve` says it.
ENDED = re.compile(r"done|timeout|memory|processes|output|signal \d{1,3}")
# What it looks like when a worker has ended, or says what a worker does not say.
LOST = (EOFError, OSError, ValueError, KeyError, TypeError, RecursionError)


class SandboxError(Exception):
    """No sandbox can be had here; the text says why."""


@dataclass(frozen=True)
class Limits:
    """What one submission may use: seconds of time, MiB of memory."""

    seconds: float = 60
    memory: int = 4096


def choose(sandbox: str) -> str:
    """The sandbox to use: "bwrap" or "none".

    Parameters
    ----------
    sandbox : {"auto", "bwrap", "none"}
        "auto" is bwrap. Without it nothing is run: only "none" does that.

    Raises
    ------
    SandboxError
        If bwrap is wanted and not there, or not allowed to make a sandbox; with what it says.
    """
    if sandbox == "none":
        return sandbox
    if shutil.which("bwrap") is None:
        raise SandboxError("bwrap was not found")
    done = subprocess.run(
        ["bwrap", *_namespaces(), "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    if done.returncode:
        raise SandboxError(done.stderr.strip() or f"bwrap ended with {done.returncode}")
    return "bwrap"


class Worker:
    """A process in the sandbox that runs one submission after another.

    Parameters
    ----------
    sandbox : {"bwrap", "none"}
    limits : Limits

    Raises
    ------
    SandboxError
        If it does not start; with the last it said.
    """

    def __init__(self, sandbox: str, limits: Limits) -> None:
        self.sandbox, self.limits = sandbox, limits
        self._process: subprocess.Popen | None = None
        self._nested = self._closed = False

    def run(self, task: dict) -> tuple[str, float, bytes]:
        """Run one submission; `task` as in `cnnlab.grading.worker`, without limits.

        Returns
        -------
        ended : str
            As in `cnnlab.grading.worker.serve`, or "lost" where the worker itself is gone.
        seconds : float
        data : bytes
            What the submission has written; it may be anything.

        Raises
        ------
        SandboxError
            If the process does not start, or `close` has been called.
        """
        if self._closed:
            raise SandboxError("the worker is closed")
        if self._process is None:
            self._start()
        start = time.monotonic()
        text = json.dumps(task).encode()
        end = start + self.limits.seconds + PATIENCE
        try:
            _write(self._pipe("stdin"), b"%08d" % len(text) + text, end)
            header = self._line(end)
            ended, seconds, size = header["ended"], header["seconds"], header["size"]
            # Where a sandbox cannot hold another one, a submission may write this line itself.
            if not (ENDED.fullmatch(ended) and 0 <= seconds <= self.limits.seconds + PATIENCE):
                raise ValueError(f"ended with {ended!r:.100} after {seconds!r:.100} seconds")
            if not 0 <= size <= LARGEST:
                raise ValueError(f"{size} bytes announced")
            data = b"".join(self._read(size, end))
        except LOST:
            self._end()
            return "lost", time.monotonic() - start, b""
        if self.sandbox == "bwrap" and not self._nested:
            self._end()  # each submission its own sandbox
        return ended, seconds, data

    def close(self) -> None:
        """End the worker and all that runs in its sandbox, for good; another thread may be in `run`."""
        self._closed = True
        self._end()

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for stream in (process.stdin, process.stdout):
                stream.close()  # type: ignore[union-attr]
            process.wait()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _start(self) -> None:
        paths = _import_paths()
        shut = "shut" if self.sandbox == "bwrap" else "open"
        limits = [str(self.limits.seconds), str(self.limits.memory), shut]
        command = [sys.executable, "-I", "-B", "-c", BOOT, *limits, *map(str, paths)]
        with tempfile.TemporaryFile() as said, tempfile.NamedTemporaryFile() as empty:
            if self.sandbox == "bwrap":
                command = [*_sandbox(paths, empty.name), *command]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env=ENVIRONMENT,
                cwd="/",
                start_new_session=True,  # Ctrl-C is for the grader
                bufsize=0,
            )
            try:
                self._nested = self._line(time.monotonic() + START)["nested"]
            except LOST as error:
                self._end()
                said.seek(0)
                last = said.read()[-2000:].decode(errors="replace").strip()
                raise SandboxError(f"the worker did not start: {last or error}") from error
        if self.sandbox == "bwrap" and not self._nested and "--size" not in command:
            self._end()  # else `cnnlab.grading.worker` limits it
            raise SandboxError("this bubblewrap cannot limit /tmp: version 0.7 or newer is needed here")

    def _pipe(self, name: str) -> int:
        if (process := self._process) is None:
            raise EOFError("the worker has been ended")
        return getattr(process, name).fileno()

    def _line(self, end: float) -> dict:
        """The next line of JSON."""
        line = b""
        while not line.endswith(b"\n"):
            line += b"".join(self._read(1, end))
            if len(line) > HEADER:
                raise ValueError("a line too long")
        return json.loads(line)

    def _read(self, size: int, end: float) -> Iterator[bytes]:
        """So many bytes."""
        while size:
            if not select.select([self._pipe("stdout")], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError
            part = os.read(self._pipe("stdout"), min(size, 2**20))
            if not part:
                raise EOFError
            size -= len(part)
            yield part


def _write(pipe: int, data: bytes, end: float) -> None:
    os.set_blocking(pipe, False)
    rest = memoryview(data)
    while rest:
        if not select.select([], [pipe], [], max(0, end - time.monotonic()))[1]:
            raise TimeoutError
        rest = rest[os.write(pipe, rest) :]


# --- what the sandbox holds ------------------------------------------------------------------------------


def _namespaces() -> list[str]:
    return ["--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL"]


def _import_paths() -> list[Path]:
    """Folders from which the worker imports: Python's own, and those that hold its packages."""
    names = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    names += [str(Path(names[0], "lib-dynload"))]  # parts of the standard library that are compiled
    names += [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    names += [str(_package(name).parent) for name in ("cnnlab", "torch")]
    return [path for path in dict.fromkeys(map(Path, names)) if path.is_dir()]


def _package(name: str) -> Path:
    """The folder of an installed package, without importing it."""
    spec = util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SandboxError(f"{name} is not installed")
    return Path(spec.origin).parent


def _visible(paths: Sequence[Path]) -> Iterator[Path]:
    """What can be read in the sandbox: the system's programs and libraries, Python, its packages; no home."""
    yield from map(
        Path, ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/alternatives")
    )
    yield from (Path(sys.base_prefix, name) for name in ("bin", "lib", "lib64"))
    yield from (Path(sys.prefix, name) for name in ("bin", "pyvenv.cfg"))
    yield Path(os.path.realpath(sys.executable))
    cnnlab = _package("cnnlab")
    yield from (cnnlab if path == cnnlab.parent and path.name == "src" else path for path in paths)


def _room() -> list[str]:
    """The limit of /tmp, of which bubblewrap knows from its version 0.7 on."""
    done = subprocess.run(["bwrap", "--help"], capture_output=True, text=True, timeout=60)
    return ["--size", str(ROOM)] if "--size" in done.stdout + done.stderr else []


def _sandbox(paths: Sequence[Path], empty: str) -> list[str]:
    """The command that starts another one in the sandbox; `empty` is a file in which nothing stands."""
    program = shutil.which("bwrap") or "bwrap"  # by the teacher's PATH, not by that of the sandbox
    command = [program, *_namespaces(), "--uid", "65534", "--gid", "65534", "--hostname", "sandbox"]
    command += [*_room(), "--tmpfs", "/tmp"]  # first, since Python itself may lie in the real one
    shown: list[Path] = []
    for path in _visible(paths):
        if any(path.is_relative_to(other) for other in shown):
            continue
        if path.is_symlink() and path.parent == Path("/"):  # /lib -> usr/lib
            command += ["--symlink", os.readlink(path), str(path)]
        elif path.exists():
            command += ["--ro-bind", str(path), str(path)]
            shown.append(path)
    for path in paths:
        for name in HIDDEN:
            file = path / name
            for hidden in (file, *file.parent.glob(f"__pycache__/{file.stem}.*.pyc")):
                if hidden.exists():
                    command += ["--ro-bind", empty, str(hidden)]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for name in OF_THE_SYSTEM:
        command += ["--ro-bind-try", f"/proc/{name}", f"/proc/{name}"]
    command += ["--tmpfs", "/dev/shm"]
    for folder in ("/dev/shm", "/dev", "/"):
        command += ["--remount-ro", folder]
    return [*command, "--chdir", "/tmp", "--"]
