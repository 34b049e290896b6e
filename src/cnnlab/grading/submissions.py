"""Finds what was handed in: notebooks and programs in folders and zips, whatever their names are.

Nothing is unpacked: a member of a zip is read in place, and names are only names. What cannot be read is a
submission too, one that says why, so that nobody is lost on the way.
"""

import contextlib
import hashlib
import os
import re
import shutil
import stat
import struct
import tempfile
import unicodedata
import weakref
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

from cnnlab.grading.answer import Kind, NotAnAnswer
from cnnlab.grading.results import Message

MIB = 2**20
LARGEST = 50 * MIB  # bytes of a notebook or a program
MOST_MEMBERS = 20_000  # of a zip
LARGEST_LIST = 8 * MIB  # bytes of the list of a zip's members, which `zipfile` reads at once
LARGEST_ZIP = 1024 * MIB  # bytes of a zip within a zip
EXPANSION = 20  # times its packed size, a zip within a zip is a bomb: its members are packed already
DEEPEST = 3  # zips within each other
PACKED = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # `zipfile` reads others without regard to memory
ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)

Chain = tuple[int, ...]  # number of the member in the zip, of the member in that one, and so on


@dataclass(frozen=True)
class Submission:
    """A file to grade, which is read when it is needed.

    Attributes
    ----------
    id : str
        For names of files: up to 73 ASCII letters, digits, ``_`` and ``-``; the same for the same `name`.
    name : str
        For people, and unique: the file as given, or below the folder that was given; of a zip,
        ``class.zip/folder/name.ipynb``.
    kind : {"ipynb", "py"}
    path : Path
        The file, or the zip that it is in.
    chain : tuple of int
        Where in the zip it is.
    problem : Message or None
        Why it cannot be read, as far as that is known without reading it.
    """

    id: str
    name: str
    kind: Kind
    path: Path
    chain: Chain = ()
    problem: Message | None = None

    def read(self) -> bytes:
        """The content.

        Raises
        ------
        NotAnAnswer
            With the status ``"invalid"``, if it cannot be read.
        """
        if self.problem is not None:
            raise NotAnAnswer("invalid", self.problem)
        try:
            if not self.chain:
                with _opened(self.path) as file:
                    return _all_of(file)
            archive = _archive(self.path, _ordinary(self.path), self.chain[:-1])
            return _member(archive, self.chain[-1])
        except _Problem as found:
            raise NotAnAnswer("invalid", found.message) from None


def find(paths: Sequence[Path], *, lang: str = "en") -> list[Submission]:
    """All submissions at these places, in the order of `paths` and then of their names.

    Parameters
    ----------
    paths : sequence of Path
        Notebooks (``.ipynb``), programs (``.py``), folders, and zips as learning management systems make
        them.
    lang : str
        Language in which the names in old zips are likely to be.

    Raises
    ------
    FileNotFoundError
        If there is nothing at one of these places.
    ValueError
        If one of them is a file of another kind.
    """
    for path in paths:
        if not os.path.lexists(path):
            raise FileNotFoundError(Message("grading.files.no_such_path", {"path": str(path)}).text())
        if not (os.path.isdir(path) or _kind(path.name) or _is_zip(path.name)):
            raise ValueError(Message("grading.files.wrong_kind", {"path": str(path)}).text())
    names = _Names()
    search = _Search(lang)
    found = []
    for path in paths:
        for item in search.at(path, _label(path, lang, several=len(paths) > 1)):
            name = names.new(item.name)
            found.append(Submission(_id(name), name, *item[1:]))
    return found


# --- names -----------------------------------------------------------------------------------------------


def _kind(name: str) -> Kind | None:
    """What a file is by its name; browsers like to save a notebook as ``x.ipynb.txt`` or ``x.ipynb.json``."""
    if re.search(r"\.ipynb(\.txt|\.json)?$", name, re.IGNORECASE):
        return "ipynb"
    return "py" if name.lower().endswith(".py") else None


def _is_zip(name: str) -> bool:
    return name.lower().endswith(".zip")


def _ignored(part: str) -> bool:
    """Whether a file or folder is what a system has put there: ``._x.ipynb``, ``.ipynb_checkpoints``."""
    return part == "__MACOSX" or (part.startswith(".") and part not in (".", ".."))


def _label(path: Path, lang: str, *, several: bool) -> str:
    """How the names of what is at `path` begin: not with the folders of this machine."""
    parts = [part for part in path.parts if part not in ("..", path.anchor)]
    if os.path.isdir(path):
        parts = parts[-1:] if several else []
    elif path.is_absolute():
        parts = parts[-1:]
    return _shown("/".join(parts), lang)


class _Names:
    """Gives each submission a name of its own: the second ``a.ipynb`` is ``a.ipynb (2)``."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.times: dict[str, int] = {}

    def new(self, name: str) -> str:
        """`name`, or if that is taken, `name` with a number."""
        plain = unicodedata.normalize("NFC", name)
        free = plain
        while free in self.used:
            self.times[plain] = self.times.get(plain, 1) + 1
            free = f"{plain} ({self.times[plain]})"
        self.used.add(free)
        return free


def _id(name: str) -> str:
    """What of `name` can be in every file's name, and a hash of the whole."""
    plain = unicodedata.normalize("NFKD", re.sub(r"\.ipynb\b|\.py$", "", name, flags=re.IGNORECASE))
    words = re.findall(r"[A-Za-z0-9_]+", plain.encode("ascii", "ignore").decode())
    slug = "-".join(words)[-60:].strip("-_") or "submission"
    return f"{slug}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


def _shown(name: str, lang: str) -> str:
    """A name of the file system as text, even if it is not in UTF-8."""
    return _decoded(os.fsencode(name), lang)


def _decoded(name: bytes, lang: str) -> str:
    """A name that is in UTF-8, or in what Windows uses in Japan or Korea.

    Both of the latter can often read the other's bytes, but then with letters that names hardly have.
    """
    encodings = ["cp949", "cp932"] if lang == "ko" else ["cp932", "cp949"]
    readings = []
    for encoding in ["utf-8", *encodings]:
        try:
            text = name.decode(encoding)
        except UnicodeDecodeError:
            continue
        if not any(_odd(letter, encoding) for letter in text):
            return text
        readings.append(text)
    return readings[0] if readings else name.decode("cp437")


def _odd(letter: str, encoding: str) -> bool:
    """Whether a letter is rather a sign that the encoding is another one."""
    if encoding == "cp932":  # half-width katakana; for private use
        return "\uff61" <= letter <= "\uff9f" or "\ue000" <= letter <= "\uf8ff"
    if encoding == "cp949" and "가" <= letter <= "힣":  # of 11,172 syllables, EUC-KR has the 2,350 in use
        return len(letter.encode("euc_kr", "ignore")) != 2
    return encoding == "cp949" and "一" <= letter <= "鿿"


# --- folders and files -----------------------------------------------------------------------------------


class _Found(NamedTuple):
    """What a `Submission` will be made of; its name may not be the only one."""

    name: str
    kind: Kind
    path: Path
    chain: Chain = ()
    problem: Message | None = None


class _Problem(Exception):
    """A file or zip cannot be read."""

    def __init__(self, key: str, **values: str | int) -> None:
        super().__init__(key)
        self.message = Message(key, dict(values))


class _Search:
    """Finds what there is to grade at a place, in the order of names."""

    def __init__(self, lang: str) -> None:
        self.lang = lang

    def at(self, path: Path, label: str) -> Iterator[_Found]:
        """What there is at `path`, as names that begin with `label`; the path itself may be a link."""
        if os.path.isdir(path):
            yield from self._below(path, label)
        else:
            yield from self._file(path, label)

    def _below(self, folder: Path, label: str) -> Iterator[_Found]:
        waiting = [(folder, label)]
        while waiting:
            path, name = waiting.pop()
            try:
                mode = stat.S_IFDIR if path is folder else path.lstat().st_mode
                inner = sorted(os.listdir(path), key=self._order) if stat.S_ISDIR(mode) else []
            except OSError as error:
                yield _Found(name or path.name, "ipynb", path, (), _unreadable(error))
                continue
            if stat.S_ISLNK(mode):
                yield from self._link(path, name)
            elif not stat.S_ISDIR(mode) or (_kind(path.name) and not inner):
                yield from self._file(path, name)
            shown = [(path / part, _shown(part, self.lang)) for part in inner if not _ignored(part)]
            waiting += [(below, f"{name}/{part}" if name else part) for below, part in reversed(shown)]

    def _order(self, name: str) -> str:
        return unicodedata.normalize("NFC", _shown(name, self.lang))

    def _link(self, path: Path, name: str) -> Iterator[_Found]:
        """A link below a folder is not followed: it may lead in circles, or to another's answer."""
        if os.path.isdir(path) or _kind(path.name) or _is_zip(path.name):
            yield _Found(name, _kind(path.name) or "ipynb", path, (), Message("grading.files.link", {}))

    def _file(self, path: Path, name: str) -> Iterator[_Found]:
        kind = _kind(path.name)
        if kind or _is_zip(path.name):
            try:
                _ordinary(path)
            except _Problem as found:
                yield _Found(name, kind or "ipynb", path, (), found.message)
            else:
                yield from [_Found(name, kind, path)] if kind else self._zip(path, (), name)

    def _zip(self, path: Path, chain: Chain, label: str) -> Iterator[_Found]:
        """What a zip holds, or that it cannot be read or holds nothing to grade."""
        try:
            archive = _archive(path, _ordinary(path), chain)
        except _Problem as found:
            yield _Found(label, "ipynb", path, chain, found.message)
            return
        empty = True
        members = ((_name(member, self.lang), i) for i, member in enumerate(archive.infolist()))
        for name, i in sorted(members):
            parts = [part for part in name.split("/") if part not in ("", ".")]
            if not parts or name.endswith("/") or any(map(_ignored, parts)):
                continue
            below, kind = "/".join([label, *parts]), _kind(parts[-1])
            if kind:
                yield _Found(below, kind, path, (*chain, i))
            elif _is_zip(parts[-1]) and len(chain) + 1 < DEEPEST:
                yield from self._zip(path, (*chain, i), below)
            elif _is_zip(parts[-1]):
                deep = Message("grading.files.nested_zip", {"limit": DEEPEST})
                yield _Found(below, "ipynb", path, (*chain, i), deep)
            else:
                continue
            empty = False
        if empty:
            yield _Found(label, "ipynb", path, chain, Message("grading.files.empty_zip", {}))


Stamp = tuple[int, int, int]  # of a file: whether it is still the same


def _ordinary(path: Path) -> Stamp:
    """Make sure that `path` is an ordinary file: to open a pipe or a device may wait for ever."""
    try:
        found = path.stat()
    except OSError as error:
        raise _Problem("grading.files.unreadable", error=_words(error)) from None
    if not stat.S_ISREG(found.st_mode):
        raise _Problem("grading.files.not_a_file")
    return found.st_ino, found.st_mtime_ns, found.st_size


def _opened(path: Path) -> IO[bytes]:
    _ordinary(path)
    try:
        return path.open("rb")
    except OSError as error:
        raise _Problem("grading.files.unreadable", error=_words(error)) from None


def _all_of(file: IO[bytes]) -> bytes:
    """All that is in a file, unless that is too much."""
    try:
        content = file.read(LARGEST + 1)
    except ZIP_ERRORS as error:
        raise _Problem("grading.files.unreadable", error=_words(error)) from None
    if len(content) > LARGEST:
        raise _too_large()
    return content


def _too_large() -> _Problem:
    return _Problem("grading.files.too_large", mebibytes=LARGEST // MIB)


def _unreadable(error: OSError) -> Message:
    return Message("grading.files.unreadable", {"error": _words(error)})


def _words(error: Exception) -> str:
    """What an error says, without the path: it is this machine's."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


# --- zips ------------------------------------------------------------------------------------------------


@lru_cache(maxsize=DEEPEST + 1)
def _archive(path: Path, stamp: Stamp, chain: Chain) -> zipfile.ZipFile:
    """The zip at `path`, or the one within it; a few are kept, since many members follow each other.

    Parameters
    ----------
    path : Path
    stamp : tuple of int
        Of the file at `path`; if that has changed, it is opened anew.
    chain : tuple of int
        Which zip within it.
    """
    file = _unpacked(_archive(path, stamp, chain[:-1]), chain[-1]) if chain else _opened(path)
    try:
        archive = _checked(file)
    except ZIP_ERRORS:
        file.close()
        raise _Problem("grading.files.broken_zip") from None
    except _Problem:
        file.close()
        raise
    weakref.finalize(archive, file.close)
    return archive


def _checked(file: IO[bytes]) -> zipfile.ZipFile:
    """A zip, unless it is made to waste memory or time."""
    if _list_size(file) > LARGEST_LIST:
        raise _Problem("grading.files.too_many", limit=MOST_MEMBERS)
    archive = zipfile.ZipFile(file)
    members = archive.infolist()
    if len(members) > MOST_MEMBERS:
        raise _Problem("grading.files.too_many", limit=MOST_MEMBERS)
    if sum(member.compress_size for member in members) > file.seek(0, os.SEEK_END):  # they share their bytes
        raise _Problem("grading.files.expands")
    return archive


def _list_size(file: IO[bytes]) -> int:
    """Bytes of the list of members, as the end of a zip states it; 0 if it is no zip."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 2**16 - 100))
    tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) < end + 22:
        return 0
    large = end - 76  # of a zip with large numbers: a record of 56 bytes, and 20 that say where it is
    if large >= 0 and tail[large:].startswith(b"PK\6\6"):
        return int.from_bytes(tail[large + 40 : large + 48], "little")
    return int.from_bytes(tail[end + 12 : end + 16], "little")


def _unpacked(archive: zipfile.ZipFile, index: int) -> IO[bytes]:
    """A zip within a zip, in a file without a name."""
    member = archive.infolist()[index]
    if member.file_size > min(LARGEST_ZIP, EXPANSION * member.compress_size + 2**16):
        raise _Problem("grading.files.expands")
    file = tempfile.TemporaryFile()  # noqa: SIM115  (the archive will close it)
    try:
        with _packed(archive, member) as packed:
            shutil.copyfileobj(packed, file, MIB)  # never more than the size that was stated
    except ZIP_ERRORS as error:
        file.close()
        raise _Problem("grading.files.unreadable", error=_words(error)) from None
    except _Problem:
        file.close()
        raise
    return file


def _member(archive: zipfile.ZipFile, index: int) -> bytes:
    """The content of a member."""
    member = archive.infolist()[index]
    if member.file_size > LARGEST:
        raise _too_large()
    with _packed(archive, member) as file:
        return _all_of(file)


def _packed(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    if member.flag_bits & 0x1:
        raise _Problem("grading.files.encrypted")
    if member.compress_type not in PACKED:
        raise _Problem("grading.files.unreadable", error=f"compression method {member.compress_type}")
    try:
        return archive.open(member)
    except ZIP_ERRORS as error:
        raise _Problem("grading.files.unreadable", error=_words(error)) from None


def _name(member: zipfile.ZipInfo, lang: str) -> str:
    """The name of a member, with ``/`` between folders."""
    name = member.orig_filename
    if not member.flag_bits & 0x800:  # not in UTF-8, so `zipfile` has read it as cp437
        with contextlib.suppress(UnicodeEncodeError):  # or has found it elsewhere
            name = _decoded(name.encode("cp437"), lang)
    return (_unicode_name(member.extra) or name).replace("\\", "/")


def _unicode_name(extra: bytes) -> str:
    """The name that some programs add in UTF-8, in a field with the number 0x7075."""
    while len(extra) >= 4:
        number, length = struct.unpack("<HH", extra[:4])
        if number == 0x7075:
            return extra[9 : 4 + length].decode("utf-8", "ignore")  # after a version and a checksum
        extra = extra[4 + length :]
    return ""
