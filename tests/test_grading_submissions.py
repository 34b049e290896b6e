"""Everything handed in becomes one submission with a name of its own, whatever it is and wherever it lies."""

import hashlib
import io
import os
import pickle
import re
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnlab import i18n
from cnnlab.grading import submissions
from cnnlab.grading.answer import NotAnAnswer
from cnnlab.grading.submissions import Submission, find


@pytest.fixture
def folder(tmp_path):
    """A folder `in` to put files into."""
    path = tmp_path / "in"
    path.mkdir()
    return path


def put(folder: Path, *names: str) -> Path:
    """Files with their names as content."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name, "utf-8")
    return folder


def names(*paths: Path, **options: str) -> list[str]:
    found = find(list(paths), **options)
    check(found)
    return [submission.name for submission in found]


def check(found: list[Submission]) -> None:
    """What holds for every list of submissions."""
    assert len({submission.name for submission in found}) == len(found)
    assert len({submission.id.lower() for submission in found}) == len(found)
    for submission in found:
        assert re.fullmatch(r"[A-Za-z0-9][\w-]{,99}", submission.id, re.ASCII)
        assert submission.name.encode()
        assert pickle.loads(pickle.dumps(submission)) == submission
        if submission.problem:
            with pytest.raises(NotAnAnswer):
                submission.read()


def problem(submission: Submission) -> str:
    """Why it cannot be read, without the table's name."""
    with pytest.raises(NotAnAnswer) as caught:
        submission.read()
    assert caught.value.status == "invalid"
    message = caught.value.message
    for lang in i18n.languages():
        assert i18n.catalogue(lang)[message.key].format(**message.values)
    return message.key.removeprefix("grading.files.")


def only(*paths: Path) -> Submission:
    found = find(list(paths))
    check(found)
    assert len(found) == 1, [submission.name for submission in found]
    return found[0]


def packed(*members: tuple[object, object], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip, written by hand: names are text (in UTF-8) or bytes (of an old Windows), twice if one likes."""
    body, directory = io.BytesIO(), io.BytesIO()
    for name, content in members:
        raw = name if isinstance(name, bytes) else str(name).encode()
        flags = 0 if isinstance(name, bytes) else 0x800
        content = content if isinstance(content, bytes) else str(content).encode()
        deflate = zlib.compressobj(wbits=-15)
        data = deflate.compress(content) + deflate.flush() if method == zipfile.ZIP_DEFLATED else content
        sizes = struct.pack("<LLLHH", zlib.crc32(content), len(data), len(content), len(raw), 0)
        head = struct.pack("<HHHHH", 20, flags, method, 0, 0x21) + sizes
        offset = body.tell()
        body.write(b"PK\3\4" + head + raw + data)
        directory.write(b"PK\1\2\x14\0" + head + struct.pack("<HHHLL", 0, 0, 0, 0, offset) + raw)
    counts = struct.pack("<HHHH", 0, 0, len(members), len(members))
    end = b"PK\5\6" + counts + struct.pack("<LLH", directory.tell(), body.tell(), 0)
    return body.getvalue() + directory.getvalue() + end


def zipped(folder: Path, *members: tuple[object, object], name: str = "class.zip") -> Path:
    path = folder / name
    path.write_bytes(packed(*members))
    return path


# --- folders and files -----------------------------------------------------------------------------------


def test_a_folder_is_searched_in_the_order_of_names(folder):
    put(
        folder,
        "b.ipynb",
        "a/z.py",
        "a/b.ipynb",
        "c.txt",
        "B.IPYNB",
        "d.ipynb.txt",
        "e.ipynb.json",
        "a/data.csv",
    )
    assert names(folder) == ["B.IPYNB", "a/b.ipynb", "a/z.py", "b.ipynb", "d.ipynb.txt", "e.ipynb.json"]
    found = find([folder])
    assert [submission.kind for submission in found] == ["ipynb", "ipynb", "py", "ipynb", "ipynb", "ipynb"]
    assert [submission.read().decode() for submission in found] == names(folder)
    assert find([folder]) == found


def test_what_systems_put_there_is_left_out(folder):
    put(
        folder,
        ".ipynb_checkpoints/a-checkpoint.ipynb",
        "._a.ipynb",
        ".a.py",
        "__MACOSX/a.ipynb",
        "a/.git/a.py",
    )
    put(folder, "__MACOSX/._a.zip", "a.ipynb~", "a.pyc", "ipynb", "Thumbs.db", "readme.md")
    assert names(folder) == []


def test_names_depend_on_the_layout_and_not_on_the_machine(tmp_path, monkeypatch):
    ids = []
    for place in ("one", "other"):
        put(tmp_path / place, "hw/a.ipynb", "hw/b/c.py")
        zipped(tmp_path / place, ("x.ipynb", 1))
        monkeypatch.chdir(tmp_path / place)
        assert names(Path("hw/a.ipynb")) == names(Path("./hw/a.ipynb")) == ["hw/a.ipynb"]
        assert names(tmp_path / place / "hw" / "a.ipynb") == ["a.ipynb"]
        assert names(Path("hw")) == names(tmp_path / place / "hw") == ["a.ipynb", "b/c.py"]
        assert names(Path(".")) == ["class.zip/x.ipynb", "hw/a.ipynb", "hw/b/c.py"]
        assert names(Path("hw"), Path("class.zip")) == ["hw/a.ipynb", "hw/b/c.py", "class.zip/x.ipynb"]
        ids.append([submission.id for submission in find([Path("."), tmp_path / place / "class.zip"])])
    assert ids[0] == ids[1]


def test_two_of_one_name_stay_two(tmp_path):
    one, two = put(tmp_path / "1", "a.ipynb"), put(tmp_path / "2", "a.ipynb")
    assert names(one, two) == ["1/a.ipynb", "2/a.ipynb"]
    assert names(one / "a.ipynb", two / "a.ipynb", one / "a.ipynb") == [
        "a.ipynb",
        "a.ipynb (2)",
        "a.ipynb (3)",
    ]
    put(one, "a.ipynb (2)", "a (1).ipynb")
    assert names(one) == ["a (1).ipynb", "a.ipynb"]
    same = zipped(one, ("a.ipynb", "first"), ("a.ipynb", "second"), ("a.ipynb (2)/a.ipynb", 3))
    found = find([same])
    assert [s.name for s in found][:2] == ["class.zip/a.ipynb", "class.zip/a.ipynb (2)"]
    assert [s.read() for s in found] == [b"first", b"second", b"3"]
    (two / "1").mkdir()
    put(two / "1", "a.ipynb")
    assert names(one, two / "1") == [
        "1/a (1).ipynb",
        "1/a.ipynb",
        *[f"1/{n}" for n in names(same)],
        "1/a.ipynb (2)",
    ]


ODD = [
    "a b.ipynb",
    'it\'s "mine".ipynb',
    "課題13_山田.ipynb",
    "과제_홍길동.ipynb",
    "🐈.ipynb",
    "a\nb.ipynb",
    "-rf.ipynb",
    "=1+1.ipynb",
    "a\x1b[31mb.ipynb",
    "<b>&.ipynb",
    "x" * 249 + ".ipynb",
    "あ" * 83 + ".ipynb",
    "é.ipynb",
    "a..b...ipynb",
    "%00$(ls)`ls`;ls.ipynb",
    "con.ipynb",
    "\u202excod.ipynb",
    "~.ipynb",
    "*.ipynb",
    "a%2Fb\\c.ipynb",
]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_just_names(folder, name):
    put(folder, name)
    assert only(folder).read().decode() == name
    assert only(folder / name).read().decode() == name
    assert only(zipped(folder, (name, 1), name="z.zip")).read() == b"1"


def test_ids_can_be_read_and_differ_for_names_that_look_alike(folder):
    put(
        folder,
        "Yamada Taro (1).ipynb",
        "yamada taro (1).ipynb",
        "Yamada-Taro-1.ipynb",
        "課題.ipynb",
        "과제.ipynb",
    )
    ids = {s.name: s.id for s in find([folder])}
    check(find([folder]))
    assert ids["Yamada Taro (1).ipynb"].startswith("Yamada-Taro-1-")
    assert ids["課題.ipynb"].startswith("submission-")
    assert ids["課題.ipynb"].endswith(hashlib.sha256("課題.ipynb".encode()).hexdigest()[:12])


def test_letters_taken_apart_are_put_together(folder):
    put(folder, "가e\u0301.ipynb")  # as macOS writes them
    assert only(folder).name == "가é.ipynb"
    assert only(folder).read()


def test_names_on_the_disk_that_are_not_in_utf8(folder):
    for encoding, name in (("cp932", "表示.ipynb"), ("cp949", "홍길동.ipynb")):
        path = os.fsencode(folder) + b"/" + name.encode(encoding)
        with open(path, "wb") as file:
            file.write(name.encode())
    found = find([folder], lang="ja")
    assert sorted(s.name for s in found) == ["表示.ipynb", "홍길동.ipynb"]
    assert [s.read().decode() for s in found] == [s.name for s in found]
    assert only(Path(os.fsdecode(path))).name == "홍길동.ipynb"


def test_places_that_cannot_be_given(folder):
    put(folder, "a.txt", "b")
    for path in (folder / "nothing.ipynb", folder / "no" / "x.zip", Path("a\0b.ipynb")):
        with pytest.raises(FileNotFoundError, match=re.escape(path.name.split("\0")[0])):
            find([folder, path])
    for path in (folder / "a.txt", folder / "b", Path("/dev/zero"), Path("/dev/null")):
        with pytest.raises(ValueError, match=rf"{path.name}.*\.ipynb.*\.py.*zip"):
            find([path])
    assert find([]) == [] == find([folder])


def test_what_is_no_ordinary_file_is_told_and_not_opened(folder):
    os.mkfifo(folder / "pipe.ipynb")
    os.mkfifo(folder / "pipe.zip")
    os.mkfifo(folder / "pipe")
    (folder / "empty.ipynb").mkdir()
    put(folder, "full.ipynb/a.ipynb")
    (folder / "full.ipynb" / "x.py").symlink_to("a.ipynb")
    (folder / "loop.ipynb").symlink_to("loop.ipynb")
    (folder / "dangling.zip").symlink_to("nowhere")
    (folder / "up").symlink_to("..")
    (folder / "data").symlink_to("pipe")
    found = find([folder])
    check(found)
    assert {s.name: problem(s) for s in found if s.problem} == {
        "pipe.ipynb": "not_a_file",
        "pipe.zip": "not_a_file",
        "empty.ipynb": "not_a_file",
        "full.ipynb/x.py": "link",
        "loop.ipynb": "link",
        "dangling.zip": "link",
        "up": "link",
    }
    assert [s.name for s in found if not s.problem] == ["full.ipynb/a.ipynb"]
    assert problem(only(folder / "pipe.ipynb")) == "not_a_file"
    assert problem(only(folder / "loop.ipynb")) == "unreadable"
    assert only(folder / "full.ipynb" / "x.py").read() == b"full.ipynb/a.ipynb"  # given by hand


def test_files_that_cannot_be_read(folder, monkeypatch):
    put(folder, "a.ipynb", "b.ipynb", "c/d.ipynb")
    found = find([folder])
    (folder / "b.ipynb").unlink()
    assert [s.read() for s in found[:1]] == [b"a.ipynb"]
    assert problem(found[1]) == "unreadable"
    (folder / "b.ipynb").mkdir()
    assert problem(found[1]) == "not_a_file"
    list_folder = os.listdir

    def refuse(path):
        if Path(path).name in ("c", "in"):
            raise PermissionError(13, "Permission denied", str(path))
        return list_folder(path)

    monkeypatch.setattr(os, "listdir", refuse)
    assert problem(only(folder)) == "unreadable"
    assert only(folder / "c").name == "c"
    assert str(folder) not in only(folder).problem.values["error"]

    def refused(path, *rest):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refused)
    assert problem(found[0]) == "unreadable"


def test_files_that_are_too_large(folder, monkeypatch):
    monkeypatch.setattr(submissions, "LARGEST", 10)
    path = zipped(folder, ("fits.ipynb", "x" * 10), ("large.ipynb", "x" * 11))
    (folder / "fits.ipynb").write_text("x" * 10)
    (folder / "large.ipynb").write_text("x" * 11)
    for place in (folder, path):
        found = find([place])
        assert {problem(s) for s in found if "large" in s.name} == {"too_large"}
        assert {s.read() for s in found if "fits" in s.name} == {b"x" * 10}


def test_very_deep_folders(folder):
    path = folder
    try:
        for _ in range(1_200):
            path = path / "d"
            path.mkdir()
        (path / "a.py").touch()
        assert only(folder).name.count("/") == 1_200
    finally:  # pytest could not delete them
        (path / "a.py").unlink(missing_ok=True)
        while path != folder:
            path.rmdir()
            path = path.parent
    assert only(zipped(folder, ("d/" * 3_000 + "a.py", 1))).read() == b"1"


# --- zips ------------------------------------------------------------------------------------------------


def test_a_zip_of_a_learning_management_system(folder):
    student = packed(("hw13\\MyAlexNet.ipynb", "deep"), ("__MACOSX/._MyAlexNet.ipynb", 0), ("hw13\\", ""))
    path = zipped(
        folder,
        ("山田 太郎_123_assignsubmission_file/", ""),
        ("山田 太郎_123_assignsubmission_file/13_alexnet (1).ipynb", "a"),
        ("山田 太郎_123_assignsubmission_file/.ipynb_checkpoints/x.ipynb", "b"),
        ("홍길동_124_assignsubmission_file/hw13.zip", student),
        ("홍길동_124_assignsubmission_file/report.pdf", "c"),
        ("/etc/passwd.ipynb", "d"),
        ("../../up.ipynb", "e"),
        ("C:\\x\\y.py", "f"),
        ("./a//b.ipynb", "g"),
    )
    found = {s.name: s.read().decode() for s in find([path])}
    assert found == {
        "class.zip/../../up.ipynb": "e",
        "class.zip/a/b.ipynb": "g",
        "class.zip/etc/passwd.ipynb": "d",
        "class.zip/C:/x/y.py": "f",
        "class.zip/山田 太郎_123_assignsubmission_file/13_alexnet (1).ipynb": "a",
        "class.zip/홍길동_124_assignsubmission_file/hw13.zip/hw13/MyAlexNet.ipynb": "deep",
    }
    check(find([path]))
    assert sorted(os.listdir(folder)) == ["class.zip"]
    assert names(folder) == [s.name for s in find([path])]


@pytest.mark.parametrize("lang", ["ja", "ko", "en"])
@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("課題13_山田太郎.ipynb", "cp932"),
        ("ソフト\\表\\能力申請.ipynb", "cp932"),  # letters with the code of a backslash
        ("アレックスネット（最終版）.ipynb", "cp932"),
        ("과제_홍길동 (1).ipynb", "cp949"),
        ("심층학습\\김철수_최종·수정.ipynb", "cp949"),
        ("課題_과제.ipynb", "utf-8"),
        ("plain.ipynb", "ascii"),
    ],
)
def test_names_in_old_encodings(folder, name, encoding, lang):
    path = zipped(folder, (name.encode(encoding), 1))
    assert names(path, lang=lang) == ["class.zip/" + name.replace("\\", "/")]
    assert only(path).read() == b"1"


def test_names_that_might_be_either(folder):
    path = zipped(
        folder, ("ﾔﾏﾀﾞ.ipynb".encode("cp932"), 1), ("똠방.ipynb".encode("cp949"), 2), (b"caf\x82.py", 3)
    )
    assert "class.zip/ﾔﾏﾀﾞ.ipynb" in names(path, lang="ja")
    assert "class.zip/똠방.ipynb" in names(path, lang="ko")
    assert "class.zip/café.py" in names(path)


def test_names_in_an_extra_field():
    extra = struct.pack("<HH", 0x5455, 1) + b"x"
    name = "表.ipynb".encode()
    extra += struct.pack("<HHBL", 0x7075, 5 + len(name), 1, 0) + name
    assert submissions._unicode_name(extra) == "表.ipynb"
    assert submissions._unicode_name(extra[:9]) == ""
    assert submissions._unicode_name(b"\0" * 7) == ""


def test_zips_within_zips(folder):
    content = packed(("a.ipynb", "deep"))
    for depth in range(1, 5):
        path = folder / "class.zip"
        path.write_bytes(content)
        submission = only(path)
        assert submission.name.count(".zip/") == min(depth, 3)
        if depth <= 3:
            assert submission.read() == b"deep"
        else:
            assert problem(submission) == "nested_zip"
        content = packed(("z.zip", content))


def test_zips_that_cannot_be_read_leave_the_others_alone(folder):
    good = packed(("a.ipynb", 1))
    members = {
        "broken.zip": good[:-30],
        "empty.zip": b"",
        "no.zip": b"\0" * 100_000,
        "text.zip": "これは zip ではない",
        "nothing.zip": packed(("a.pdf", 1), ("__MACOSX/a.ipynb", 1)),
        "none.zip": packed(),
        "good.zip": good,
        "bomb.zip": packed(("x.zip", b"PK\3\4" + b"\0" * 10_000_000)),
        "zeros.zip": b"PK\3\4" + b"\0" * 10_000_000,
    }
    zipped(folder, *members.items())
    for name, content in members.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    found = find([folder])
    check(found)
    want = dict.fromkeys(["broken.zip", "empty.zip", "no.zip", "text.zip", "zeros.zip"], "broken_zip")
    want |= {"nothing.zip": "empty_zip", "none.zip": "empty_zip", "bomb.zip/x.zip": "expands"}
    inner = {**want, "zeros.zip": "expands", "no.zip": "expands"}
    assert {s.name: problem(s) for s in found if s.problem} == {
        **want,
        **{f"class.zip/{name}": key for name, key in inner.items()},
    }
    assert [s.name for s in found if not s.problem] == ["class.zip/good.zip/a.ipynb", "good.zip/a.ipynb"]
    assert [s.read() for s in found if not s.problem] == [b"1", b"1"]


def test_members_that_cannot_be_read(folder):
    content = bytearray(packed(("a.ipynb", "a" * 50), ("b.ipynb", "b" * 50), ("c.ipynb", 1), ("d.ipynb", 1)))
    directory = [match.start() for match in re.finditer(b"PK\1\2", content)]
    content[directory[0] + 8] |= 1  # a password
    content[directory[1] + 16] ^= 1  # another checksum
    content[directory[2] + 10] = 9  # Deflate64
    content[directory[3] + 42] ^= 2  # somewhere else
    (folder / "class.zip").write_bytes(content)
    found = find([folder])
    assert [problem(s) for s in found] == ["encrypted", "unreadable", "unreadable", "unreadable"]
    zipped(folder, ("a.ipynb", 1), ("z.zip", bytes(content)), ("y.zip", 1))
    assert [problem(s) for s in find([folder])[1:]] == ["broken_zip", "encrypted", *["unreadable"] * 3]


def test_bombs(folder, monkeypatch):
    size = 200 * 2**20
    content = bytearray(packed(("a.ipynb", b"0" * 1000)))
    at = content.index(b"PK\1\2")
    content[at + 24 : at + 28] = struct.pack("<L", size)  # says so
    (folder / "says.zip").write_bytes(content)
    assert problem(only(folder)) == "too_large"
    monkeypatch.setattr(submissions, "LARGEST", 999)
    content[at + 24 : at + 28] = struct.pack("<L", 10)  # does not say so
    (folder / "says.zip").write_bytes(content)
    assert problem(only(folder)) == "unreadable"
    large = packed(("a.ipynb", b"0" * 100_000))
    at, end = large.index(b"PK\1\2"), large.index(b"PK\5\6")
    many = large[:at] + large[at:end] * 100  # all with the same bytes
    tail = b"PK\5\6" + struct.pack("<HHHHLLH", 0, 0, 100, 100, len(many) - at, at, 0)
    (folder / "says.zip").write_bytes(many + tail)
    assert problem(only(folder)) == "expands"
    monkeypatch.setattr(submissions, "MOST_MEMBERS", 2)
    zipped(folder, *[(f"{i}.ipynb", "") for i in range(3)], name="says.zip")
    assert problem(only(folder)) == "too_many"
    monkeypatch.setattr(submissions, "LARGEST_LIST", 100)
    assert problem(only(folder)) == "too_many"


def test_the_size_of_the_list_of_members(folder):
    path = zipped(folder, ("a.ipynb", 1), ("b.ipynb", 2))
    content = path.read_bytes()
    at, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    for comment in (b"", b"x" * 1_000):
        assert submissions._list_size(io.BytesIO(content + comment)) == end - at
    large = b"PK\6\6" + struct.pack("<QHHLLQQQQ", 44, 45, 45, 0, 0, 2, 2, end - at, at)
    large += b"PK\6\7" + struct.pack("<LQL", 0, end, 1)
    full = b"PK\5\6" + b"\0" * 4 + b"\xff" * 12 + b"\0\0"
    assert submissions._list_size(io.BytesIO(content[:end] + large + full)) == end - at
    path.write_bytes(content[:end] + large + full)
    assert [s.read() for s in find([path])] == [b"1", b"2"]


def test_a_zip_that_has_changed_is_opened_anew(folder):
    path = zipped(folder, ("a.ipynb", "one"))
    submission = only(path)
    assert submission.read() == b"one"
    zipped(folder, ("a.ipynb", "three"))
    assert submission.read() == b"three"
    path.unlink()
    assert problem(submission) == "unreadable"


def test_a_thousand_submissions_are_found_without_being_read(folder, monkeypatch):
    inner = packed(*[(f"{i}/a.ipynb", "x" * 1000) for i in range(500)])
    path = zipped(folder, ("x.zip", inner), *[(f"{i}/a.ipynb", "y" * 1000) for i in range(500)])
    opened = []
    unpack = submissions._unpacked
    monkeypatch.setattr(submissions, "_unpacked", lambda *where: opened.append(where) or unpack(*where))
    found = find([path])
    check(found)
    assert sum(len(pickle.dumps(s)) for s in found) < 1_000_000
    assert sum(len(s.read()) for s in found) == 1_000_000
    assert len(opened) == 1  # although a thousand members were read


@given(st.binary(max_size=200), st.integers(0, 400), st.integers(0, 40))
def test_any_bytes_in_a_zip(tmp_path_factory, noise, start, length):
    content = packed(
        ("a.ipynb", "x" * 50), ("b/c.zip", packed(("d.py", 1))), ("課題.ipynb".encode("cp932"), 2)
    )
    content = content[:start] + noise + content[start + length :]
    path = tmp_path_factory.getbasetemp() / "any.zip"
    path.write_bytes(content)
    found = find([path])
    check(found)
    assert found
    for submission in found:
        try:
            assert isinstance(submission.read(), bytes)
        except NotAnAnswer as error:
            assert error.message.key.startswith("grading.files.")
