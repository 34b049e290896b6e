"""Grading on a real Dask cluster: a scheduler and two workers, all processes of their own, one killed."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.alone

ANSWER = """
from torch import nn

class MyAlexNet(nn.Sequential):
    def __init__(self, num_classes=1000):
        super().__init__(
            nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, 1, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2),
            nn.Flatten(), nn.Linear(9216, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(),
            nn.Linear(4096, num_classes),
        )
"""
SOURCES = {
    "right": ANSWER,
    "padding": ANSWER.replace("64, 11, 4, 2", "64, 11, 4, 3"),
    "sigmoid": ANSWER.replace("384, 3, 1, 1), nn.ReLU()", "384, 3, 1, 1), nn.Sigmoid()"),
    "average": ANSWER.replace("MaxPool2d(3, 2),\n            nn.Flatten", "AvgPool2d(3, 2), nn.Flatten"),
    "unanswered": "from torch import nn\nclass MyAlexNet(nn.Module):\n    def forward(self, x): ...\n",
    "missing": "print('hello')\n",
    "error": "class MyAlexNet:\n    def __init__(self, num_classes=1000):\n        1 / 0\n",
    "broken": "class MyAlexNet(:\n",
}  # fmt: skip


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "batch"
    folder.mkdir()
    for number in range(2):
        for name, source in SOURCES.items():
            (folder / f"{name} {number}.py").write_text(source, "utf-8")
    return folder


def start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "dask", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "60s"},
    )


def wait_for(condition, what: str) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[subprocess.Popen]]]:
    """The address of a scheduler, and its two workers."""
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    own = ("--scheduler-file", str(file))
    options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--local-directory", str(folder))
    processes = [start("scheduler", *own, "--host", "127.0.0.1", "--port", "0", "--no-dashboard")]
    try:
        wait_for(file.exists, "the scheduler")
        workers = [start("worker", *own, *options, "--name", f"w{number}") for number in range(2)]
        processes += workers
        yield json.loads(file.read_text())["address"], workers
    finally:
        for process in processes:
            process.kill()
            process.wait()


def grade(batch: Path, out: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "cnnlab.grading.cli", "grade", str(batch), "--out", str(out)]
    return subprocess.Popen(
        [*command, "--seed", "11", "--lang", "en", *more], stderr=subprocess.PIPE, text=True
    )


def rows(out: Path) -> list[dict[str, str]]:
    """The table, without the times."""
    with (out / "grades.csv").open(encoding="utf-8-sig", newline="") as file:
        return [
            {name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)
        ]


def test_a_cluster_gives_the_same_grades_though_a_worker_dies(
    batch: Path, cluster: tuple[str, list[subprocess.Popen]], tmp_path: Path
) -> None:
    address, workers = cluster
    here, there = tmp_path / "here", tmp_path / "there"
    running = grade(batch, there, "--dask", address)
    wait_for(lambda: list(there.glob("results/*.json")) or running.poll() is not None, "the first result")
    midway = running.poll() is None
    workers[0].send_signal(signal.SIGKILL)
    assert workers[0].wait(60) == -signal.SIGKILL
    said = running.communicate(timeout=300)[1]
    assert midway and running.returncode == 0, said
    assert workers[1].poll() is None
    local = grade(batch, here)
    said = local.communicate(timeout=300)[1]
    assert local.returncode == 0, said
    assert rows(there) == rows(here)
    scores = {row["submission"]: (row["status"], row["score"]) for row in rows(here)}
    assert len(scores) == 2 * len(SOURCES)
    for number in range(2):
        assert scores[f"right {number}.py"] == ("graded", "100")
        assert scores[f"padding {number}.py"] == ("graded", "83")
        assert scores[f"broken {number}.py"] == ("error", "0")


def test_no_cluster_is_told(batch: Path, tmp_path: Path) -> None:
    running = grade(batch, tmp_path, "--dask", "tcp://127.0.0.1:1")
    said = running.communicate(timeout=200)[1]
    assert running.returncode == 3
    assert "no Dask scheduler at tcp://127.0.0.1:1" in said
    assert not list(tmp_path.rglob("*.json"))
