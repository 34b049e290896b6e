"""The grader against what students hand in: right answers, mistakes, and attacks, through the real command.

The submissions and what is wanted of them stand in `grading_submissions/*.toml`. Attacks are only ever run
by the command, in the sandbox: never import, execute or "try" one of them elsewhere.
"""

import hashlib
import html.parser
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import randbelow, token_hex
from typing import Any

import pytest
import torch
from grading_batches import NOWHERE, SECRET_NAME, SMALL, Batch, Case, cases, grade, write

import cnnlab

pytestmark = pytest.mark.alone

HONEST, HANGS, HOSTILE = ("right", "mistakes"), ("hangs",), ("attacks", "probes", "forged")
# What a terminal obeys, or what turns the direction of writing.
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def named(groups: tuple[str, ...]) -> list:
    return [pytest.param(case, id=f"{group}-{case.name}") for group in groups for case in cases(group)]


@pytest.fixture(scope="module", autouse=True)
def bubblewrap() -> None:
    assert shutil.which("bwrap"), "these tests need bubblewrap: apt install bubblewrap"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    folder = tmp_path_factory.mktemp("honest")
    write(folder / "in", [case for group in HONEST for case in cases(group)])
    return grade(folder / "in", out=folder / "out", options=["--memory-limit", "2048"])


@pytest.fixture(scope="module")
def hangs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Batch, str]:
    folder, limit = tmp_path_factory.mktemp("hangs"), _limit(3)
    write(folder / "in", cases("hangs"), every=2, neighbour=SMALL)
    return grade(folder / "in", out=folder / "out", options=["--time-limit", limit]), limit


def _limit(seconds: int) -> str:
    """A time limit by which the processes of one batch can be told from others."""
    return f"{seconds}.{1 + randbelow(10**7):07}1"


@dataclass
class Siege:
    """The batch of attacks, and what they could have reached."""

    batch: Batch
    folder: Path
    limit: str  # of time; it marks the processes of this batch
    marker: str  # name of files that they try to write
    before: dict[str, str]  # what lay in folders around it
    submissions: dict[str, str]  # digests of what was handed in
    connections: int


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Siege]:
    folder = tmp_path_factory.mktemp("hostile")
    home, secret, marker = folder / "home", f"secret-{token_hex(8)}", f"marker-{token_hex(8)}"
    abstract, limit = f"cnnlab-{token_hex(8)}", _limit(60)
    home.mkdir()
    for path in (folder / "secret.txt", home / "secret.txt"):
        path.write_text(secret)
    addresses = [(socket.AF_UNIX, "\0" + abstract), (socket.AF_UNIX, str(folder / "socket"))]
    with ExitStack() as stack:
        tcp, *others = (
            stack.enter_context(_listening(family, address))
            for family, address in [(socket.AF_INET, ("127.0.0.1", 0)), *addresses]
        )
        words = {
            **NOWHERE,
            "PORT": tcp.getsockname()[1],
            "ABSTRACT": abstract,
            "SOCKET": folder / "socket",
            "MARKER": marker,
            "SECRET": folder / "secret.txt",
            "HOME": home,
            "FOLDER": folder / "in",
            "RESULTS": folder / "out",
        }
        write(folder / "in", [case for group in HOSTILE for case in cases(group)], words, every=9)
        before, handed_in = _listings(home), _digests(folder / "in")
        options = ["--memory-limit", "2048", "--time-limit", limit, "--format", "gradescope", "nbgrader"]
        batch = grade(
            folder / "in", out=folder / "out", options=options, env={SECRET_NAME: secret, "HOME": str(home)}
        )
        connections = sum(map(_reached, [tcp, *others]))
        yield Siege(batch, folder, limit, marker, before, handed_in, connections)


def _listening(family: int, address: Any) -> socket.socket:
    listening = socket.socket(family)
    listening.bind(address)
    listening.listen()
    listening.setblocking(False)
    return listening


def _reached(listening: socket.socket) -> bool:
    try:
        listening.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def _listings(home: Path) -> dict[str, str]:
    """What lies in folders that attacks would like to write to, and that nobody else changes meanwhile."""
    return {str(folder): " ".join(sorted(os.listdir(folder))) for folder in (home, Path("/etc"))}


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def as_wanted(case: Case, batch: Batch) -> None:
    """Assert that a submission has its row, with the status, the points and the words that are wanted."""
    row, result = batch.rows()[case.name], batch.results()[case.name]
    assert row["status"] in case.statuses, row
    assert case.lowest <= float(row["score"]) <= case.highest, row
    assert (result["status"], result["score"]) == (row["status"], float(row["score"]))
    hints = [hint for mark in result["marks"] for hint in mark["hints"]]
    keys = {said["key"].rpartition(".")[2] for said in (*hints, result["message"]) if said}
    assert case.says in keys or case.says in row["message"], (keys, row["message"])
    _harmless(batch.page(case.name))


class _Tags(html.parser.HTMLParser):
    """Collects the tags of a page, and attributes that would run something."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.active: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.add(tag)
        self.active |= {name for name, value in attrs if name.startswith("on") or "javascript:" in str(value)}


def _harmless(page: str) -> None:
    found = _Tags()
    found.feed(page)
    assert not found.tags & {"script", "img", "iframe", "object", "embed", "link", "base", "form"}
    assert not found.active
    assert not CONTROLS.search(page)


def test_there_are_enough_of_them() -> None:
    counts = {group: len(cases(group)) for group in (*HONEST, *HANGS, *HOSTILE)}
    assert counts["right"] >= 20 and counts["mistakes"] >= 30 and sum(counts.values()) >= 160, counts
    names = [case.name for group in counts for case in cases(group)]
    assert len(set(names)) == len(names)
    assert all(case.highest < 100 for case in cases("forged"))  # nothing scores full without the work


@pytest.mark.parametrize("case", named(HONEST))
def test_honest(case: Case, honest: Batch) -> None:
    as_wanted(case, honest)


def test_every_honest_submission_has_its_row(honest: Batch) -> None:
    assert honest.code == 0, honest.said
    assert len(honest.rows()) == sum(len(cases(group)) for group in HONEST)


@pytest.mark.parametrize("case", named(HANGS))
def test_hangs(case: Case, hangs: tuple[Batch, str]) -> None:
    as_wanted(case, hangs[0])


def test_a_batch_that_hangs_ends_and_keeps_its_neighbours(hangs: tuple[Batch, str]) -> None:
    batch, limit = hangs
    assert batch.code == 0, batch.said
    rows = batch.rows()
    neighbours = [row for name, row in rows.items() if name.startswith("neighbour")]
    assert len(rows) - len(neighbours) == len(cases("hangs"))
    assert len(neighbours) >= 4
    assert len({(row["status"], row["score"]) for row in neighbours}) == 1
    assert neighbours[0]["status"] == "graded" and 0 < float(neighbours[0]["score"]) < 50
    assert _processes(limit) == []


@pytest.mark.parametrize("case", named(HOSTILE))
def test_hostile(case: Case, hostile: Siege) -> None:
    as_wanted(case, hostile.batch)


def test_the_batch_ends_and_every_submission_has_its_row(hostile: Siege) -> None:
    assert hostile.batch.code == 0, hostile.batch.said
    assert len(hostile.batch.rows()) == len(hostile.submissions)


def test_neighbours_keep_their_points(hostile: Siege) -> None:
    neighbours = {name: row for name, row in hostile.batch.rows().items() if name.startswith("neighbour")}
    assert len(neighbours) >= 12
    assert {(row["status"], row["score"]) for row in neighbours.values()} == {("graded", "100")}, neighbours


def test_no_connection_arrives(hostile: Siege) -> None:
    assert hostile.connections == 0


def test_no_process_stays(hostile: Siege) -> None:
    assert _processes(hostile.limit) == []


def _processes(limit: str) -> list[str]:
    """The processes of workers with this time limit that go on; the system may take a moment to end them."""
    for _ in range(600):
        found = [command for command in _commands() if limit in command]
        if not found:
            break
        time.sleep(0.1)
    return found


def _commands() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")


def test_nothing_is_written_outside(hostile: Siege) -> None:
    assert _listings(hostile.folder / "home") == hostile.before
    assert _digests(hostile.folder / "in") == hostile.submissions
    places = [*map(Path, ("/", "/etc", "/tmp", "/dev", "/dev/shm")), hostile.folder, hostile.folder / "home"]
    places += [Path(module.__file__).parent for module in (cnnlab, torch, os)]
    assert [place for place in places if (place / hostile.marker).exists()] == []
    assert sorted(path.name for path in hostile.batch.out.iterdir()) == [
        *("feedback", "grades.csv", "gradescope", "nbgrader.csv", "results"),
    ]


def test_no_secret_comes_out(hostile: Siege) -> None:
    secret = (hostile.folder / "secret.txt").read_bytes()
    files = [path for path in hostile.batch.out.rglob("*") if path.is_file()]
    assert len(files) > 2 * len(hostile.submissions)
    assert [path for path in files if secret in path.read_bytes()] == []
    assert secret.decode() not in hostile.batch.said


def test_words_of_students_are_harmless_wherever_they_stand(hostile: Siege) -> None:
    out = hostile.batch.out
    assert not CONTROLS.search(hostile.batch.said)
    for path in out.rglob("*"):
        if path.is_file():
            assert not CONTROLS.search(path.read_bytes().decode("utf-8")), path
    _harmless((out / "feedback" / "index.html").read_text("utf-8"))
    for row in hostile.batch.rows().values():
        assert not [cell for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
