"""Batches of submissions for the tests of the grader: what is in `grading_submissions`, and the command.

The code of attacks is only ever text here; it runs where the command runs it, in the sandbox.
"""

import csv
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SECRET_NAME = "CNNLAB_TEST_SECRET"  # of a variable of the environment
# For the @WORDS@ in the code of attacks, where there is nothing to be found.
NOWHERE = dict.fromkeys(
    ("SECRET", "HOME", "FOLDER", "RESULTS", "MARKER", "ABSTRACT", "SOCKET"), "/nowhere/none"
)
NOWHERE |= {"PORT": "9", "NAME": SECRET_NAME}
HERE = Path(__file__).parent / "grading_submissions"
COMMAND = (sys.executable, "-m", "cnnlab.grading.cli", "grade")

PREPARED = """\
import contextlib, ctypes, errno, gc, glob, importlib, importlib.util, itertools, json, mmap, multiprocessing
import os, resource, signal, socket, struct, subprocess, sys, threading, time
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

LIBC = ctypes.CDLL(None, use_errno=True)

def refused(function, *arguments):
    try:
        result = function(*arguments)
    except OSError:
        return
    raise AssertionError(f"{function} {arguments} gave {result!r}")

def challenge():
    from cnnlab.exercises.observation import Challenge
    frame = sys._getframe()
    while "task" not in frame.f_locals:
        frame = frame.f_back
    return Challenge(frame.f_locals["task"]["seed"], frame.f_locals["task"]["num_classes"])

def layer(weight, given, made, **changed):
    return dict(weight=weight, bias=True, input_shape=given, stride=(1, 1), padding=(0, 0), dilation=(1, 1),
                groups=1, output_shape=made) | changed

ALEXNET = [
    layer((64, 3, 11, 11), (2, 3, 224, 224), (2, 64, 55, 55), stride=(4, 4), padding=(2, 2)),
    layer((192, 64, 5, 5), (2, 64, 27, 27), (2, 192, 27, 27), padding=(2, 2)),
    layer((384, 192, 3, 3), (2, 192, 13, 13), (2, 384, 13, 13), padding=(1, 1)),
    layer((256, 384, 3, 3), (2, 384, 13, 13), (2, 256, 13, 13), padding=(1, 1)),
    layer((256, 256, 3, 3), (2, 256, 13, 13), (2, 256, 13, 13), padding=(1, 1)),
    layer((4096, 9216), (2, 9216), (2, 4096)),
    layer((4096, 4096), (2, 4096), (2, 4096)),
    layer((11, 4096), (2, 4096), (2, 11)),
]

def evidence(steps=(), tensors=(None, None, None), **changed):
    header = dict(status="seen", problem="", got="", failure=None, steps=steps, shapes={}, no_default=False,
                  registered=0, used=0, unreached=[]) | changed
    header["tensors"] = [list(x.shape) if hasattr(x, "shape") else x for x in tensors]
    numbers = b"".join(np.asarray(x, "<f4").tobytes() for x in tensors if hasattr(x, "shape"))
    return json.dumps(header).encode() + b"\\n" + numbers

def send(data):
    for number in range(301):
        with contextlib.suppress(OSError):
            rest = data
            while rest:
                rest = rest[os.write(number, rest):]
    os._exit(0)

def attack(*arguments):
@attack@

"""
RIGHT = """\
class MyAlexNet(nn.Module):
    definition = @definition@

    def __init__(self, num_classes=1000):
        super().__init__()
        @init@
        self.net = nn.Sequential(
            nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(), nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(),
            nn.Linear(9216, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, num_classes))

    def forward(self, x):
        @forward@
        return self.net(x)
"""
NOTHING = """\
class MyAlexNet(nn.Module):
    definition = @definition@

    def __init__(self, num_classes=1000):
        super().__init__()
        @init@
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def forward(self, x):
        @forward@
        return self.bias.expand(len(x), -1)
"""
# One layer only: graded at once, and with numbers to compute again.
SMALL = """\
from torch import nn

class MyAlexNet(nn.Sequential):
    def __init__(self, num_classes=1000):
        super().__init__(nn.Conv2d(3, 1, 11, 40), nn.Flatten(), nn.Linear(36, num_classes))
"""
TAKEN = "MyAlexNet = attack()\n"
NEIGHBOUR = "from torch import nn\n\n" + re.sub("@.*@", "None", RIGHT)


@dataclass(frozen=True)
class Case:
    """A submission and what is wanted of it."""

    name: str
    content: str
    ending: str
    statuses: tuple[str, ...]
    lowest: float
    highest: float
    says: str = ""


def cases(group: str) -> list[Case]:
    """The submissions of a file of `grading_submissions`."""
    found = tomllib.loads((HERE / f"{group}.toml").read_text("utf-8"))
    return [_case(group, name, entry) for name, entry in found.items()]


def _case(group: str, name: str, entry: dict) -> Case:
    if "cells" in entry:
        content, ending = notebook(entry["cells"], entry.get("nbformat", 4)), ".ipynb"
    else:
        content, ending = _program(group, entry), ".py"
    statuses = entry.get("status", "timeout" if group == "hangs" else "graded")
    points = entry.get("points", 100 if group in ("right", "probes") else 0)
    lowest, highest = points if isinstance(points, list) else (points, points)
    statuses = tuple(statuses) if isinstance(statuses, list) else (statuses,)
    return Case(name, content, ending, statuses, lowest, highest, entry.get("says", ""))


def _program(group: str, entry: dict) -> str:
    if "code" in entry:
        return entry["code"]
    if "old" in entry:
        right = tomllib.loads((HERE / "right.toml").read_text("utf-8"))["modules"]["code"]
        assert right.count(entry["old"]), entry["old"]
        return right.replace(entry["old"], entry["new"])
    body = textwrap.indent(entry["attack"].strip("\n"), "    ")
    network = NOTHING if group == "forged" else RIGHT
    network = TAKEN if re.search(r"^return ", entry["attack"], re.M) else network
    places = dict.fromkeys(("definition", "init", "forward"), "None")
    arguments = {"definition": "", "init": "self", "forward": "self, x"}
    place = entry.get("in", "definition")
    places[place] = f"attack({arguments[place]})"
    for key, call in places.items():
        network = network.replace(f"@{key}@", call)
    return PREPARED.replace("@attack@", body) + network


def notebook(cells: Iterable[str], nbformat: int = 4) -> str:
    """A notebook of code cells, after a cell of text."""
    if nbformat == 3:
        sources = [{"cell_type": "code", "input": source, "language": "python"} for source in cells]
        return json.dumps({"nbformat": 3, "metadata": {}, "worksheets": [{"cells": sources}]})
    made: list[dict] = [
        {"cell_type": "markdown", "metadata": {}, "source": ["# AlexNet\n", "class MyAlexNet"]}
    ]
    for source in cells:
        lines = source.strip("\n").splitlines(keepends=True)
        made.append(
            {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": lines}
        )
    return json.dumps({"nbformat": 4, "nbformat_minor": 0, "metadata": {"colab": {}}, "cells": made})


def write(
    folder: Path,
    wanted: Iterable[Case],
    words: Mapping[str, object] = NOWHERE,
    every: int = 0,
    neighbour: str = NEIGHBOUR,
) -> Path:
    """Put submissions into a folder, with a neighbour after every so many; `words` replace @WORDS@."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(wanted):
        (folder / f"{number:03} {case.name}{case.ending}").write_text(filled(case.content, words), "utf-8")
        if every and number % every == 0:
            (folder / f"{number:03} neighbour {number}.py").write_text(neighbour, "utf-8")
    return folder


def filled(content: str, words: Mapping[str, object]) -> str:
    """The code of an attack with these words for its @WORDS@."""
    for word, value in words.items():
        content = content.replace(f"@{word}@", str(value))
    return content


@dataclass(frozen=True)
class Batch:
    """What the command has left."""

    code: int
    said: str
    out: Path

    def rows(self) -> dict[str, dict[str, str]]:
        """The rows of ``grades.csv`` by the name of the submission, without its number and ending."""
        text = (self.out / "grades.csv").read_text("utf-8-sig")
        rows = list(csv.DictReader(text.splitlines()))
        return {re.sub(r"^\d+ |\.\w+$", "", row["submission"]): row for row in rows}

    def results(self) -> dict[str, dict]:
        """The files in ``results``, named likewise."""
        found = [json.loads(path.read_text("utf-8")) for path in (self.out / "results").glob("*.json")]
        return {re.sub(r"^\d+ |\.\w+$", "", result["submission"]): result for result in found}

    def page(self, name: str) -> str:
        """The page for the student."""
        return (self.out / "feedback" / f"{self.results()[name]['id']}.html").read_text("utf-8")


def grade(
    *paths: Path, out: Path, options: Iterable[str] = (), env: Mapping[str, str] | None = None
) -> Batch:
    """Run the command, and wait for it."""
    done = subprocess.run(
        [*COMMAND, *map(str, paths), "--out", str(out), "--lang", "en", "--jobs", "2", *options],
        capture_output=True,
        text=True,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
    )
    return Batch(done.returncode, done.stdout + done.stderr, out)
