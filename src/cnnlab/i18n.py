"""Words that the package itself says, in the reader's language.

The catalogue of a language is the folder ``locale/<language>``, one file for each part of the package and for
the exercises of each chapter: nested tables, read as dotted keys, so ``[exercises.common]`` with
``passed = "…"`` is ``text("exercises.common.passed")``. Every catalogue has the same keys, and each key the
same ``{placeholders}``. A literal brace is written twice, as in `str.format`.

The prose of the chapters is not here: it stands in the notebooks.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_current = "en"


@cache
def languages() -> tuple[str, ...]:
    """Codes of the languages that have a catalogue, sorted."""
    folders = resources.files("cnnlab").joinpath("locale").iterdir()
    return tuple(sorted(folder.name for folder in folders if folder.is_dir()))


def set_language(lang: str) -> None:
    """Choose the language of everything that `text` returns from now on.

    Raises
    ------
    ValueError
        If there is no catalogue for `lang`.
    """
    global _current
    if lang not in languages():
        raise ValueError(f"unknown language {lang!r}; known languages: {', '.join(languages())}")
    _current = lang


def language() -> str:
    """The language in use; ``"en"`` until one has been chosen."""
    return _current


@contextmanager
def speaking(lang: str) -> Iterator[None]:
    """Within a ``with`` block, use another language; errors as for `set_language`.

    The language is one for the whole process, so this is for one thread at a time.
    """
    before = language()
    set_language(lang)
    try:
        yield
    finally:
        set_language(before)


def text(key: str, **values: object) -> str:
    """The message `key` in the language in use, with `values` put into its placeholders.

    Raises
    ------
    KeyError
        If the catalogue has no such message, or a placeholder of the message is not among `values`.
    """
    messages = catalogue(_current)
    if key not in messages:
        raise KeyError(f"no message {key!r} in the catalogue {_current!r}")
    return messages[key].format(**values)


@cache
def catalogue(lang: str) -> dict[str, str]:
    """All messages of one language, by dotted key."""
    messages: dict[str, str] = {}
    for file in resources.files("cnnlab").joinpath("locale", lang).iterdir():
        if file.name.endswith(".toml"):
            messages.update(_flatten(tomllib.loads(file.read_text(encoding="utf-8"))))
    return messages


def _flatten(table: dict, prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in table.items():
        flat.update(
            _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        )
    return flat
