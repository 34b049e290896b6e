"""What of a notebook or a program the answer needs: its bytes in, the statements to run out.

Nothing is executed here. The answer is found by its name in the syntax tree. From its definition one follows
the names that it reads, to imports, functions, classes and constants, and so on; everything else, such as
training, plots and downloads, stays behind. A name is looked up as Python does it when the cells run from the
top: what a statement reads at once, it finds above itself; what the body of a function reads, it finds when
the answer is used.
"""

import __future__

import ast
import builtins
import codecs
import difflib
import io
import json
import re
import symtable
import threading
import tokenize
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain as joined
from typing import Any, Literal, NamedTuple

from cnnlab.grading.results import Message

Kind = Literal["ipynb", "py"]

LONGEST_CELL = 100_000  # characters; a longer one counts as no Python
LONGEST = 300_000  # characters of code in one file, without such cells
MOST_STATEMENTS = 5_000  # outside functions and classes, in one cell
DEEPEST = 300  # operators and brackets within each other
MOST_CHAINED = 1_000  # `elif` and `lambda` in one cell, since each may stand within the one before
MOST_STEPS = 20_000  # when names are followed

_ALONE = threading.Lock()
READY_MADE = ("torchvision.models", "cnnlab.models", "torch.hub")
# The cell's body is Python, run in the notebook's own namespace; the body of other cell magics is not.
PYTHON_CELLS = {"capture", "memit", "prun", "time", "wandb"}
MUTATING = {
    *("add", "append", "clear", "discard", "extend", "insert", "pop", "popitem", "remove", "reverse"),
    *("setdefault", "sort", "update"),
    *("add_module", "register_buffer", "register_module", "register_parameter"),
}
OPERATORS = {"and", "await", "else", "for", "from", "if", "in", "is", "not", "or", "yield"}


@dataclass(frozen=True)
class Piece:
    """A statement to run.

    Attributes
    ----------
    code : str
        The statement, which ends with a line break.
    origin : str
        ``"cell 7"``, counted over the cells with code, as ``[7]`` beside it after all were run from the top;
        or ``"file"``.
    line : int
        The line of the cell or file that `code` begins with, from 1.
    """

    code: str
    origin: str
    line: int


@dataclass(frozen=True)
class Answer:
    """The statements that define the answer, to run in order, and what ready-made network they use.

    Attributes
    ----------
    source : tuple of Piece
        ``from __future__ import …`` stand first and hold for all that follow.
    wraps : str
        One of `READY_MADE`, or nothing.
    unread : Message or None
        Why a cell further below that defines the answer again was left out: it is no Python. So it never took
        the place of the definition above it.
    """

    source: tuple[Piece, ...]
    wraps: str = ""
    unread: Message | None = None


class NotAnAnswer(Exception):
    """There is nothing to run.

    Attributes
    ----------
    status : str
        ``"missing"``: no such name. ``"invalid"``: no notebook, or no text. ``"error"``: the cell with the
        answer is no Python.
    message : Message or None
        What else there is to say.
    """

    def __init__(self, status: str, message: Message | None = None) -> None:
        super().__init__(status, message)
        self.status = status
        self.message = message

    def __str__(self) -> str:
        return f"{self.status}: {self.message.key} {self.message.values}" if self.message else self.status


def extract(content: bytes, kind: Kind, name: str = "MyAlexNet") -> Answer:
    """The statements that define `name`, and what they need.

    The last definition outside functions and classes counts: a class, a function, an import or an
    assignment.

    Parameters
    ----------
    content : bytes
        A notebook (nbformat 3 or 4) or a Python program, whatever its encoding.
    kind : {"ipynb", "py"}
    name : str

    Raises
    ------
    NotAnAnswer
        If there is nothing to run; no other exception, whatever the bytes are.
    """
    with _ALONE, warnings.catch_warnings():  # which are one for all threads
        warnings.simplefilter("ignore")  # of "\d" and the like: they are for those who wrote it
        try:
            return _answer(_cells(content, kind), kind, name)
        except (RecursionError, MemoryError):
            raise NotAnAnswer("error", Message("grading.answer.too_complex", {})) from None


# --- cells -----------------------------------------------------------------------------------------------


class _Cell(NamedTuple):
    """Code as it was written, and the number of its cell; 0 for a file without cells."""

    number: int
    text: str

    @property
    def origin(self) -> str:
        return f"cell {self.number}" if self.number else "file"

    def raised(self, error: Exception, line: int = 1) -> Message:
        """What Python says about the code."""
        values: dict[str, str | int | float] = {"line": line, "error": type(error).__name__}
        values["message"] = error.msg if isinstance(error, SyntaxError) else str(error)
        if self.number:
            return Message("grading.messages.raised_in_cell", {"cell": self.number, **values})
        return Message("grading.messages.raised_in_line", values)


def _cells(content: bytes, kind: Kind) -> list[_Cell]:
    """The cells with code, or the whole program as one; their code has ``\\n`` at the ends of lines."""
    if not content.strip(b"\0\t\n\r "):
        raise NotAnAnswer("invalid", Message("grading.answer.empty", {}))
    if kind == "py" and len(content) > 4 * LONGEST:
        raise _too_long()
    sources = [_decoded(content, kind)] if kind == "py" else _sources(_decoded(content, kind))
    if sum(len(source) for source in sources if kind == "py" or len(source) <= LONGEST_CELL) > LONGEST:
        raise _too_long()
    texts = [source.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff") for source in sources]
    # A lone half of a surrogate pair cannot be written in UTF-8, so Python's parser would refuse it.
    texts = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    if kind == "py":
        return [_Cell(0, texts[0])]
    return [_Cell(i, _notebook_only(text)) for i, text in enumerate(filter(str.strip, texts), start=1)]


def _too_long() -> NotAnAnswer:
    return NotAnAnswer("invalid", Message("grading.answer.too_long", {"limit": LONGEST}))


def _decoded(content: bytes, kind: Kind) -> str:
    """Text in the encoding that a mark at its beginning names, or in which it is likely to be."""
    marks = (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")
    encodings = [encoding for mark, encoding in marks if content.startswith(mark)][:1]
    if kind == "py" and not encodings:
        try:
            encodings = [tokenize.detect_encoding(io.BytesIO(content).readline)[0]]
        except SyntaxError:  # not what it says it is
            encodings = []
    for encoding in [*encodings, "utf-8", "cp932", "cp949"]:
        try:
            return content.decode(encoding).removeprefix("\ufeff")
        except (ValueError, LookupError):  # LookupError: a codec that does not give text
            continue
    return content.decode("utf-8", "replace").removeprefix("\ufeff")


def _sources(notebook: str) -> list[str]:
    """The code of a notebook's cells. Whatever does not look like a cell with code is left out."""
    try:
        # No number of a notebook matters, and Python refuses to read very long integers.
        tree = json.loads(notebook, parse_int=float)
    except (ValueError, RecursionError):
        raise NotAnAnswer("invalid", Message("grading.answer.not_json", {})) from None
    cells = tree.get("cells", tree.get("worksheets")) if isinstance(tree, dict) else None
    if not isinstance(cells, list):
        raise NotAnAnswer("invalid", Message("grading.answer.no_cells", {}))
    if "cells" not in tree:  # nbformat 3
        sheets = [sheet.get("cells") for sheet in cells if isinstance(sheet, dict)]
        cells = [cell for sheet in sheets if isinstance(sheet, list) for cell in sheet]
    return [
        _joined(cell.get("source", cell.get("input")))
        for cell in cells
        if isinstance(cell, dict) and cell.get("cell_type") == "code"
    ]


def _joined(source: Any) -> str:
    """A cell's source, which is text or a list of lines."""
    lines = source if isinstance(source, list) else [source]
    return "".join(line for line in lines if isinstance(line, str))


# --- from IPython to Python ------------------------------------------------------------------------------

_CELL_MAGIC = re.compile(r"\s*%%(\S*)[^\n]*")
_INDENT = re.compile(r"(?:[ \t]*\n)*([ \t]+)(?=\S)")
_REST = r"(?:\\\n|[^\n])*"  # of the line, and of the lines that continue it
_MAGIC = re.compile(
    rf"""(?P<indent>[ \t]*)(?:
        (?P<target>[^\n=!%\#"'()]+=[ \t]*)? [%!] {_REST}                      # %magic, !shell, x = !shell
      | \?{_REST}                                                             # ?name
      | (?:[\w., \t]*=[ \t]*)? %{{0,2}} [\w.*\[\]]+ \?{{1,2}} [ \t]* (?=\n|\Z)  # name?
    )""",
    re.VERBOSE,
)
_TOKEN = re.compile(
    r"""
        (?P<triple>\"{3}|'{3})
      | (?P<string>"(?:[^"\\\n]|\\[\s\S])*"?|'(?:[^'\\\n]|\\[\s\S])*'?)
      | (?P<nothing>\#[^\n]*|\\\n|[^\S\n]+)
      | (?P<newline>\n)
      | (?P<open>[(\[{])
      | (?P<close>[)\]}])
      | (?P<parts>[,;])
      | (?P<word>\w+)
      | (?P<operator>.)
    """,
    re.VERBOSE,
)
_QUOTES = {quote: re.compile(rf"\\[\s\S]|{quote}") for quote in ('"""', "'''")}


def _notebook_only(text: str) -> str:
    """A cell without what only a notebook has around it: cell magics, and an indentation of the whole."""
    while magic := _CELL_MAGIC.match(text):
        if magic[1] not in PYTHON_CELLS:
            return ""
        text = "\n" * magic[0].count("\n") + text[magic.end() :]
    if indent := _INDENT.match(text):
        text = re.sub(rf"^{indent[1]}", "", text, flags=re.MULTILINE)
    return text


class _Depth:
    """An upper bound of how deep expressions are nested: what stands before a comma is over after it."""

    def __init__(self) -> None:
        self.levels = [0]  # operators since the last comma, within each open bracket
        self.now = self.deepest = self.chained = 0

    def see(self, kind: str, token: str) -> None:
        """Take one token into account."""
        if kind == "close" and self.open:
            self.now -= self.levels.pop()
        elif kind == "parts":
            self.now -= self.levels[-1]
            self.levels[-1] = 0
        elif kind in ("open", "operator") or token in OPERATORS:
            self.levels[-1] += 1
            self.now += 1
            self.deepest = max(self.deepest, self.now)
        if kind == "open":
            self.levels.append(0)
        self.chained += token in ("elif", "lambda")

    @property
    def open(self) -> bool:
        """Whether a bracket is open."""
        return len(self.levels) > 1

    def end(self) -> None:
        """A statement, or the first line of a compound one, is over."""
        self.levels, self.now = [0], 0

    @property
    def too_deep(self) -> bool:
        return self.deepest > DEEPEST or self.chained > MOST_CHAINED


def _python(text: str) -> tuple[str, _Depth]:
    """The cell with ``pass`` for magics, with all lines where they were; and how deep it is nested.

    A magic is one only where a statement can begin, not within brackets, a string or a continued line.
    """
    depth, parts, position = _Depth(), [], 0
    while position < len(text):
        if magic := _MAGIC.match(text, position):
            parts.append(magic["target"] or magic["indent"])
            parts.append("None" if magic["target"] else "pass")
            parts.append("\n" * magic[0].count("\n"))
            position, start = magic.end(), magic.end()
        else:
            start = position
        position = _end_of_statement(text, position, depth)
        parts.append(text[start:position])
    return "".join(parts), depth


def _end_of_statement(text: str, position: int, depth: _Depth) -> int:
    """Where the logical line that begins at `position` ends, its line break included."""
    while token := _TOKEN.match(text, position):
        kind, position = str(token.lastgroup), token.end()
        if kind == "newline" and not depth.open:
            break
        if kind == "triple":
            marks = _QUOTES[token[0]].finditer(text, position)
            position = next((mark.end() for mark in marks if mark[0] == token[0]), len(text))
        depth.see(kind, token[0])
    depth.end()
    return position


# --- statements ------------------------------------------------------------------------------------------

Chain = tuple[str, ...]  # of names: a.b.c
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_IMPORTS = (ast.Import, ast.ImportFrom)
_DEFINITIONS = (*_FUNCTIONS, ast.ClassDef, *_IMPORTS)
_TRIES = (ast.Try, ast.TryStar) if hasattr(ast, "TryStar") else (ast.Try,)  # TryStar: Python 3.11
_BLOCKS = (ast.If, *_TRIES, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Match)
_BUILTINS = set(dir(builtins))
_SCOPES = {"listcomp", "setcomp", "dictcomp", "genexpr"}  # evaluated where they stand


class _Reads(NamedTuple):
    """What a statement reads when it is run, and what the functions in it read when they are called."""

    now: set[Chain]
    later: set[Chain]


class _Statement:
    """A statement outside functions and classes; of an import with several names, one of them.

    Attributes
    ----------
    bound : set of str
        Names that may be bound when it is run.
    strong : set of str
        Those that it is there to bind; not those that happen to be bound by a loop.
    certain : set of str
        Those that are bound whenever it is run.
    lazy : bool
        Whether annotations are not evaluated.
    """

    def __init__(self, node: ast.stmt, code: str, cell: _Cell, line: int) -> None:
        self.node, self.code, self.cell, self.line = node, code, cell, line
        self.bound = _bound(node)
        self.strong = self.certain = set() if isinstance(node, ast.Expr) else self.bound
        if isinstance(node, _BLOCKS):
            self.strong, self.certain = _strong(node), _certain(node)
        self.lazy = False

    @property
    def module(self) -> Chain:
        """``a.b.c`` of ``import a.b.c``, which binds only ``a``; nothing for other statements."""
        if isinstance(self.node, ast.Import) and not self.node.names[0].asname:
            return tuple(self.node.names[0].name.split("."))
        return ()

    @property
    def star(self) -> bool:
        return isinstance(self.node, ast.ImportFrom) and self.node.names[0].name == "*"

    @property
    def future(self) -> bool:
        return isinstance(self.node, ast.ImportFrom) and self.node.module == "__future__"

    @property
    def piece(self) -> Piece:
        return Piece(self.code + "\n", self.cell.origin, self.line)

    @cached_property
    def reads(self) -> _Reads:
        """Global names that it reads.

        Raises
        ------
        SyntaxError
            If Python cannot tell, such as after ``nonlocal x`` outside a function.
        """
        first: dict[str, bool] = {}
        for name, stored in _events(self.node, self.lazy):
            first.setdefault(name, stored)
        header = "from __future__ import annotations\n" if self.lazy else ""
        inner, later = _global_names(symtable.symtable(header + self.code + "\n", self.cell.origin, "exec"))
        now = {name for name in first if not first[name]} | (inner - first.keys())
        chains = _chains(self.node)
        return _Reads(*({c for n in names for c in chains.get(n, {(n,)})} for names in (now, later)))


def _events(node: ast.AST, lazy: bool = False) -> Iterator[tuple[str, bool]]:
    """Names in the order in which they are read (False) and bound (True) when `node` is run.

    What stands in the bodies of functions and comprehensions is left out.
    """
    if isinstance(node, ast.Name):
        yield node.id, isinstance(node.ctx, ast.Store)
    for part in _in_order(node, lazy):
        yield from _events(part, lazy)
    if isinstance(node, ast.ClassDef):
        own = set()
        for name, stored in joined.from_iterable(_events(part, lazy) for part in node.body):
            if stored:
                own.add(name)
            elif name not in own:
                yield name, False
    if isinstance(node, _IMPORTS):
        yield from ((alias.asname or alias.name.split(".")[0], True) for alias in node.names)
    elif isinstance(node, (*_FUNCTIONS, ast.ClassDef, ast.MatchStar, ast.MatchAs)) and node.name:
        yield node.name, True
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest, True


def _in_order(node: ast.AST, lazy: bool) -> Iterable[ast.AST]:
    """The parts of `node` that are evaluated with it, in that order."""
    parts: list[Any]
    if not node._fields or isinstance(node, ast.Name | ast.Constant):  # most nodes
        return ()
    match node:
        case ast.Assign():
            parts = [node.value, *node.targets]
        case ast.AugAssign():
            loaded = [ast.Name(node.target.id, ast.Load())] if isinstance(node.target, ast.Name) else []
            parts = [*loaded, node.value, node.target]
        case ast.AnnAssign():
            parts = [None if lazy else node.annotation, node.value, node.value and node.target]
        case ast.NamedExpr():
            parts = [node.value, node.target]
        case ast.For() | ast.AsyncFor():
            parts = [node.iter, node.target, *node.body, *node.orelse]
        case ast.ExceptHandler():
            caught = [ast.Name(node.name, ast.Store())] if node.name else []
            parts = [node.type, *caught, *node.body]
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            named = [part for part in ast.walk(node) if isinstance(part, ast.NamedExpr)]
            parts = [node.generators[0].iter, *(part.target for part in named)]
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            parts = [*node.decorator_list, node.args, None if lazy else node.returns]
        case ast.ClassDef():
            parts = [*node.decorator_list, *node.bases, *node.keywords]
        case ast.Lambda():
            parts = [node.args]
        case ast.arg():
            parts = [None if lazy else node.annotation]
        case _:
            return ast.iter_child_nodes(node)
    return [part for part in parts if part is not None]


def _global_names(table: symtable.SymbolTable, called: bool = False) -> tuple[set[str], set[str]]:
    """Global names that comprehensions read at once, and that functions read when they are called."""
    now: set[str] = set()
    later: set[str] = set()
    kind, name = str(table.get_type()), table.get_name().strip("<>")
    called = called or (kind not in ("module", "class", "type parameters") and name not in _SCOPES)
    if called or name in _SCOPES:
        read = {
            symbol.get_name()
            for symbol in table.get_symbols()
            if symbol.is_global() and (symbol.is_referenced() or symbol.is_declared_global())
        }
        (later if called else now).update(read)
    for child in table.get_children():
        inner_now, inner_later = _global_names(child, called)
        now |= inner_now
        later |= inner_later
    return now, later


def _chains(node: ast.AST) -> dict[str, set[Chain]]:
    """All ``a`` and ``a.b.c`` in `node`, by their first name."""
    found: dict[str, set[Chain]] = {}
    within: set[ast.AST] = set()  # a longer one
    for part in ast.walk(node):
        if part in within:
            continue
        names: list[str] = []
        while isinstance(part, ast.Attribute):
            names.append(part.attr)
            part = part.value
            within.add(part)
        if isinstance(part, ast.Name):
            found.setdefault(part.id, set()).add((part.id, *reversed(names)))
    return found


def _bound(node: ast.AST) -> set[str]:
    return {name for name, stored in _events(node) if stored}


def _strong(node: ast.stmt, only_definitions: bool = False) -> set[str]:
    """Names that a statement is there to bind; of loops and the like only functions, classes and imports."""
    if isinstance(node, _BLOCKS):
        program = isinstance(node, ast.If) and "__name__" in _chains(node.test)
        by_chance = only_definitions or program or not isinstance(node, (ast.If, *_TRIES))
        return set().union(*(_strong(part, by_chance) for block in _blocks(node) for part in block))
    if isinstance(node, ast.Expr) or (only_definitions and not isinstance(node, _DEFINITIONS)):
        return set()
    return _bound(node)


def _certain(node: ast.stmt) -> set[str]:
    """Names that are bound whichever way a statement is run through."""
    if not isinstance(node, _BLOCKS):
        return set() if isinstance(node, ast.Expr) else _bound(node)
    blocks = [set().union(*map(_certain, block)) for block in _blocks(node)]
    if isinstance(node, ast.With):
        return blocks[0]
    if isinstance(node, ast.If) and (node.orelse or isinstance(node.test, ast.Constant)):
        return set.intersection(*blocks) if blocks else set()
    if isinstance(node, _TRIES) and not node.finalbody:
        ways = [set().union(*map(_certain, [*node.body, *node.orelse]))]
        ways += [set().union(*map(_certain, handler.body)) for handler in node.handlers]
        return set.intersection(*ways)
    return set()


def _blocks(node: ast.stmt) -> list[list[ast.stmt]]:
    """The blocks of a compound statement, without those that ``if True`` or ``if False`` leave out."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Constant):
        return [block for block in [node.body if node.test.value else node.orelse] if block]
    inner = [*getattr(node, "handlers", ()), *getattr(node, "cases", ())]
    blocks = [getattr(node, name, []) for name in ("body", "orelse", "finalbody")]
    return [block for block in [*blocks, *(part.body for part in inner)] if block]


def _mutated(node: ast.stmt) -> set[str]:
    """Names whose objects a statement changes: ``x.a = …``, ``x[0] = …``, ``x.append(…)``, ``setattr(x, …)``.

    So does a decorator with the name as its argument, as in ``@add_to_class(MyAlexNet)``, or a method of it.
    """
    roots: list[str | None] = []
    waiting: list[ast.AST] = [node]
    while waiting:
        part = waiting.pop()
        whole = isinstance(part, _COMPREHENSIONS)
        waiting += ast.iter_child_nodes(part) if whole else _in_order(part, lazy=True)
        match part:
            case ast.Attribute(ctx=ast.Store() | ast.Del()) | ast.Subscript(ctx=ast.Store() | ast.Del()):
                roots.append(_root(part))
            case ast.Call(func=ast.Attribute(value=value, attr=name)):
                in_place = name.endswith("_") and not name.startswith("_")  # as methods of tensors are named
                roots.append(_root(value) if name in MUTATING or in_place else None)
            case ast.Call(func=ast.Name(id="setattr" | "delattr"), args=[changed, *_]):
                roots.append(_root(changed))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                for decorator in part.decorator_list:
                    if isinstance(decorator, ast.Call):
                        roots += [_root(argument) for argument in decorator.args]
                        decorator = decorator.func
                    roots.append(_root(decorator) if isinstance(decorator, ast.Attribute) else None)
    return {root for root in roots if root}


def _root(node: ast.AST) -> str | None:
    """``a`` of ``a.b[0].c``."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


# --- from cells to statements ----------------------------------------------------------------------------


class _Broken(NamedTuple):
    """A cell that is no Python, and why."""

    cell: _Cell
    reason: Message


def _statements(cell: _Cell) -> list[_Statement] | _Broken:
    """The statements of a cell; those of IPython are gone."""
    if cell.number and len(cell.text) > LONGEST_CELL:
        return _Broken(cell, Message("grading.answer.too_long", {"limit": LONGEST_CELL}))
    code, depth = _python(cell.text)
    if depth.too_deep:
        return _Broken(cell, Message("grading.answer.too_complex", {}))
    for text in dict.fromkeys((cell.text, code)):  # what is Python already is not touched
        try:
            tree = ast.parse(text)
        except SyntaxError as error:
            broken = _Broken(cell, cell.raised(error, error.lineno or 1))
        except ValueError as error:  # a null character
            broken = _Broken(cell, cell.raised(error))
        except (RecursionError, MemoryError):
            broken = _Broken(cell, Message("grading.answer.too_complex", {}))
        else:
            lines = text.split("\n")
            if len(tree.body) > MOST_STATEMENTS:
                return _Broken(cell, Message("grading.answer.too_complex", {}))
            return [statement for node in tree.body for statement in _split(node, lines, cell)]
    return broken


def _split(node: ast.stmt, lines: list[str], cell: _Cell) -> Iterator[_Statement]:
    """The statement `node`, or one for each name that it imports."""
    if isinstance(node, _IMPORTS):
        for alias in node.names:
            if isinstance(node, ast.Import):
                part: ast.stmt = ast.Import([alias])
            else:
                part = ast.ImportFrom(node.module, [alias], node.level)
            yield _Statement(part, ast.unparse(part), cell, alias.lineno)
        return
    first = min(getattr(node, "decorator_list", ()), key=lambda part: part.lineno, default=node).lineno
    code = [line.encode() for line in lines[first - 1 : node.end_lineno]]
    code[-1] = code[-1][: node.end_col_offset]
    if first == node.lineno:
        code[0] = code[0][node.col_offset :]  # after a semicolon
    yield _Statement(node, b"\n".join(code).decode(), cell, first)


# --- what the answer needs -------------------------------------------------------------------------------


def _answer(cells: list[_Cell], kind: Kind, name: str) -> Answer:
    """The answer in these cells; what is raised is that of `extract`."""
    statements: list[_Statement] = []
    broken: list[_Broken] = []
    for cell in cells:
        found = _statements(cell)
        if isinstance(found, _Broken):
            broken.append(found)
        else:
            statements += found
    futures = _futures(statements)
    for statement in statements:
        statement.lazy = any(future.bound == {"annotations"} for future in futures)
    program = _Program(statements)
    unread = _unread(name, broken)
    if name not in program.bound:
        raise NotAnAnswer("error", unread.reason) if unread else _missing(name, statements)
    kept = program.needed(name, program.last_use(name) if kind == "ipynb" else len(statements))
    pieces = [statement.piece for statement in [*futures, *kept]]
    wraps = _ready_made([statement.node for statement in kept], program.unknown)
    below = unread and unread.cell.number > max(statement.cell.number for statement in kept)
    return Answer(tuple(pieces), wraps, unread.reason if unread and below else None)


def _futures(statements: list[_Statement]) -> list[_Statement]:
    """``from __future__ import …``, each once, as far as this Python knows it."""
    found = [s for s in statements if s.future and s.bound < set(__future__.all_feature_names)]
    return list({s.code: s for s in found}.values())


def _unread(name: str, broken: list[_Broken]) -> _Broken | None:
    """The last of the broken cells that seems to define `name`."""
    word = re.escape(name)
    definition = re.compile(rf"^[ \t]*((class|def)[ \t]+{word}\b|{word}[ \t]*=(?!=))", re.MULTILINE)
    return next((cell for cell in reversed(broken) if definition.search(cell.cell.text)), None)


def _missing(name: str, statements: list[_Statement]) -> NotAnAnswer:
    """There is no `name`, but perhaps one that is nearly the same."""
    classes = [s.node.name for s in statements if isinstance(s.node, ast.ClassDef) and len(s.node.name) < 50]
    if similar := difflib.get_close_matches(name, classes[:1_000], n=1, cutoff=0.75):
        return NotAnAnswer("missing", Message("grading.answer.similar", {"found": similar[0], "name": name}))
    return NotAnAnswer("missing")


def _unreadable(statement: _Statement, error: SyntaxError) -> NotAnAnswer:
    """The answer itself breaks a rule that Python finds only after it has read the syntax."""
    line = statement.line + (error.lineno or 1) - 1 - statement.lazy
    return NotAnAnswer("error", statement.cell.raised(error, line))


class _Program:
    """All statements of a file in their order, and which names each of them binds and changes.

    Attributes
    ----------
    unknown : set of str
        Names that were looked for and not found.
    """

    def __init__(self, statements: list[_Statement]) -> None:
        self.statements = statements
        self.bound: dict[str, list[int]] = {}
        self.mutated: dict[str, list[int]] = {}
        self.stars = [i for i, statement in enumerate(statements) if statement.star]
        self.unknown: set[str] = set()
        self.steps = 0
        for i, statement in enumerate(statements):
            for name in statement.bound - {"*"}:
                self.bound.setdefault(name, []).append(i)
            for name in _mutated(statement.node):
                self.mutated.setdefault(name, []).append(i)

    def binders(self, chain: Chain, before: int) -> list[int]:
        """Which of the first `before` statements give ``chain[0]`` the value that it has after them.

        Where the last one may not have bound it, such as in ``try: import x``, the ones before it are needed
        too. A loop counts only if nothing else binds the name. ``import a.b`` counts for ``a.b.c``, and for
        another ``a.…`` only if nothing else does.
        """
        found: list[int] = []
        loops: list[int] = []
        modules: dict[Chain, int] = {}
        for i in reversed(self.bound.get(chain[0], ())):
            statement = self.statements[i]
            if i >= before or not self.step():
                continue
            if statement.module:
                modules.setdefault(statement.module, i)
                continue
            if modules:
                break
            (found if chain[0] in statement.strong else loops).append(i)
            if chain[0] in statement.certain:
                break
        if modules:
            suits = {module: i for module, i in modules.items() if module == chain[: len(module)]}
            nearest = max(modules, key=lambda module: module[1:2] == chain[1:2])
            found += suits.values() or [modules[nearest]]
        return found or loops[:1]

    def last_use(self, name: str) -> int:
        """How many statements have been run when `name` is defined and was mentioned for the last time."""
        first, end = self.binders((name,), len(self.statements))[0], len(self.statements)
        names = {name}
        if isinstance(node := self.statements[first].node, ast.Assign) and isinstance(node.value, ast.Name):
            names.add(node.value.id)  # MyAlexNet = Net
        uses = (i for i in reversed(range(first, end)) if names & _chains(self.statements[i].node).keys())
        return 1 + next(uses, first)

    def needed(self, name: str, last: int) -> list[_Statement]:
        """The statements that define `name` and what it needs, in their order.

        Parameters
        ----------
        name : str
        last : int
            How many statements have been run when `name` is used. What functions read is looked up there;
            what is not found may stand further below.
        """
        roots = self.binders((name,), len(self.statements))
        kept: set[int] = set()
        early: set[int] = set()  # imports that stand below what needs them
        seen: set[tuple[int, int]] = set()
        waiting = [(i, last) for root in roots for i in [root, *self._changes(name, root, last)]]
        while waiting:
            item = waiting.pop()
            if item in seen:
                continue
            seen.add(item)
            index, used = item
            try:
                reads = self.statements[index].reads
            except SyntaxError as error:
                if index in roots:
                    raise _unreadable(self.statements[index], error) from None
                continue
            kept.add(index)
            wanted = [(chain, index) for chain in reads.now]
            wanted += [(chain, time) for chain in reads.later for time in {used, last}]
            for chain, time in wanted:
                found = self.binders(chain, time)
                if not found and chain[0] not in _BUILTINS:
                    found = self._below(chain[0], time, imports_only=time != last)
                    if time == index:
                        early.update(found)
                    found = found or self._stars(chain[0], time)
                waiting += [(i, time) for i in found]
                waiting += [(i, last) for binder in found for i in self._changes(chain[0], binder, last)]
        return [self.statements[i] for i in sorted(kept, key=lambda i: (i not in early, i))]

    def _below(self, name: str, after: int, *, imports_only: bool) -> list[int]:
        """The first statement from `after` on that binds `name`."""
        indices = [i for i in self.bound.get(name, ()) if i >= after]
        if imports_only:
            indices = [i for i in indices if isinstance(self.statements[i].node, _IMPORTS)]
        return [i for i in indices if name in self.statements[i].strong][:1] or indices[:1]

    def _stars(self, name: str, before: int) -> list[int]:
        """The ``from … import *`` that may bind `name`."""
        self.unknown.add(name)
        return [i for i in self.stars if i < before] or self.stars

    def _changes(self, name: str, binder: int, last: int) -> list[int]:
        """Which of the first `last` statements change what `binder` has bound to `name`.

        Of a class or a function, changes further below count too; of what is imported, none does.
        """
        node = self.statements[binder].node
        if isinstance(node, _IMPORTS):
            return []
        again = [i for i in self.bound[name] if i > binder and name in self.statements[i].certain][:1]
        end = min([*again, len(self.statements) if isinstance(node, _DEFINITIONS) else last])
        return [i for i in self.mutated.get(name, ()) if binder < i < end and self.step()]

    def step(self) -> bool:
        """Count; a program made to keep the grader busy is given up.

        Raises
        ------
        NotAnAnswer
            After `MOST_STEPS`.
        """
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise NotAnAnswer("error", Message("grading.answer.too_complex", {}))
        return True


# --- ready-made networks ---------------------------------------------------------------------------------


def _ready_made(nodes: list[ast.stmt], unknown: set[str]) -> str:
    """Which of `READY_MADE` these statements use, if any.

    Parameters
    ----------
    nodes : list
        The statements.
    unknown : set of str
        Names that can only come from ``from … import *``.
    """
    parts = list(joined.from_iterable(map(ast.walk, nodes)))
    paths: dict[str, str] = {}  # names of modules, and of what is in them, in full
    for part in parts:
        match part:
            case ast.Import():
                for alias in part.names:
                    full = alias.name if alias.asname else alias.name.split(".")[0]
                    paths[alias.asname or full] = full
            case ast.ImportFrom(module=str(module)):
                paths |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in part.names}
            case ast.Assign(targets=[ast.Name(id=name)]) if path := _path(part.value, paths):
                paths[name] = path
    used = {path for path in paths.values() if not path.endswith(".*")}
    used |= {path for part in parts if isinstance(part, ast.expr) and (path := _path(part, paths))}
    texts = {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    used |= {text for text in texts if re.fullmatch(r"[\w.]+", text)}  # sys.modules["torchvision.models"]
    if any("alexnet" in name.lower() for name in unknown):
        used |= set(paths.values())  # what is imported with a star
    for ready in READY_MADE:
        if any(path == ready or path.startswith(f"{ready}.") for path in used):
            return ready
    # Other modules of this package import the model too.
    return "cnnlab.models" if any(re.match(r"cnnlab\b.*\.(Slim)?AlexNet\b", path) for path in used) else ""


def _path(node: ast.AST, paths: dict[str, str]) -> str:
    """The module or attribute that an expression names, in full; nothing where that cannot be told."""
    match node:
        case ast.Name(id=name):
            return paths.get(name, "")
        case ast.Attribute(value=value, attr=name):
            owner = _path(value, paths)
            return owner and f"{owner}.{name}"
        case ast.Call(func=ast.Name(id="getattr"), args=[value, ast.Constant(value=str(name)), *_]):
            owner = _path(value, paths)
            return owner and f"{owner}.{name}"
        case ast.Call(func=ast.Name(id="__import__"), args=[ast.Constant(value=str(name)), *_]):
            return name.split(".")[0]
        case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]):
            return name if _path(function, paths) == "importlib.import_module" else ""
    return ""
