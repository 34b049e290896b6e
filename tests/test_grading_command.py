"""`cnnlab grade` as a command: it goes on where it stopped, repeats what it did, refuses, and stays small."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from grading_batches import COMMAND, NEIGHBOUR, SMALL, Batch, notebook

from cnnlab.grading import cli
from cnnlab.grading.grader import Settings

pytestmark = pytest.mark.alone

SLEEPS = "import time\nfrom torch import nn\n\nclass MyAlexNet(nn.Module):\n    time.sleep(10**6)\n"
RANDOM = (
    SMALL.replace("class MyAlexNet(", "class Base(")
    + """
class MyAlexNet(Base):
    def forward(self, x):
        return super().forward(x) * x.new_empty(1).uniform_()
"""
)


@pytest.fixture(scope="module", autouse=True)
def bubblewrap() -> None:
    assert shutil.which("bwrap"), "these tests need bubblewrap: apt install bubblewrap"


@pytest.fixture
def command(capsys: pytest.CaptureFixture, english: None) -> Callable[..., Batch]:
    """The command in this process, which has imported torch already; code of students runs in workers."""

    def run(*arguments: object) -> Batch:
        out = arguments[arguments.index("--out") + 1]
        code = cli.main(["grade", *map(str, arguments), "--lang", "en", "--jobs", "1"])
        return Batch(code, "".join(capsys.readouterr()), Path(str(out)))

    return run


def handed_in(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.py").write_text(content, "utf-8")
    return folder


# --- again, and on ---------------------------------------------------------------------------------------


def test_it_goes_on_where_it_was_interrupted(tmp_path: Path, command: Callable[..., Batch]) -> None:
    quick, slow = dict.fromkeys("abc", SMALL), dict.fromkeys("defg", SLEEPS)
    folder, out = handed_in(tmp_path / "in", **quick, **slow), tmp_path / "out"
    process = subprocess.Popen(
        [*COMMAND, str(folder), "--out", str(out), "--lang", "en", "--jobs", "2", "--time-limit", "300"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while process.poll() is None and len(list((out / "results").glob("*.json"))) < len(quick):
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal
    said, _ = process.communicate()
    assert process.returncode == 130, said
    assert "What is done is kept" in said
    interrupted = Batch(130, said, out)
    assert set(interrupted.rows()) == set(quick)
    assert {row["status"] for row in interrupted.rows().values()} == {"graded"}

    handed_in(folder, **dict.fromkeys(slow, SMALL))
    first = _times(out)
    done = command(folder, "--out", out)
    assert done.code == 0 and "3 submissions have not changed" in done.said
    assert set(done.rows()) == {*quick, *slow}
    assert {name: _times(out)[name] for name in first} == first

    everything = _times(out)
    done = command(folder, "--out", out)  # nothing is left to do
    assert done.code == 0 and "7 submissions have not changed" in done.said
    assert _times(out) == everything

    handed_in(folder, b=NEIGHBOUR)
    done = command(folder, "--out", out)
    assert done.code == 0 and "6 submissions have not changed" in done.said
    assert [name for name, when in _times(out).items() if when != everything[name]] == ["b"]
    assert done.rows()["b"]["score"] == "100" != done.rows()["a"]["score"]


def _times(out: Path) -> dict[str, int]:
    """When each result was written, by the name of the submission."""
    paths = (out / "results").glob("*.json")
    return {json.loads(p.read_text("utf-8"))["submission"][:-3]: p.stat().st_mtime_ns for p in paths}


def test_a_seed_repeats_a_run(tmp_path: Path, command: Callable[..., Batch]) -> None:
    folder = handed_in(tmp_path / "in", right=NEIGHBOUR, small=SMALL, random=RANDOM)
    first = command(folder, "--out", tmp_path / "first").results()
    seeds = {result["seed"] for result in first.values()}
    assert len(seeds) == 1
    second = command(folder, "--out", tmp_path / "second", "--seed", seeds.pop()).results()
    for name, result in first.items():
        assert {**result, "seconds": 0} == {**second[name], "seconds": 0}
    assert first["right"]["score"] == 100 and first["random"]["score"] < first["small"]["score"]


def test_each_run_has_a_seed_of_its_own() -> None:
    assert len({Settings("none").seed for _ in range(50)}) > 40


# --- what it refuses -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ["IN/nothing-here", "--out", "OUT"],
        ["IN/notes.txt", "--out", "OUT"],
        ["IN/empty", "--out", "OUT"],
        ["IN", "--out", "OUT", "--lang", "xx"],
        ["IN", "--out", "OUT", "--jobs", "0"],
        ["IN", "--out", "OUT", "--time-limit", "-1"],
        ["IN", "--out", "OUT", "--memory-limit", "inf"],
        ["IN", "--out", "OUT", "--sandbox", "docker"],
        ["IN"],
        ["--out", "OUT"],
    ],
    ids=" ".join,
)
def test_wrong_usage(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = handed_in(tmp_path / "in", a=SMALL)
    (folder / "empty").mkdir()
    (folder / "notes.txt").touch()
    filled = [part.replace("IN", str(folder)).replace("OUT", str(tmp_path / "out")) for part in arguments]
    assert _status(["grade", *filled]) == 2
    assert capsys.readouterr().err.strip()
    assert not (tmp_path / "out").exists()


def _status(arguments: list[str]) -> object:
    try:
        return cli.main(arguments)
    except SystemExit as stopped:  # how `argparse` ends
        return stopped.code


FAILS = "#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n"


@pytest.mark.parametrize("sandbox", ["auto", "bwrap"])
@pytest.mark.parametrize(
    ("there", "says"), [("", "bwrap was not found"), (FAILS, "No permissions to create")]
)
def test_without_a_sandbox_nothing_is_run(
    sandbox: str,
    there: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    english: None,
) -> None:
    (tmp_path / "bin").mkdir()
    if there:
        (tmp_path / "bin/bwrap").write_text(there)
        (tmp_path / "bin/bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    folder = handed_in(tmp_path / "in", a=f"open({str(tmp_path / 'ran')!r}, 'w')\nclass MyAlexNet: ...\n")
    options = ["--out", str(tmp_path / "out"), "--lang", "en", "--sandbox", sandbox]
    assert cli.main(["grade", str(folder), *options]) == 3
    said = capsys.readouterr().err
    assert says in said and "apt install bubblewrap" in said and "--sandbox none" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "in"]


def test_code_that_is_trusted_needs_no_sandbox(
    tmp_path: Path, command: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = handed_in(tmp_path / "in", right=NEIGHBOUR, small=SMALL)
    (folder / "book.ipynb").write_text(notebook(["%matplotlib inline", NEIGHBOUR]))
    monkeypatch.setenv("PATH", str(tmp_path))
    done = command(folder, "--out", tmp_path / "out", "--sandbox", "none")
    assert done.code == 0, done.said
    scores = {name: float(row["score"]) for name, row in done.rows().items()}
    assert scores["right"] == scores["book"] == 100 and 0 < scores["small"] < 50


# --- many, and odd ones ----------------------------------------------------------------------------------


def test_memory_stays_flat(tmp_path: Path) -> None:
    few, many = 10, 60
    folder = handed_in(tmp_path / "in", **{f"s{i:03}": SMALL for i in range(many)})
    process = subprocess.Popen(
        [*COMMAND, str(folder), "--out", str(tmp_path / "out"), "--jobs", "2"],
        stdout=subprocess.DEVNULL,
    )
    peaks: dict[int, int] = {}
    while process.poll() is None:
        done = len(list((tmp_path / "out/results").glob("*.json")))
        peaks[done] = _peak(process.pid) or peaks.get(done, 0)
        time.sleep(0.05)
    assert process.returncode == 0
    early = max(peak for done, peak in peaks.items() if done <= few)
    late = max(peaks.values())
    assert len(list((tmp_path / "out/results").glob("*.json"))) == many
    assert 0 < late - early + 1 < 40 * 1024, peaks  # KiB


def _peak(pid: int) -> int:
    """The most memory that a process has had, in KiB; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


NAMES = [
    *(
        "-rf.py",
        "--out.py",
        "=1+1.py",
        "@SUM(A1).py",
        "%s{0}.py",
        "$(id).py",
        "*.py",
        "\\..\\up.py",
        "NUL.py",
    ),
    *(
        "a b  c.py",
        "'quoted' \"twice\".py",
        "<b>bold</b>.py",
        "two\nlines.py",
        "\x1b[31mred.py",
        "\u202egnp.py",
    ),
    *("課題 山田太郎.py", "과제_홍길동.py", "e\u0301.py", "あ" * 84 + ".py", "x" * 250 + ".py"),
    *("name (1).py", "name (1) (1).py"),
]
BROKEN: dict[str, bytes | Callable[[Path], object]] = {
    "empty.ipynb": b"",
    "cut short.ipynb": notebook([SMALL]).encode()[:-40],
    "deep.ipynb": b'{"cells":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    "deep cell.ipynb": b'{"cells": [{"cell_type": "code", "source": ' + b"[" * 900 + b"]" * 900 + b"}]}",
    "many digits.ipynb": b'{"nbformat": ' + b"9" * 200_000 + b', "cells": []}',
    "a list.ipynb": b"[1, 2, 3]",
    "no cells.ipynb": b'{"nbformat": 4}',
    "cells of another kind.ipynb": b'{"cells": {"a": 1}}',
    "page.ipynb": b"<!DOCTYPE html><html><script>alert(1)</script></html>",
    "zeros.ipynb": bytes(1000),
    "random.ipynb": hashlib.shake_256(b"random").digest(5000),
    "giant.ipynb": b'{"cells": [{"cell_type": "code", "source": "' + b"#" * 51 * 2**20 + b'"}]}',
    "pipe.ipynb": os.mkfifo,
    "folder.ipynb": os.mkdir,
    "link.py": lambda path: path.symlink_to("/etc/passwd"),
    "long.py": b"x = 1\n" * 100_000 + SMALL.encode(),
    "broken.zip": b"PK\3\4 and no more",
}
ENTANGLED = {
    "brackets": "(" * 5000 + ")" * 5000,
    "calls": "f" + "()" * 30_000,
    "minus": "x = " + "-" * 50_000 + "1",
    "not": "x = " + "not " * 20_000 + "1",
    "lambda": "x = " + "lambda: " * 9_000 + "1",
    "comprehensions": "x = " + "[" * 150 + "1" + " for y in z]" * 150,
    "powers": "x = " + "**".join("9" * 9000),
    "text in text": 'x = f"{' * 150 + "1" + '}"' * 150,
    "elif": "if 1: pass\n" + "elif 1: pass\n" * 6_000,
    "loops": "\n".join(" " * i + "for i in j:" for i in range(99)) + "\n" + " " * 99 + "pass",
}


def test_odd_names_and_files_that_are_none(tmp_path: Path, command: Callable[..., Batch]) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    for name in NAMES:
        for below in ("one", "two"):  # of one name, yet two
            path = folder / below / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x = 1\n")
    (folder / "not utf-8").mkdir()
    Path(os.fsdecode(os.fsencode(folder / "not utf-8") + b"/\xff\xfe.py")).write_text("x = 1\n")
    (folder / "broken").mkdir()
    for name, made in BROKEN.items():
        path = folder / "broken" / name
        path.write_bytes(made) if isinstance(made, bytes) else made(path)
    for name, code in ENTANGLED.items():
        (folder / "broken" / f"{name}.py").write_text(f"{SMALL}    value = 1\n{code}\n")
        inside = "\n".join("        " + line for line in code.splitlines())
        (folder / "broken" / f"{name} inside.py").write_text(f"{SMALL}        self\n{inside}\n")
    (folder / "right.py").write_text(NEIGHBOUR)
    done = command(folder, "--out", out, "--format", "gradescope", "nbgrader")
    assert done.code == 0, done.said
    rows = done.rows()
    statuses = {name: row["status"] for name, row in rows.items()}
    wanted = 2 * len(NAMES) + 1 + len(BROKEN) + 2 * len(ENTANGLED) + 1
    results = list((out / "results").glob("*.json"))
    assert len(results) == len(list((out / "feedback").glob("*.html"))) - 1 == wanted
    assert all(
        set(path.stem) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
        for path in results
    )
    assert rows["right"]["score"] == "100"
    for name in BROKEN:
        assert statuses["broken/" + name.rpartition(".")[0]] in ("invalid", "missing"), name
    for name in ENTANGLED:
        assert statuses[f"broken/{name}"] in ("graded", "error", "missing"), name
        assert statuses[f"broken/{name} inside"] in ("error", "missing", "crashed", "memory"), name
    assert {status for name, status in statuses.items() if name.startswith(("one", "two"))} == {"missing"}
