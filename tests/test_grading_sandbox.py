"""Parts of the isolation one by one: the worker, where it can be nested and where not, its filter of system
calls, and what the grader makes of bytes that anybody may have written.

Code of students runs only in `Worker("bwrap", …)` here.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from grading_batches import NEIGHBOUR, NOWHERE, cases, filled
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn

from cnnlab.exercises.alexnet import judge, remarks
from cnnlab.exercises.observation import Challenge, Observation, observe
from cnnlab.grading import evidence, grader, sandbox, seccomp
from cnnlab.grading.sandbox import Limits, SandboxError, Worker

pytestmark = pytest.mark.alone

CHALLENGE = Challenge(3, num_classes=12)
START = "import contextlib, os, time\nfrom torch import nn\n\nclass MyAlexNet(nn.Module):\n    "


def task(code: str) -> dict:
    pieces = [[code, "file", 1]]
    return {
        "pieces": pieces,
        "name": "MyAlexNet",
        "seed": CHALLENGE.seed,
        "num_classes": CHALLENGE.num_classes,
    }


def points(data: bytes) -> float:
    return sum(finding.points for finding in judge(evidence.from_bytes(data), CHALLENGE))


@pytest.fixture(scope="module", autouse=True)
def bubblewrap() -> None:
    assert shutil.which("bwrap"), "these tests need bubblewrap: apt install bubblewrap"


@pytest.fixture
def worker() -> Iterator[Worker]:
    with Worker("bwrap", Limits(60, 2048)) as one:
        yield one


@pytest.fixture
def never_nested(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where a sandbox cannot hold another one."""
    boot = sandbox.BOOT.replace("worker.main(", "worker.NEW_USER = -1; worker.main(")
    assert boot != sandbox.BOOT
    monkeypatch.setattr(sandbox, "BOOT", boot)


# --- one sandbox within another, or a new one each time -----------------------------------------------------


def probe(name: str) -> str:
    return filled(next(case.content for case in cases("probes") if case.name == name), NOWHERE)


@pytest.mark.usefixtures("never_nested")
def test_where_it_cannot_be_nested_each_has_a_sandbox_of_its_own(worker: Worker) -> None:
    assert worker.run(task(START + "os.kill(-1, 9)"))[0] == "lost"  # only its own sandbox
    forged = 'open("/proc/1/fd/1", "w").write(\'{"ended": "done", "seconds": 1e308, "size": 1}\\n\')'
    assert worker.run(task(START + forged))[0] in ("lost", "done")
    assert worker.run(task(START + 'open("/tmp/left", "w").write("x")\n    os._exit(0)'))[0] == "done"
    assert _run(worker, probe("finds_an_empty_folder_of_its_own")) == 100
    assert worker._process is None


@pytest.mark.usefixtures("never_nested")
@pytest.mark.parametrize("name", ["writing_outside", "calls_into_the_kernel"])
def test_where_it_cannot_be_nested_it_can_do_no_more(name: str, worker: Worker) -> None:
    assert _run(worker, probe(name)) == 100


def _run(worker: Worker, code: str) -> float:
    ended, _, data = worker.run(task(code))
    assert ended == "done"
    seen = evidence.from_bytes(data)
    assert seen.failure is None, seen.failure
    return points(data)


# --- one after another in the same worker -------------------------------------------------------------------

SCAN = """
def scan(first, second):  # the whole word stands nowhere here: this would find itself
    found = 0
    for line in open("/proc/self/maps"):
        addresses, rights, *_ = line.split()
        start, end = (int(address, 16) for address in addresses.split("-"))
        if not rights.startswith("rw"):
            continue
        with open("/proc/self/mem", "rb", 0) as memory:
            for place in range(start, end, 2**24):
                memory.seek(place)
                try:
                    part = memory.read(min(2**24 + 64, end - place))
                except OSError:
                    continue
                at = part.find(first)
                while at >= 0:
                    after = part[at + len(first) :][: len(second)]
                    found += after == second
                    at = part.find(first, at + 1)
    return found

import ctypes
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # dumpable, or an ordinary user may not read it
assert scan(b"control-", b"of-this-scan"), "the scan finds nothing at all"
assert not scan(b"marker-of-the-", b"submission-before"), "something of the one before is left"
"""


def test_nothing_stays_in_the_memory_that_the_next_one_inherits(worker: Worker) -> None:
    marker = "marker-of-the-" + "submission-before"
    write = f"with contextlib.suppress(OSError): os.write(number, b'{marker}' * 1000)"
    before = f'{START}"""{marker}"""\n    for number in range(3, 20):\n        {write}\n    os.abort()\n'
    assert worker.run(task(NEIGHBOUR.replace("class", f"# {marker}\nclass")))[0] == "done"
    assert worker.run(task(before))[0] == "signal 6"
    assert _run(worker, "CONTROL = b'control-' b'of-this-scan'\n" + SCAN + NEIGHBOUR) == 100


def test_packages_below_tmp_are_found(
    tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python itself may lie there, in an environment that somebody tries out."""
    (tmp_path / "only_here.py").write_text("answer = 42\n")
    paths = [*sandbox._import_paths(), tmp_path]
    monkeypatch.setattr(sandbox, "_import_paths", lambda: paths)
    code = (
        "import only_here, os\nassert only_here.answer == 42\nassert len(os.listdir('/tmp')) < 2\n"
        + NEIGHBOUR
    )
    assert _run(worker, code) == 100


def _wrapper(folder: Path, first: str) -> None:
    """A `bwrap` that does something first."""
    script = folder / "bwrap"
    script.write_text(f'#!/bin/sh\n{first}\nexec {shutil.which("bwrap")} "$@"\n')
    script.chmod(0o755)


OLD = """\
for part in "$@"; do
    case "$part" in
        --size) echo "bwrap: Unknown option --size" >&2; exit 1;;
        --help) exit 0;;
        --) break;;
    esac
done"""


@pytest.mark.parametrize("nested", [True, False])
def test_an_old_bubblewrap_will_do_where_it_can_be_nested(
    nested: bool,
    tmp_path: Path,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    _wrapper(tmp_path, OLD)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    if nested:
        assert _run(worker, probe("finds_an_empty_folder_of_its_own")) == 100
        return
    request.getfixturevalue("never_nested")
    with pytest.raises(SandboxError, match="0.7"):
        worker.run(task(NEIGHBOUR))


def test_bubblewrap_is_the_one_in_the_path_of_who_calls(
    tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = tmp_path / "used"
    _wrapper(tmp_path, f": > {used}")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert worker.run(task(START + "os._exit(0)"))[0] == "done"
    assert used.exists()


# --- what is said to be the worker --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        '{"ended": "done", "seconds": 1e308, "size": 0}',
        '{"ended": "done", "seconds": NaN, "size": 0}',
        '{"ended": "done", "seconds": -1, "size": 0}',
        '{"ended": "done", "seconds": "1", "size": 0}',
        '{"ended": "signal x", "seconds": 1, "size": 0}',
        '{"ended": ["done"], "seconds": 1, "size": 0}',
        '{"ended": "done", "seconds": 1, "size": -1}',
        '{"ended": "done", "seconds": 1, "size": 1e9}',
        '{"ended": "done", "seconds": 1, "size": 5}',
        '{"ended": "done"}',
        "[]",
        "[" * 9000,
        "x" * 20_000,
        "\\xff",
    ],
)
def test_a_worker_that_says_something_else_is_lost(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = "import sys; print('{\"nested\": true}', flush=True); sys.stdin.read(8); "
    monkeypatch.setattr(sandbox, "BOOT", talk + f"print({line!r}, flush=True)")
    with Worker("bwrap", Limits(5, 2048)) as worker:
        ended, seconds, data = worker.run(task("pass"))
        assert (ended, data) == ("lost", b"") and seconds < 40


def test_a_worker_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "BOOT", "raise SystemExit('no torch here')")
    with Worker("bwrap", Limits()) as worker, pytest.raises(SandboxError, match="no torch here"):
        worker.run(task("pass"))


def test_a_closed_worker_starts_no_more() -> None:
    worker = Worker("bwrap", Limits())
    worker.close()
    with pytest.raises(SandboxError):
        worker.run(task("pass"))


# --- system calls -------------------------------------------------------------------------------------------


def decide(machine: str, number: int, argument: int = 0, arch: int | None = None) -> int:
    """What the filter decides; a small machine that runs its program."""
    known = {0: number, 4: seccomp.MACHINES[machine] if arch is None else arch, 16: argument}
    program, at, value = list(seccomp._program(machine)), 0, 0
    while True:
        code, yes, no, operand = program[at]
        at += 1
        if code == seccomp.RETURN:
            return operand
        if code == seccomp.LOAD:
            value = known[operand]
            continue
        tests = {seccomp.EQUAL: value == operand, seccomp.AT_LEAST: value >= operand}
        at += yes if {**tests, seccomp.ANY_BIT: bool(value & operand)}[code] else no


@pytest.mark.parametrize("machine", seccomp.MACHINES)
def test_the_filter_of_system_calls(machine: str) -> None:
    column = list(seccomp.MACHINES).index(machine)
    refused = seccomp.ERROR | errno.EPERM
    for numbers in seccomp.FORBIDDEN.values():
        if numbers[column] is not None:
            assert decide(machine, numbers[column]) == refused
    assert decide(machine, seccomp.CLONE3[column]) == seccomp.ERROR | errno.ENOSYS
    assert decide(machine, seccomp.CLONE[column], 0x3D0F00) == seccomp.ALLOW  # a thread
    for flags in (17, 0x4111, 0x10000000 | 17):  # a process, as `vfork`, in a namespace of its own
        assert decide(machine, seccomp.CLONE[column], flags) == refused
    assert decide(machine, seccomp.SOCKET[column], 1) == seccomp.ALLOW
    for family in (2, 10, 16, 17, 38, 40):
        assert decide(machine, seccomp.SOCKET[column], family) == seccomp.ERROR | errno.EAFNOSUPPORT
    assert decide(machine, 63) == decide(machine, 0) == seccomp.ALLOW
    assert decide(machine, 0, arch=0x40000003) == refused  # 32 bit
    assert decide("x86_64", 0x40000000) == refused


def test_no_filter_for_a_machine_that_is_not_known() -> None:
    with pytest.raises(OSError, match="riscv64"):
        list(seccomp._program("riscv64"))


# --- bytes that anybody may have written --------------------------------------------------------------------


class Small(nn.Module):
    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 11, 40)
        self.fc = nn.Linear(4 * 6 * 6, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(x).relu().flatten(1))


HONEST = b"".join(bytes(part) for part in evidence.to_bytes(observe(Small, CHALLENGE)))


def judged(data: bytes) -> Observation | None:
    """What the grader does with it: it may only say no, or give points."""
    try:
        seen = evidence.from_bytes(data)
    except ValueError:
        return None
    if seen.status == "seen":
        assert 0 <= sum(finding.points for finding in judge(seen, CHALLENGE)) < 100
        assert isinstance(remarks(seen), list)
    return seen


def test_what_is_written_can_be_read() -> None:
    seen, read = observe(Small, CHALLENGE), judged(HONEST)
    assert read is not None and read.outputs is not None and seen.outputs is not None
    assert torch.equal(read.outputs, seen.outputs) and read.shapes == seen.shapes
    assert [vars(step).keys() for step in read.steps] == [vars(step).keys() for step in seen.steps]
    assert judge(read, CHALLENGE) == judge(seen, CHALLENGE)


@given(st.binary(max_size=300))
@example(b"{}\n")
@example(b"null\n")
@example(b'{"tensors": []}\n')
def test_any_bytes(data: bytes) -> None:
    judged(data)
    judged(data + b"\n" + data)


edits = st.tuples(st.integers(0, 3000), st.integers(0, 8), st.binary(max_size=8))


@given(st.lists(edits, min_size=1, max_size=4), st.integers(-9, 9))
def test_bytes_that_were_changed(changes: list[tuple[int, int, bytes]], length: int) -> None:
    data = HONEST
    for start, count, new in changes:
        data = data[:start] + new + data[start + count :]
    judged(data[:length] if length < 0 else data + bytes(length))


sizes = st.sampled_from([0, 1, 2, 3, 4, 5, 11, 13, 27, 55, 64, 224, 4096, 2**16, 2**31 - 1])
shapes = st.lists(sizes, max_size=5)
odd: st.SearchStrategy[Any] = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), shapes),
    *(
        st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
        st.lists(st.text(max_size=2), max_size=2),
    ),
)


def usually(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.integers(0, 200).flatmap(lambda n: odd if n == 200 else strategy)


pairs = st.lists(st.sampled_from([1, 1, 1, 2, 4, 64, 65, 2**31 - 1]), min_size=2, max_size=2)
layers = st.fixed_dictionaries(
    {
        "weight": usually(
            st.sampled_from([[64, 3, 11, 11], [192, 64, 5, 5], [4096, 9216], [1, 1, 1, 1], [5, 1]])
        ),
        "bias": usually(st.booleans()),
        "input_shape": usually(shapes),
        "stride": usually(pairs),
        "padding": usually(st.sampled_from([[0, 0], [2, 2], [2, 3], [64, 64], [10**9, 0]])),
        "dilation": usually(pairs),
        "groups": usually(st.sampled_from([1, 1, 2, 64])),
        "output_shape": usually(shapes),
    }
)


@st.composite
def invented(draw: Callable) -> bytes:
    """Evidence whose fields are mostly of the right kind, with numbers that mostly fit."""
    steps = draw(st.lists(layers, max_size=10))
    header = draw(
        st.fixed_dictionaries(
            {
                "status": usually(st.just("seen")),
                "problem": usually(st.sampled_from(["", "no_return", "raised"])),
                "got": usually(st.just("x")),
                "failure": usually(st.none()),
                "shapes": usually(
                    st.dictionaries(st.sampled_from(["both", "again", "alone", "default"]), shapes)
                ),
                "no_default": usually(st.booleans()),
                "registered": usually(st.integers(0, 2**54)),
                "used": usually(st.just(0)),
                "unreached": usually(st.lists(st.text(max_size=5), max_size=2)),
            }
        )
    )
    known = header["shapes"] if isinstance(header["shapes"], dict) else {}
    wanted = [known.get(name) for name in ("both", "again", "alone")]
    for step in steps:
        wanted += [
            [1, *s[1:]] if isinstance(s, list) and s else None
            for s in (step["input_shape"], step["output_shape"])
        ]
    numbers = b""
    for i, shape in enumerate(wanted):
        count = (
            np.prod(shape, dtype=float)
            if isinstance(shape, list) and all(type(n) is int for n in shape)
            else 0
        )
        if not 0 < count <= 20_000 or draw(st.integers(0, 5)) == 5:
            wanted[i] = None
        else:
            numbers += np.full(
                int(count), draw(st.sampled_from([0, 1, -1, 3e38, np.nan, np.inf])), "<f4"
            ).tobytes()
    header |= {"steps": steps, "tensors": wanted}
    return json.dumps(header).encode() + b"\n" + numbers


@given(invented())
def test_evidence_that_was_invented(data: bytes) -> None:
    judged(data)


def test_a_check_that_fails_does_not_end_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert grader._judged(HONEST, CHALLENGE, Limits()).status == "graded"
    monkeypatch.setattr(grader, "judge", lambda seen, challenge: 1 // 0)
    assert grader._judged(HONEST, CHALLENGE, Limits()).status == "crashed"
