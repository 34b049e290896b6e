"""What a check says, and how a check is written.

A check is one function per exercise. It gets an `Attempt` and the reader's answer, and states what has to
hold. It returns nothing: the first thing that does not hold ends it, and the decorator makes the `Report`. In
``exercises/convolution.py``::

    from cnnlab.exercises.report import Attempt, check
    from cnnlab.shapes import conv_output_size


    @check("convolution.output_size")
    def check_output_size(attempt: Attempt, answer) -> None:
        for size, kernel_size, stride, padding in ((28, 5, 1, 0), (7, 2, 2, 0), (9, 4, 3, 2)):
            got = attempt.call(answer, size, kernel_size, stride, padding)
            want = conv_output_size(size, kernel_size, stride, padding)
            rounded = -((size + 2 * padding - kernel_size) // -stride) + 1
            once = (size + padding - kernel_size) // stride + 1
            attempt.compare(got, want, mistakes=[(rounded, "rounded_up"), (once, "padding_once")])

and in every ``locale/*/convolution.toml``, with `title` always and the hints that the code names::

    [exercises.convolution.output_size]
    title = "…"
    rounded_up = "…"
    padding_once = "…"

The reader calls ``check_output_size(output_size)`` and sees "passed", "failed" with the hint of the mistake
that was made, or "not answered". A check never raises on an answer, changes neither the answer nor its
arguments (they are copied) and leaves the random generators as they were.

- Not answered is an answer that is, or holds, ``...`` or None, and a function that returns one of them,
  raises NotImplementedError, or stumbles over its own ``...``.
- `Attempt.call` runs the reader's function or class; what it raises is told with the line of the cell.
- `Attempt.compare` looks at shape, kind of element, then values, and says where the first difference is.
  A mistake is ``(wrong, "hint")`` with the wrong result as a value, or as a function that says whether an
  answer is that mistake. With ``reveal=False`` the right value is not told: for answers that are a number
  and not a function.
- `Attempt.require` gives a hint of its own where a condition does not hold; `Attempt.fail` gives it at once.
- `Attempt.criterion` adds a line to a table, with points and hints if wanted; all lines are shown, and all
  have to hold.
- A check may take several answers: ``def check_sizes(attempt, first, second)``.

In messages, text between backticks is shown as code.
"""

import copy
import functools
import html
import inspect
import linecache
import random
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np

from cnnlab.i18n import language, text

SYMBOLS = {"passed": "✓", "failed": "✗", "unanswered": "…"}


class Hint(NamedTuple):
    """Name of a hint, and what fills its placeholders."""

    name: str
    values: Mapping[str, Any] = {}


class Criterion(NamedTuple):
    """A line of the table: what was looked at, whether it holds, what it is worth, hints if it fails."""

    words: str
    holds: bool
    points: int = 0
    hints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """The result of one check, in the language that was in use when it ran.

    Attributes
    ----------
    status : {"passed", "failed", "unanswered"}
    title, verdict : str
        The exercise, and the status in words.
    messages : tuple of str
        Hints, in the order in which to read them.
    criteria : tuple of Criterion
        What was looked at one by one.
    hint : str
        Name of the first hint, such as ``"rounded_up"``; empty where there is none.
    """

    status: str
    title: str
    verdict: str
    messages: tuple[str, ...] = ()
    criteria: tuple[Criterion, ...] = ()
    hint: str = ""
    lang: str = "en"

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    @property
    def score(self) -> int:
        """Points reached; 0 for an exercise without points."""
        return sum(criterion.points for criterion in self.criteria if criterion.holds)

    @property
    def max_score(self) -> int:
        return sum(criterion.points for criterion in self.criteria)

    @property
    def _others(self) -> list[str]:
        """Messages that do not belong to a line of the table."""
        told = {hint for criterion in self.criteria for hint in criterion.hints}
        return [message for message in self.messages if message not in told]

    def __str__(self) -> str:
        lines = [f"{SYMBOLS[self.status]} {self.title}: {self.verdict}{self._total()}"]
        for words, holds, points, hints in self.criteria:
            worth = f" ({points if holds else 0}/{points})" if points else ""
            lines += [f"  {_mark(holds)} {words}{worth}", *(f"      {hint}" for hint in hints)]
        return "\n".join(lines + [f"  {message}" for message in self._others])

    __repr__ = __str__

    def _total(self) -> str:
        return f" {self.score} / {self.max_score}" if self.max_score else ""

    def _repr_html_(self) -> str:
        rows = "".join(map(_row, self.criteria))
        table = f'<table style="color: inherit; margin: 0.4em 0">{rows}</table>' if rows else ""
        hints = "".join(f'<p style="margin: 0.3em 0">{markup(message)}</p>' for message in self._others)
        return (
            f'<div class="cnnlab-report cnnlab-{self.status}" lang="{self.lang}" style="color: inherit; '
            f'border-left: 0.3em {_BORDERS[self.status]} currentColor; padding: 0.2em 0 0.2em 0.8em">'
            f'<p style="margin: 0.3em 0"><span aria-hidden="true">{SYMBOLS[self.status]}</span> '
            f"<strong>{markup(self.title)}</strong> {markup(self.verdict)}{self._total()}</p>{table}{hints}"
            "</div>"
        )


def _row(criterion: Criterion) -> str:
    """A line of the table, with its hints below the words and its points at the end."""
    words, holds, points, hints = criterion
    below = "".join(f'<div style="margin: 0.2em 0 0.4em 0.8em">{markup(hint)}</div>' for hint in hints)
    worth = f"{points if holds else 0}/{points}" if points else ""
    top, left = "vertical-align: top", "text-align: left; white-space: normal"
    return (
        f'<tr><td style="{top}">{_mark(holds)}</td><td style="{top}; {left}">{markup(words)}{below}</td>'
        f'<td style="{top}; text-align: right">{worth}</td></tr>'
    )


_BORDERS = {"passed": "solid", "failed": "double", "unanswered": "dotted"}


class Attempt:
    """What a check does with an answer; see the module's docstring."""

    def __init__(self, name: str):
        self.name = name
        self.criteria: list[Criterion] = []
        self.hints: list[tuple[str, str]] = []  # name and words of those that belong to no failure yet
        self._call = ""
        self._functions: list[Callable] = []

    def call(self, function: Callable, *args: Any, **kwargs: Any) -> Any:
        """Run the reader's `function` on copies of the arguments and return what it returns."""
        if not callable(function):
            self._fail("not_callable", text("exercises.common.not_callable", got=_kind(function)))
        self._call = _call_text(function, args, kwargs)
        self._functions.append(function)
        try:
            result = function(*map(_copy, args), **{name: _copy(value) for name, value in kwargs.items()})
        except (Exception, SystemExit) as error:
            self.raised(error)
        if is_unanswered(result):
            raise _Unanswered
        return result

    def compare(
        self,
        got: Any,
        want: Any,
        *,
        mistakes: Sequence[tuple[Any, str]] = (),
        rtol: float = 1e-5,
        atol: float = 1e-8,
        reveal: bool = True,
        **values: Any,
    ) -> None:
        """Fail unless `got` has the shape, kind of element and values of `want`.

        Parameters
        ----------
        got, want : number, sequence, ndarray or tensor
        mistakes : sequence of (wrong, hint)
            `wrong` is the result of a typical mistake, or a predicate on `got` (as an array).
        rtol, atol : float
            As in `numpy.isclose`; 0 where `want` is of integers.
        reveal : bool
            Tell the right value.
        **values
            For the placeholders of the hints.
        """
        answer, right = as_numbers(got), as_numbers(want)
        if right is None:
            raise TypeError(f"want must be numeric, got {_kind(want)}")
        if answer is None:
            self._fail("not_numeric", text("exercises.common.not_numeric", got=_kind(got)))
        if right.dtype.kind in "biu":
            rtol = atol = 0.0  # whole numbers are right or wrong
        if _same(answer, right, rtol, atol):
            return
        for wrong, hint in mistakes:
            if wrong(answer) if callable(wrong) else _same(answer, as_numbers(wrong), rtol, atol):
                self.fail(hint, **values)
        self._fail(*_difference(answer, right, rtol, atol, reveal))

    def require(self, condition: Any, hint: str, **values: Any) -> None:
        """Fail with `hint` unless `condition` holds."""
        if not condition:
            self.fail(hint, **values)

    def criterion(
        self, key: str, holds: Any, *, points: int = 0, hints: Sequence[Hint] = (), **values: Any
    ) -> bool:
        """Add a line to the table of criteria; the check fails in the end if one of them does not hold.

        Parameters
        ----------
        key : str
            Of the line's words, in the exercise's part of the catalogue; `values` are for its placeholders.
        holds : bool
        points : int
            What it is worth.
        hints : sequence of Hint
        """
        told = tuple(self.remark(name, **filling) for name, filling in hints)
        words = text(f"exercises.{self.name}.{key}", **values)
        self.criteria.append(Criterion(words, bool(holds), points, told))
        return bool(holds)

    def remark(self, hint: str, **values: Any) -> str:
        """Add a hint to those that are shown if the check fails in the end; returns its words."""
        words = text(f"exercises.{self.name}.{hint}", **values)
        self.hints.append((hint, words))
        return words

    def fail(self, hint: str, **values: Any) -> NoReturn:
        """End the check with a hint from the exercise's part of the catalogue."""
        self._fail(hint, text(f"exercises.{self.name}.{hint}", **values))

    def _fail(self, hint: str, *messages: str) -> NoReturn:
        where = (text("exercises.common.for_call", call=self._call),) if self._call else ()
        raise _Failed(hint, (*messages, *where))

    def raised(self, error: BaseException, *functions: Callable) -> NoReturn:
        """Fail with what the reader's code has raised, and where; a place still to be filled is no error."""
        if isinstance(error, NotImplementedError) or "ellipsis" in str(error):
            raise _Unanswered from error
        said = text("exercises.common.raised", error=type(error).__name__, message=first_line(error))
        place = origin(error, *self._functions, *functions)
        if place is None:
            self._fail("raised", said)
        _, line, source = place
        self._fail("raised", said, text("exercises.common.raised_at", line=line, source=source))


def check(name: str) -> Callable[[Callable[..., None]], Callable[..., Report]]:
    """Make a check out of a function that looks at an answer through an `Attempt`.

    Parameters
    ----------
    name : str
        ``<chapter>.<exercise>``: the table below ``[exercises]`` in the catalogues, with at least a `title`.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., Report]:
        @functools.wraps(function)
        def checked(*answers: Any) -> Report:
            attempt = Attempt(name)
            with _nothing_changes():
                status, hint, messages = _run(function, attempt, answers)
            return Report(
                status=status,
                title=text(f"exercises.{name}.title"),
                verdict=text(f"exercises.common.{status}"),
                messages=messages,
                criteria=tuple(attempt.criteria) if status != "unanswered" else (),
                hint=hint,
                lang=language(),
            )

        signature = inspect.signature(function)
        parameters = list(signature.parameters.values())[1:]
        checked.__signature__ = signature.replace(parameters=parameters, return_annotation=Report)  # type: ignore[attr-defined]
        checked.__annotations__ = {**function.__annotations__, "return": Report}
        return checked

    return decorate


def is_unanswered(answer: Any) -> bool:
    """Whether `answer` is, or holds, a place that is still to be filled in: ``...`` or None."""
    if answer is None or answer is ...:
        return True
    if isinstance(answer, dict):
        return any(map(is_unanswered, answer.values()))
    if isinstance(answer, np.ndarray) and answer.dtype == object:
        return any(map(is_unanswered, answer.flat))
    return isinstance(answer, (list, tuple)) and any(map(is_unanswered, answer))


def as_numbers(value: Any) -> np.ndarray | None:
    """`value` as an array of numbers; None if it is something else."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        return None
    return array if array.dtype.kind in "biufc" else None


class _Unanswered(Exception):
    """The answer has not been written yet."""


class _Failed(Exception):
    """The answer does not hold; carries the name of the hint and the messages."""


def _run(function: Callable, attempt: Attempt, answers: tuple) -> tuple[str, str, tuple[str, ...]]:
    """Status, hint and messages."""
    if any(map(is_unanswered, answers)):
        return "unanswered", "", ()
    try:
        function(attempt, *map(_copy, answers))
    except _Unanswered:
        return "unanswered", "", ()
    except _Failed as failure:
        hint, messages = failure.args
        return "failed", hint, messages
    except Exception as error:
        if isinstance(error, NotImplementedError) or "ellipsis" in str(error):
            return "unanswered", "", ()
        said = {"error": type(error).__name__, "message": first_line(error)}
        return ("failed", "cannot_check", (text("exercises.common.cannot_check", **said),))
    if all(criterion.holds for criterion in attempt.criteria):
        return "passed", "", ()
    names, words = [name for name, _ in attempt.hints], tuple(words for _, words in attempt.hints)
    return "failed", names[0] if names else "", words


@contextmanager
def _nothing_changes() -> Iterator[None]:
    """Leave random generators as they were, and torch's settings that hold for a whole process."""
    torch = sys.modules.get("torch")
    python, numpy = random.getstate(), np.random.get_state()
    if torch:
        state, dtype, threads = (
            torch.random.get_rng_state(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
        )
        gradients = torch.is_grad_enabled()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        if torch:
            torch.random.set_rng_state(state)
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(gradients)
            if torch.get_num_threads() != threads:
                torch.set_num_threads(threads)


def _same(answer: np.ndarray, right: np.ndarray | None, rtol: float, atol: float) -> bool:
    if right is None or answer.shape != right.shape or _rank(answer) > _rank(right):
        return False
    return bool(np.all(np.isclose(answer, right, rtol=rtol, atol=atol, equal_nan=True)))


def _rank(array: np.ndarray) -> int:
    """Integers may stand where real numbers are wanted, not the other way round."""
    return {"b": 0, "i": 1, "u": 1, "f": 2, "c": 3}[array.dtype.kind]


def _difference(
    answer: np.ndarray, right: np.ndarray, rtol: float, atol: float, reveal: bool
) -> tuple[str, str]:
    """Name and words of the first difference: shape, kind of element, values."""
    if answer.shape != right.shape:
        return "shape", text("exercises.common.shape", want=_code(right.shape), got=_code(answer.shape))
    close = np.isclose(answer, right, rtol=rtol, atol=atol, equal_nan=True)
    if close.all():
        return "dtype", text("exercises.common.dtype", want=_code(right.dtype), got=_code(answer.dtype))
    index = tuple(int(i) for i in np.argwhere(~close)[0])
    found, wanted = _number(answer[index]), _number(right[index])
    if answer.ndim == 0:
        if reveal:
            return "value", text("exercises.common.scalar", got=found, want=wanted)
        return "value", text("exercises.common.scalar_hidden", got=found)
    if not np.isfinite(answer[index]):
        return "not_finite", text("exercises.common.not_finite", index=_code(_index(index)), got=found)
    counted = {"index": _code(_index(index)), "count": int((~close).sum()), "total": close.size}
    if reveal:
        return "value", text("exercises.common.value", got=found, want=wanted, **counted)
    return "value", text("exercises.common.value_hidden", **counted)


def _copy(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:
        return value


def _sources(function: Callable) -> set[str]:
    """Files in which the reader's function, or class, or instance is written."""
    written = function if inspect.isclass(function) or hasattr(function, "__code__") else type(function)
    members = vars(written).values() if inspect.isclass(written) else [written]
    codes = (getattr(inspect.unwrap(member), "__code__", None) for member in members if callable(member))
    return {code.co_filename for code in codes if code}


def origin(error: BaseException, *functions: Callable) -> tuple[str, int, str] | None:
    """File, line number and line of the reader's code where the error came up, the innermost one."""
    sources = set().union(*map(_sources, functions))
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        name = frame.f_code.co_filename
        if name in sources or "ipykernel" in name or name.startswith("<ipython"):
            source = linecache.getline(name, line).strip().replace("`", "'")
            return (name, line, source) if source else None
    return None


def first_line(error: BaseException) -> str:
    """The error's message, on one line, without addresses in memory, which change from run to run."""
    lines = str(error).strip().splitlines() or [""]
    return re.sub(r" at 0x[0-9a-fA-F]+", "", lines[0])[:200]


def _call_text(function: Callable, args: tuple, kwargs: dict) -> str:
    name = getattr(function, "__name__", type(function).__name__)
    given = [_brief(value) for value in args] + [f"{key}={_brief(value)}" for key, value in kwargs.items()]
    return f"{name}({', '.join(given)})".replace("`", "'")


def _brief(value: Any) -> str:
    """A value as in code where that is short; arrays by their shape."""
    shape = getattr(value, "shape", None)
    if shape is not None and len(tuple(shape)):
        return f"{type(value).__name__}{tuple(int(n) for n in shape)}"
    if isinstance(value, np.generic):
        value = value.item()
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    shown = first_line(ValueError(repr(value)))
    return shown if len(shown) <= 40 else type(value).__name__


def _kind(value: Any) -> str:
    return _code(type(value).__name__)


def _code(value: Any) -> str:
    return f"`{value}`"


def _number(value: Any) -> str:
    return _code(f"{value:.6g}" if isinstance(value, (float, np.floating)) else value)


def _index(index: tuple[int, ...]) -> str:
    return "[" + ", ".join(map(str, index)) + "]"


def _mark(holds: bool) -> str:
    return SYMBOLS["passed" if holds else "failed"]


def markup(words: str) -> str:
    """Escaped, with code between backticks."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", html.escape(words))
