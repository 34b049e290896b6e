"""What is known of a graded submission, and the files for those who collect grades.

A `Result` is written as JSON, one file per submission; read back, it is checked as strictly as if a stranger
had written it. All results together become ``grades.csv``, and on request Gradescope's ``results.json`` and
a table for nbgrader. Words in these files are in the language in use (`cnnlab.i18n.speaking`); make them in
the main thread, since that language is one for the whole process.

Names of files, and much of what messages quote, come from students. `printable` makes such text safe to show
anywhere, and `cell` safe in a spreadsheet.
"""

import csv
import io
import json
import os
import re
import reprlib
import sys
import threading
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from cnnlab.i18n import catalogue, language, text

STATUSES = ("graded", "unanswered", "missing", "error", "timeout", "memory", "crashed", "invalid")
VERSION = 1  # of the JSON of a result
VISIBILITIES = ("visible", "hidden", "after_due_date", "after_published")  # of Gradescope
_LONGEST = 300  # characters that a message quotes of one value
_SLACK = 1e-9  # a sum of fractions may come out a little above the points that there are


@dataclass(frozen=True)
class Message:
    """A sentence that has not chosen its language yet.

    Attributes
    ----------
    key : str
        Key in the catalogue, such as ``"grading.messages.time_limit"``.
    values : dict
        What goes into its placeholders.

    Raises
    ------
    ValueError
        If a value is neither text nor a finite number.
    """

    key: str
    values: dict[str, str | int | float]

    def __post_init__(self) -> None:
        _text("the key of a message", self.key)
        if not isinstance(self.values, dict):
            raise ValueError(f"the values of a message should be a dict, not {reprlib.repr(self.values)}")
        for name, value in self.values.items():
            if not (isinstance(name, str) and name.isidentifier() and name != "key"):
                raise ValueError(f"a value's name should be that of a placeholder, not {reprlib.repr(name)}")
            if not isinstance(value, str):
                _number(f"the value {name!r} of a message", value, -sys.float_info.max, sys.float_info.max)

    def text(self) -> str:
        """The sentence in the language in use, its values made harmless to show.

        Raises
        ------
        KeyError
            If the catalogue has no such message, or a placeholder has no value.
        """
        shown = {
            name: printable(value, _LONGEST).replace("`", "'") if isinstance(value, str) else value
            for name, value in self.values.items()
        }
        return text(self.key, **shown)


@dataclass(frozen=True)
class Mark:
    """One criterion of a submission: the points reached, and hints where they are not all.

    Attributes
    ----------
    criterion : str
        Key of the criterion, such as ``"conv1"``.
    points : float
        Points reached, from 0 to `max_points`.
    max_points : int
    hints : tuple of Message

    Raises
    ------
    ValueError
        If one of these has another type or does not lie in its range.
    """

    criterion: str
    points: float
    max_points: int
    hints: tuple[Message, ...] = ()

    def __post_init__(self) -> None:
        _text("a criterion", self.criterion, r"[a-z]\w*")
        _whole("max_points", self.max_points, 0, 10_000)
        _number(f"the points of {self.criterion!r}", self.points, 0, self.max_points)
        _tuple("hints", self.hints, Message)

    @property
    def reached(self) -> str:
        """Whether all of the points were reached, some or none: ``"full"``, ``"partial"``, ``"none"``."""
        return "full" if self.points >= self.max_points else "partial" if self.points > 0 else "none"

    def text(self) -> str:
        """What the criterion asks for, in the language in use."""
        return text(f"exercises.alexnet.my_alexnet.{self.criterion}")


@dataclass(frozen=True)
class Result:
    """All that is known of one submission after grading.

    Attributes
    ----------
    id : str
        For names of files: up to 100 ASCII letters, digits, ``.``, ``_`` and ``-``.
    submission : str
        The file's name for people.
    digest : str
        SHA-256 of the file's content, in hexadecimal.
    status : str
        One of `STATUSES`.
    score, max_score, seconds : float, int, float
        The score is from 0 to `max_score`, and only ``"graded"`` has one above 0.
    message : Message or None
        The reason, where the status is not ``"graded"`` or there are no points in spite of it.
    marks : tuple of Mark
        Every criterion, in order; may be empty where the status is not ``"graded"``.
    seed : int
        With it the grader's challenges can be drawn again.
    exercise : str
    version : int
        Of this format.

    Raises
    ------
    ValueError
        If one of these has another type or does not lie in its range; the text says which.
    """

    id: str
    submission: str
    digest: str
    status: str
    score: float
    max_score: int
    seconds: float
    message: Message | None
    marks: tuple[Mark, ...]
    seed: int
    exercise: str = "alexnet"
    version: int = VERSION

    def __post_init__(self) -> None:
        _text("id", self.id, r"(?!\.+$)[A-Za-z0-9._-]{1,100}")
        _text("submission", self.submission)
        _text("digest", self.digest, "[0-9a-f]{64}")
        _text("status", self.status, "|".join(STATUSES))
        _text("exercise", self.exercise, r"[a-z]\w*")
        _whole("version", self.version, VERSION, VERSION)
        _whole("seed", self.seed, -(2**63), 2**64)
        _whole("max_score", self.max_score, 1, 10_000)
        _number("score", self.score, 0, self.max_score)
        _number("seconds", self.seconds, 0, 1e9)
        if not (self.message is None or isinstance(self.message, Message)):
            raise ValueError(f"message should be a Message or None, not {reprlib.repr(self.message)}")
        _tuple("marks", self.marks, Mark)
        names = [mark.criterion for mark in self.marks]
        if len(set(names)) < len(names):
            raise ValueError(f"each criterion should have one mark, not {reprlib.repr(names)}")
        if self.status == "graded" and not self.marks:
            raise ValueError("a graded submission should have marks; there are none")
        if self.status != "graded" and self.score > 0:
            raise ValueError(f"a submission that is {self.status!r} should have score 0, not {self.score}")

    def reason(self) -> str:
        """Why there are no points, in the language in use; empty for a score that needs no reason."""
        if self.message is not None:
            return self.message.text()
        return "" if self.status == "graded" else text(f"grading.messages.{self.status}")

    def to_json(self) -> str:
        """The result as JSON, which `from_json` reads back as an equal one."""
        content = {
            "version": self.version,
            "exercise": self.exercise,
            "id": self.id,
            "submission": self.submission,
            "digest": self.digest,
            "status": self.status,
            "score": plain(self.score, None),
            "max_score": self.max_score,
            "seconds": plain(self.seconds, None),
            "message": self.message and _message_to_dict(self.message),
            "marks": [
                {
                    "criterion": mark.criterion,
                    "points": plain(mark.points, None),
                    "max_points": mark.max_points,
                    "hints": [_message_to_dict(hint) for hint in mark.hints],
                }
                for mark in self.marks
            ],
            "seed": self.seed,
        }
        return _dumps(content)

    @classmethod
    def from_json(cls, content: str) -> "Result":
        """Read back what `to_json` has written.

        Parameters
        ----------
        content : str
            The JSON text.

        Raises
        ------
        ValueError
            If it is anything else: broken, too deeply nested, with fields missing or unknown, of another
            version, with a value of the wrong type or outside its range, or with a message or criterion that
            the catalogue does not have. The text says what came and what was wanted.
        """
        read = _fields("a result", _parse(content), cls)
        if read["message"] is not None:
            read["message"] = _message_from(read["message"])
        read["marks"] = tuple(_mark_from(mark) for mark in _list("marks", read["marks"]))
        return cls(**read)


# --- text and numbers that are safe to show -------------------------------------------------------------

# Sequences that a terminal obeys: ESC [ … letter (colours, cursor), ESC ] … BEL (window title, links).
_TERMINAL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
# Letters that a Mac writes in pieces: Hangul in jamo, kana and Latin letters followed by their marks.
_PIECES = re.compile("[\u1100-\u11ff]+|\\w[\u0300-\u036f\u3099\u309a]+")
_JOINERS = "\u200c\u200d"  # parts of words in some scripts, and of emoji
_MOST_MARKS = 8  # accents on one letter; more of them would paint over the lines around it


def printable(words: str, longest: int = 10_000) -> str:
    """One line of text that does nothing but stand there, whatever `words` are.

    Sequences for terminals go away, and line breaks and tabs become spaces. Other control characters, and
    what is invisible or turns the direction of writing, are named: ``[U+202E]``. Letters that a Mac has taken
    apart are put together. Of what is longer than `longest` characters, the beginning and the end stay.
    """
    if len(words) > 4 * longest:  # what will not be shown need not be looked at
        words = words[: 2 * longest] + "…" + words[-2 * longest :]
    words = _PIECES.sub(lambda piece: unicodedata.normalize("NFC", piece[0]), _TERMINAL.sub("", words))
    shown, marks = [], 0
    for letter in words:
        marks = marks + 1 if unicodedata.category(letter) in ("Mn", "Me") else 0
        if marks <= _MOST_MARKS:
            shown.append(_printable(letter))
    line = "".join(shown).strip()
    if len(line) <= longest:
        return line
    end = longest // 3
    return line[: longest - end - 1] + "…" + line[len(line) - end :]


def _printable(letter: str) -> str:
    if letter in "\t\n\v\f\r\x85\u2028\u2029":
        return " "
    # Control, format, private use, half a character.
    if unicodedata.category(letter) in ("Cc", "Cf", "Co", "Cs") and letter not in _JOINERS:
        return f"[U+{ord(letter):04X}]"
    return letter


def cell(words: str) -> str:
    """Text for a cell of a CSV file: printable, and with an apostrophe in front if it begins like a formula.

    Spreadsheets take ``=``, ``+``, ``-`` and ``@`` for the beginning of a formula; some do so in their
    full-width forms and behind spaces, too.
    """
    words = printable(words)
    first = next((letter for letter in words if unicodedata.category(letter)[0] not in "ZMC"), "")
    return "'" + words if unicodedata.normalize("NFKC", first)[:1] in tuple("=+-−@") else words


def plain(value: float, digits: int | None = 2) -> int | float:
    """A number rounded to so many digits, if any, and whole where it can be: 100 for 100.0, 62.5 for 62.5."""
    rounded = value if digits is None else round(value, digits)
    return int(rounded) if rounded == int(rounded) else float(rounded)


def write(path: str | os.PathLike, content: str) -> None:
    """Put a text into a file as UTF-8, all or nothing; folders that are missing are made.

    Who reads the file meanwhile, or after a crash, finds the old content or the new, never a part.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        part.write_bytes(content.encode("utf-8"))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


# --- for those who collect grades -----------------------------------------------------------------------


def write_csv(results: Iterable[Result], path: str | os.PathLike) -> None:
    """Write ``grades.csv``: one row per result, in their order, for spreadsheets and programs.

    The columns are ``submission,status,score,max_score,seconds,message``, then one with the points of each
    criterion, named by its key and empty where there are no marks. The encoding is UTF-8 with a byte order
    mark, without which Excel shows other letters.
    """
    results = list(results)
    criteria = list(dict.fromkeys(mark.criterion for result in results for mark in result.marks))
    rows: list[list[str | float]] = [
        ["submission", "status", "score", "max_score", "seconds", "message", *criteria]
    ]
    for result in results:
        points = {mark.criterion: plain(mark.points) for mark in result.marks}
        rows.append(
            [
                cell(result.submission),
                result.status,
                plain(result.score),
                result.max_score,
                plain(result.seconds),
                cell(result.reason()),
                *(points.get(criterion, "") for criterion in criteria),
            ]
        )
    write(path, "\ufeff" + _csv(rows))


def gradescope(results: Iterable[Result], folder: str | os.PathLike, visibility: str = "visible") -> None:
    """Write for each result the ``results.json`` that Gradescope reads.

    They are ``gradescope/<id>.json`` in `folder`. Gradescope grades each submission in a container of its
    own; where there is one result only, `folder` also gets ``results.json`` itself. The format is
    https://gradescope-autograders.readthedocs.io/en/latest/specs/.

    Parameters
    ----------
    results : iterable of Result
    folder : path
    visibility : {"visible", "hidden", "after_due_date", "after_published"}
        When students may see it.

    Raises
    ------
    ValueError
        If Gradescope does not know the visibility.
    """
    if visibility not in VISIBILITIES:
        raise ValueError(f"visibility should be one of {', '.join(VISIBILITIES)}, not {visibility!r}")
    results = list(results)
    for result in results:
        content = _dumps(_for_gradescope(result, visibility))
        write(Path(folder, "gradescope", f"{result.id}.json"), content)
        if len(results) == 1:
            write(Path(folder, "results.json"), content)


def _for_gradescope(result: Result, visibility: str) -> dict[str, Any]:
    tests = [_test(mark.text(), mark.points, mark.max_points, mark.hints) for mark in result.marks]
    if not tests:  # otherwise it would not be seen how many points there could have been
        tests = [_test(text("exercises.alexnet.my_alexnet.title"), result.score, result.max_score, ())]
    said = [text(f"grading.status.{result.status}"), result.reason()]
    return {
        # Stands above the sum of the tests: there may be marks and yet no points.
        "score": plain(result.score),
        "execution_time": plain(result.seconds),
        "output": "\n".join(filter(None, said)),
        # Never HTML or Markdown: messages quote what students have written.
        "output_format": "text",
        "test_output_format": "text",
        "test_name_format": "text",
        "visibility": visibility,
        "tests": tests,
        "extra_data": {
            "status": result.status,
            "max_score": result.max_score,
            "digest": result.digest,
            "seed": result.seed,
            "lang": language(),
        },
    }


def _test(name: str, points: float, max_points: int, hints: Sequence[Message]) -> dict[str, Any]:
    return {
        "name": name,
        "score": plain(points),
        "max_score": max_points,
        "status": "passed" if points >= max_points else "failed",
        "output": "\n".join(hint.text() for hint in hints),
    }


def nbgrader_csv(results: Iterable[Result], path: str | os.PathLike, assignment: str) -> None:
    """Write a table that can be put below the one of ``nbgrader export``.

    The columns are ``assignment,timestamp,student_id,score,max_score``, which are also theirs. The time of
    submission is not known here, so ``timestamp`` is empty. As in theirs there is no byte order mark. Each
    submission has its row, so a student who handed in two files has two.

    The student is guessed from the submission's name; see `student`.
    """
    rows: list[list[str | float]] = [["assignment", "timestamp", "student_id", "score", "max_score"]]
    for result in results:
        who = cell(student(result.submission))
        rows.append([cell(assignment), "", who, plain(result.score), result.max_score])
    write(path, _csv(rows))


def student(submission: str) -> str:
    """A guess at who has handed in the submission of that name.

    In nbgrader's folders, ``submitted/<student>/<assignment>/x.ipynb``, and where each student has a folder,
    ``<student>/x.ipynb``, it is the name of that folder. Otherwise, and for absolute paths, it is the file's
    name without its ending. A zip file's name is not a student's.
    """
    path = PureWindowsPath(submission)  # knows both kinds of slashes
    folders = [part for part in path.parts[:-1] if part != ".." and not part.lower().endswith(".zip")]
    if "submitted" in folders:
        folders = folders[folders.index("submitted") + 1 :]
    elif path.anchor:
        folders = []
    return folders[0] if folders else path.stem


def _csv(rows: list[list[str | float]]) -> str:
    """Rows as CSV. All text is in quotes, so it also holds together where cells are divided by semicolons."""
    table = io.StringIO()
    csv.writer(table, quoting=csv.QUOTE_NONNUMERIC).writerows(rows)
    return table.getvalue()


# --- reading strictly -----------------------------------------------------------------------------------


def _dumps(content: dict[str, Any]) -> str:
    readable = json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    # Names of files that are not UTF-8 hold halves of characters, which no encoding takes as they are; and
    # what controls a terminal or turns the direction of writing should do so nowhere.
    odd = "[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
    return re.sub(odd, lambda letter: f"\\u{ord(letter[0]):04x}", readable)


def _message_to_dict(message: Message) -> dict[str, Any]:
    return {"key": message.key, "values": message.values}


def _parse(content: str) -> Any:
    try:
        return json.loads(content, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("a result should be JSON of few levels; it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"a result should be JSON, not {reprlib.repr(content)}: {error}") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError(f"each field should be there once, not {reprlib.repr(names)}")
    return dict(pairs)


def _no_constant(name: str) -> Any:
    raise ValueError(f"numbers should be finite, not {name}")


def _fields(what: str, value: Any, kind: type) -> dict[str, Any]:
    wanted = sorted(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    if not isinstance(value, dict):
        raise ValueError(f"{what} should be an object with {', '.join(wanted)}, not {reprlib.repr(value)}")
    if sorted(value) != wanted:
        raise ValueError(f"{what} should have {', '.join(wanted)}, not {reprlib.repr(sorted(value))}")
    return value


def _list(what: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{what} should be a list, not {reprlib.repr(value)}")
    return value


def _message_from(value: Any) -> Message:
    message = Message(**_fields("a message", value, Message))
    try:
        message.text()
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"a message should be one of the catalogue's: {error}") from None
    return message


def _mark_from(value: Any) -> Mark:
    read = _fields("a mark", value, Mark)
    mark = Mark(**{**read, "hints": tuple(_message_from(hint) for hint in _list("hints", read["hints"]))})
    if f"exercises.alexnet.my_alexnet.{mark.criterion}" not in catalogue(language()):
        raise ValueError(f"a criterion should be one of the catalogue's, not {mark.criterion!r}")
    return mark


def _text(what: str, value: Any, pattern: str | None = None) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{what} should be text, not {reprlib.repr(value)}")
    if pattern is not None and not re.fullmatch(pattern, value, re.ASCII):
        raise ValueError(f"{what} should match {pattern}, not be {reprlib.repr(value)}")


def _whole(what: str, value: Any, lowest: int, highest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise ValueError(f"{what} should be a whole number in {lowest}..{highest}, not {reprlib.repr(value)}")


def _number(what: str, value: Any, lowest: float, highest: float) -> None:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if not (real and lowest <= value <= highest + _SLACK):  # which no NaN and no infinity fulfils
        raise ValueError(f"{what} should be a number in {lowest}..{highest}, not {reprlib.repr(value)}")


def _tuple(what: str, value: Any, kind: type) -> None:
    if not (isinstance(value, tuple) and all(isinstance(one, kind) for one in value)):
        raise ValueError(f"{what} should be a tuple of {kind.__name__}, not {reprlib.repr(value)}")
