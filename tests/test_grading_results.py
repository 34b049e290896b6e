"""Results survive a file, nothing else passes for one, and tables of them are safe in a spreadsheet."""

import csv
import json
import threading
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnlab import i18n
from cnnlab.grading import results as module
from cnnlab.grading.results import (
    STATUSES,
    Mark,
    Message,
    Result,
    cell,
    gradescope,
    nbgrader_csv,
    plain,
    printable,
    student,
    write,
    write_csv,
)

TASK = "exercises.alexnet.my_alexnet"
CRITERIA = ("default", "outputs", "pooling", "relu", "same")
RAISED = Message("grading.messages.raised", {"error": "TypeError", "message": "no"})


def result(**changes) -> Result:
    """A graded submission with 62.5 of 100 points."""
    marks = (
        Mark("default", 40, 40),
        Mark("outputs", 22.5, 40, (Message("grading.messages.time_limit", {"seconds": 5}),)),
        Mark("same", 0, 20),
    )
    whole = Result("a-1", "3/a.ipynb", "0" * 64, "graded", 62.5, 100, 1.25, None, marks, 7)
    return replace(whole, **changes)


def without_points(status: str, **changes) -> Result:
    return result(status=status, score=0, marks=(), **changes)


# --- JSON -----------------------------------------------------------------------------------------------

names = st.text(max_size=30)
messages = st.one_of(
    st.builds(
        lambda error, message: Message("grading.messages.raised", {"error": error, "message": message}),
        names,
        names | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False),
    ),
    st.just(Message("grading.messages.timeout", {})),
)


@st.composite
def all_results(draw) -> Result:
    status = draw(st.sampled_from(STATUSES))
    marks = []
    for criterion in draw(st.lists(st.sampled_from(CRITERIA), unique=True, min_size=status == "graded")):
        most = draw(st.integers(0, 50))
        hints = draw(st.lists(messages, max_size=2))
        marks.append(Mark(criterion, draw(st.floats(0, most)), most, tuple(hints)))
    return Result(
        id=draw(st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", fullmatch=True)),
        submission=draw(names | st.just("report\udc8e.ipynb")),
        digest=draw(st.from_regex(r"[0-9a-f]{64}", fullmatch=True)),
        status=status,
        score=draw(st.floats(0, 100)) if status == "graded" else 0,
        max_score=100,
        seconds=draw(st.floats(0, 1e6)),
        message=draw(st.none() | messages),
        marks=tuple(marks),
        seed=draw(st.integers(0, 2**64 - 1)),
    )


@given(all_results())
def test_json_brings_an_equal_result_back(one):
    content = one.to_json()
    assert Result.from_json(content.encode("utf-8").decode("utf-8")) == one


def test_json_is_readable():
    content = result(submission="山田 太郎.ipynb").to_json()
    assert "山田 太郎.ipynb" in content and content.endswith("}\n")
    assert '"score": 62.5' in content and '"points": 40,' in content
    assert list(json.loads(content))[:2] == ["version", "exercise"]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data(), anything)
def test_one_field_of_another_kind_is_refused_or_changes_the_result(data, value):
    content = json.loads(result(message=RAISED).to_json())
    places = [content, content["message"], content["marks"][1], content["marks"][1]["hints"][0]]
    place = data.draw(st.sampled_from(places))
    name = data.draw(st.sampled_from(sorted(place)))
    place[name] = value
    try:
        read = Result.from_json(json.dumps(content))
    except ValueError as error:
        assert len(str(error)) < 500
    else:
        assert json.loads(read.to_json()) == content
        assert isinstance(read.reason(), str)


@given(st.text() | anything.map(json.dumps))
def test_what_is_no_result_is_refused(content):
    with pytest.raises(ValueError):
        Result.from_json(content)


@pytest.mark.parametrize("nest", ["[" * 100_000, '{"marks":' * 100_000, "[" * 400 + "]" * 400])
def test_deep_nesting_is_refused(nest):
    with pytest.raises(ValueError, match="nested too deeply|should be an object"):
        Result.from_json(nest)


CHANGES = {
    "another version": ({"version": 2}, "version should be a whole number in 1..1, not 2"),
    "unknown status": ({"status": "passed"}, "status should match graded|.*, not be 'passed'"),
    "status that is a list": ({"status": ["graded"]}, r"status should be text, not \['graded'\]"),
    "true as a number": ({"score": True}, r"score should be a number in 0\.\.100, not True"),
    "below zero": ({"score": -1}, "score should be .*, not -1"),
    "too high": ({"score": 100.1}, "score should be .*, not 100.1"),
    "not finite": ({"score": float("nan")}, "should be finite, not NaN"),
    "infinite": ({"seconds": float("inf")}, "should be finite, not Infinity"),
    "points without marks": ({"marks": []}, "should have marks; there are none"),
    "points without being graded": ({"status": "error"}, "that is 'error' should have score 0, not 62.5"),
    "way out of the folder": ({"id": "../../x"}, "id should match"),
    "only dots": ({"id": ".."}, "id should match"),
    "id that is too long": ({"id": "x" * 101}, "id should match"),
    "id with a line break": ({"id": "x\n"}, "id should match"),
    "short digest": ({"digest": "abc"}, "digest should match"),
    "seed that is text": ({"seed": "7"}, "seed should be a whole number .* not '7'"),
    "marks that are none": ({"marks": None}, "marks should be a list, not None"),
    "message that is text": ({"message": "x"}, "a message should be an object with key, values, not 'x'"),
    "unknown message": (
        {"message": {"key": "grading.x", "values": {}}},
        "one of the catalogue's: .*grading.x",
    ),
    "message without its values": (
        {"message": {"key": "grading.messages.raised", "values": {"error": "x"}}},
        "one of the catalogue's: 'message'",
    ),
    "value that is a list": (
        {"message": {"key": "grading.messages.timeout", "values": {"x": []}}},
        "the value 'x' of a message should be a number",
    ),
    "value named key": (
        {"message": {"key": "grading.messages.timeout", "values": {"key": 1}}},
        "name should be that of a placeholder, not 'key'",
    ),
}


@pytest.mark.parametrize(("changes", "said"), CHANGES.values(), ids=CHANGES)
def test_the_error_says_what_came_and_what_was_wanted(changes, said):
    content = {**json.loads(result().to_json()), **changes}
    with pytest.raises(ValueError, match=said):
        Result.from_json(json.dumps(content))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"points": 41}, r"the points of 'default' should be a number in 0..40, not 41"),
        ({"max_points": 40.0}, "max_points should be a whole number"),
        ({"criterion": "nothing"}, "one of the catalogue's, not 'nothing'"),
        ({"criterion": "Default"}, "a criterion should match"),
        ({"criterion": "outputs"}, "each criterion should have one mark"),
        ({"extra": 1}, "a mark should have criterion, .*, not .*extra"),
    ],
)
def test_marks_are_checked_too(changes, said):
    content = json.loads(result().to_json())
    content["marks"][0].update(changes)
    with pytest.raises(ValueError, match=said):
        Result.from_json(json.dumps(content))


def test_fields_are_all_there_and_once():
    content = json.loads(result().to_json())
    del content["seed"]
    with pytest.raises(ValueError, match="a result should have .*seed.*, not"):
        Result.from_json(json.dumps(content))
    with pytest.raises(ValueError, match="each field should be there once"):
        Result.from_json(result().to_json().replace("{", '{"seed": 1,', 1))


def test_a_sum_of_fractions_may_be_a_little_too_high():
    assert plain(result(score=100 + 1e-12).score) == 100


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1], None, True, b"x"])
def test_values_of_messages_are_text_or_finite_numbers(value):
    with pytest.raises(ValueError, match="the value 'x' of a message should be a number"):
        Message("grading.messages.timeout", {"x": value})


def test_only_tuples_of_the_right_kind():
    with pytest.raises(ValueError, match="marks should be a tuple of Mark"):
        result(marks=[Mark("default", 1, 1)])
    with pytest.raises(ValueError, match="hints should be a tuple of Message"):
        Mark("default", 1, 1, ("hint",))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="message should be a Message or None"):
        result(message="no")


def test_no_torch():
    source = Path(module.__file__).read_text("utf-8")
    assert "torch" not in source


# --- words ----------------------------------------------------------------------------------------------


def test_a_message_speaks_the_language_in_use():
    said = set()
    for lang in ("ja", "ko", "en"):
        with i18n.speaking(lang):
            said.add(Message("grading.messages.time_limit", {"seconds": 60}).text())
    assert len(said) == 3 and all("60" in words for words in said)


def test_values_of_a_message_are_cleaned(english):
    message = Message(
        "grading.messages.raised", {"error": "E`", "message": "\x1b[31mred\x1b[0m\n\u202e{x}\0"}
    )
    assert message.text() == "Python reports: `E': red [U+202E]{x}[U+0000]`"
    assert len(Message("grading.messages.raised", {"error": "E", "message": "x" * 10**6}).text()) < 400


@pytest.mark.usefixtures("language")
@pytest.mark.parametrize("status", STATUSES)
def test_every_status_without_points_has_a_reason(status):
    if status == "graded":
        assert result().reason() == ""
        assert "no" in result(message=RAISED).reason()
    else:
        assert without_points(status).reason() == i18n.text(f"grading.messages.{status}")
        assert "TypeError" in without_points(status, message=RAISED).reason()


def test_marks(english):
    full, partial, none = result().marks
    assert (full.reached, partial.reached, none.reached) == ("full", "partial", "none")
    assert full.text() == i18n.text(f"{TASK}.default")


SHOWN = {
    "plain.ipynb": "plain.ipynb",
    "a\tb\nc\r\nd\u2028e": "a b c  d e",
    "\x1b]0;title\x07x\x1b[2Jy": "xy",
    "\x1bc\x00\x7f\x9b": "[U+001B]c[U+0000][U+007F][U+009B]",
    "invoice\u202egnp.exe": "invoice[U+202E]gnp.exe",
    "\u2066\u200b\ufeff\U000e0041": "[U+2066][U+200B][U+FEFF][U+E0041]",
    "report\udc8e": "report[U+DC8E]",
    "\u1100\u1161\u11a8.ipynb": "각.ipynb",  # as a Mac's file system writes it
    "カ\u3099": "ガ",
    "\ufa19谷": "\ufa19谷",  # a form of 神 in names; to compose it with all others would change it
    "👩\u200d🔬 क्षि": "👩\u200d🔬 क्षि",
    " x ": "x",
}


@pytest.mark.parametrize(("words", "shown"), SHOWN.items(), ids=map(ascii, SHOWN))
def test_printable(words, shown):
    assert printable(words) == shown
    assert printable(shown) == shown


def test_printable_shortens_and_keeps_both_ends():
    assert printable("abcdefghijklmnop.ipynb", 12) == "abcdefg…pynb"
    assert printable("x" * 10_000_000 + ".ipynb", 30).endswith("x.ipynb")
    assert len(printable("e" + "\u0301" * 5000)) < 12


@given(st.text(), st.integers(3, 20))
def test_printable_is_one_harmless_line(words, longest):
    shown = printable(words, longest)
    assert len(shown) <= longest and len(shown.splitlines()) <= 1
    kinds = {unicodedata.category(letter) for letter in shown if letter not in "\u200c\u200d"}
    assert not kinds & {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
    shown.encode("utf-8")


@pytest.mark.parametrize(
    ("value", "shown"), [(100.0, "100"), (62.5, "62.5"), (0.0, "0"), (33.333333, "33.33"), (1 / 3 * 3, "1")]
)
def test_plain_numbers(value, shown):
    assert str(plain(value)) == shown


# --- files ----------------------------------------------------------------------------------------------


def test_write_is_all_or_nothing(tmp_path):
    path = tmp_path / "new" / "folder" / "x.json"
    write(path, "年\n")
    assert path.read_bytes() == "年\n".encode()
    with pytest.raises(UnicodeEncodeError):
        write(path, "\ud800")
    assert path.read_text("utf-8") == "年\n"
    assert list(path.parent.iterdir()) == [path]


def test_write_from_several_threads(tmp_path):
    path = tmp_path / "x"
    contents = [str(number) * 10_000 for number in range(8)]
    threads = [threading.Thread(target=write, args=(path, content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text("utf-8") in contents
    assert list(tmp_path.iterdir()) == [path]


def rows(path: Path, encoding: str = "utf-8-sig") -> list[dict[str, str]]:
    with open(path, encoding=encoding, newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_csv_of_a_class(tmp_path, english):
    path = tmp_path / "grades.csv"
    invalid = without_points("invalid", id="b", submission='class.zip/김 "가",나.ipynb')
    write_csv([invalid, result(score=100.0, seconds=1.23456), result(score=62.5)], path)
    assert path.read_bytes()[:3] == b"\xef\xbb\xbf"
    header = path.read_text("utf-8-sig").splitlines()[0].replace('"', "")
    assert header == "submission,status,score,max_score,seconds,message,default,outputs,same"
    first, second, third = rows(path)
    assert first["submission"] == invalid.submission
    assert (first["status"], first["score"], first["default"]) == ("invalid", "0", "")
    assert first["message"] == i18n.text("grading.messages.invalid")
    assert (second["score"], second["max_score"], second["seconds"]) == ("100", "100", "1.23")
    assert (second["default"], second["outputs"], second["same"]) == ("40", "22.5", "0")
    assert (third["score"], third["message"]) == ("62.5", "")


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "\u3000=1", "\xa0@x", "\u200d=1"]
FORMULAS += [
    "＝1+1",
    "＋1",
    "－1",
    "＠x",
    " ＝1",
    "﹦1",
    "﹢1",
    "−1",
    '=HYPERLINK("http://x")',
    "=cmd|'/C calc'!A0",
]


@pytest.mark.parametrize("formula", FORMULAS, ids=ascii)
def test_csv_has_no_formulas(tmp_path, english, formula):
    path = tmp_path / "grades.csv"
    message = Message("exercises.common.not_numeric", {"got": formula})
    write_csv([without_points("error", submission=formula, message=message)], path)
    (row,) = rows(path)
    assert (
        row["submission"].startswith("'")
        and formula.strip("\u200d \t\r\n\u3000\xa0")[1:] in row["submission"]
    )
    assert row["message"][0].isalpha()
    assert path.read_bytes().count(b"\r\n") == 2


def test_numbers_and_names_stay_as_they_are():
    for words in ("a=b.ipynb", "3-1.ipynb", "[U+202E]", "'x", "山田.ipynb", "", "(1).ipynb"):
        assert cell(words) == words


@given(st.text())
def test_csv_of_any_name_is_one_row(words):
    shown = cell(words)
    assert not shown.startswith(tuple("=+-@\t\r\n＝＋－＠ "))
    table = module._csv([[shown, 1.5], ["x", 2]])
    assert list(csv.reader(table.splitlines())) == [[shown, "1.5"], ["x", "2"]]
    # Where a semicolon divides cells, what follows one in a name does not become a cell of its own.
    first = next(csv.reader(table.splitlines(), delimiter=";"))
    assert first[0].startswith(shown)


def test_csv_without_results(tmp_path):
    write_csv([], tmp_path / "grades.csv")
    assert rows(tmp_path / "grades.csv") == []


def test_gradescope_of_one(tmp_path, english):
    gradescope(iter([result()]), tmp_path)
    content = json.loads((tmp_path / "results.json").read_text("utf-8"))
    assert (tmp_path / "gradescope" / "a-1.json").read_bytes() == (tmp_path / "results.json").read_bytes()
    assert (content["score"], content["execution_time"], content["visibility"]) == (62.5, 1.25, "visible")
    assert content["output"] == "Graded"
    assert {content[f"{name}output_format"] for name in ("", "test_")} == {"text"}
    assert content["test_name_format"] == "text"
    assert content["tests"][1] == {
        "name": i18n.text(f"{TASK}.outputs"),
        "score": 22.5,
        "max_score": 40,
        "status": "failed",
        "output": "Stopped after 5 seconds, the time limit.",
    }
    assert [test["status"] for test in content["tests"]] == ["passed", "failed", "failed"]
    known = {"score", "execution_time", "output", "output_format", "test_output_format", "test_name_format"}
    assert content.keys() == known | {"visibility", "tests", "extra_data"}


def test_gradescope_of_several_and_without_marks(tmp_path, english):
    gradescope([result(), without_points("timeout", id="b")], tmp_path, visibility="after_due_date")
    assert sorted(p.name for p in tmp_path.rglob("*.json")) == ["a-1.json", "b.json"]
    content = json.loads((tmp_path / "gradescope" / "b.json").read_text("utf-8"))
    assert content["visibility"] == "after_due_date"
    assert content["output"] == f"Out of time\n{i18n.text('grading.messages.timeout')}"
    assert [(test["score"], test["max_score"], test["status"]) for test in content["tests"]] == [
        (0, 100, "failed")
    ]


def test_gradescope_knows_four_visibilities(tmp_path):
    with pytest.raises(
        ValueError, match="one of visible, hidden, after_due_date, after_published, not 'never'"
    ):
        gradescope([result()], tmp_path, visibility="never")
    assert list(tmp_path.iterdir()) == []


def test_nbgrader(tmp_path):
    path = tmp_path / "nbgrader.csv"
    invalid = without_points("invalid", submission="=x/ps1/a.ipynb")
    nbgrader_csv([result(submission="submitted/hana/ps1/a.ipynb"), invalid], path, "ps1")
    assert path.read_bytes().startswith(b'"assignment"')  # without a byte order mark, as theirs
    first, second = rows(path, "utf-8")
    wanted = {"assignment": "ps1", "timestamp": "", "student_id": "hana", "score": "62.5", "max_score": "100"}
    assert first == wanted
    assert second["student_id"] == "'=x" and second["score"] == "0"


@pytest.mark.parametrize(
    ("submission", "who"),
    [
        ("hana/ps1/a.ipynb", "hana"),
        ("submitted/hana/ps1/a.ipynb", "hana"),
        ("/srv/course/submitted/hana/ps1/a.ipynb", "hana"),
        ("class.zip/김민지_123/a.ipynb", "김민지_123"),
        ("class.zip/a b.ipynb", "a b"),
        ("../hana/a.ipynb", "hana"),
        ("/home/teacher/hana.ipynb", "hana"),
        ("C:\\Users\\t\\hana.ipynb", "hana"),
        ("hana.v2.ipynb", "hana.v2"),
    ],
)
def test_student(submission, who):
    assert student(submission) == who


def test_python_reads_numbers_as_numbers(tmp_path, english):
    """Text stands in quotes and numbers do not, so a reader can tell them apart."""
    write_csv([result(submission="007")], tmp_path / "grades.csv")
    line = (tmp_path / "grades.csv").read_text("utf-8-sig").splitlines()[1]
    assert line == '"007","graded",62.5,100,1.25,"",40,22.5,0'
