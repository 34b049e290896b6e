"""What all widgets share: traits that say what they may be, the JavaScript they run, and what stands in their
place where none runs.

The modules import each other by relative address. The site has them side by side; a notebook gets one text
in which each of these addresses is replaced by the module itself (`linked`).
"""

import base64
import html
import json
import re
from functools import cache
from importlib import resources
from typing import Any, ClassVar

import anywidget
import numpy as np
import traitlets

from cnnlab import i18n
from cnnlab.figures.style import variables

IMPORT = re.compile(r'(?<=from ")\./([a-z_]+\.mjs)(?=")')
DARK = (
    'body[data-jp-theme-light="false"]',
    "html[theme=dark]",
    "body.vscode-dark",
    'html[data-theme="dark"]',
)


@cache
def source(name: str) -> str:
    """The text of a file of this folder."""
    return resources.files("cnnlab.widgets").joinpath(name).read_text(encoding="utf-8")


@cache
def linked(name: str) -> str:
    """A module with all that it imports inside it, as addresses that hold the text itself."""

    def inside(match: re.Match[str]) -> str:
        text = base64.b64encode(linked(match[1]).encode()).decode()
        return f"data:text/javascript;base64,{text}"

    return IMPORT.sub(inside, source(name))


@cache
def style() -> str:
    """The style sheet, with the colours of the figures for light and dark notebooks."""
    light, dark = variables()
    selectors = ", ".join(f"{selector} .cw" for selector in DARK)
    return f":where(.cw){{{light}}}\n:where({selectors}){{{dark}}}\n{source('widgets.css')}"


class Grid(traitlets.TraitType):
    """A table of numbers: any array-like with two axes; kept as a list of rows.

    Parameters
    ----------
    rows, cols : (int, int)
        The fewest and the most that there may be.
    min, max : float
        Bounds of each number.
    """

    info_text = "a table of numbers"

    def __init__(self, default: Any, *, rows=(1, 8), cols=(1, 8), min=-99, max=99, **options: Any):
        self.rows, self.cols, self.min, self.max = rows, cols, min, max
        super().__init__(self._checked(default), **options)

    def make_dynamic_default(self) -> list:
        return [list(row) for row in self.default_value]

    def validate(self, obj: Any, value: Any) -> list[list[float]]:
        try:
            return self._checked(value)
        except (TypeError, ValueError) as error:
            raise traitlets.TraitError(f"{self.name}: {error}") from None

    def _checked(self, value: Any) -> list[list[float]]:
        array = np.asarray(value)
        if array.ndim != 2 or array.dtype.kind not in "biuf":
            raise ValueError(f"wanted a table of numbers, got {array.ndim} axes of {array.dtype}")
        for axis, (low, high), length in zip(("rows", "columns"), (self.rows, self.cols), array.shape):
            if not low <= length <= high:
                raise ValueError(f"wanted {low} to {high} {axis}, got {length}")
        if not np.isfinite(array).all() or array.min() < self.min or array.max() > self.max:
            raise ValueError(
                f"wanted numbers from {self.min} to {self.max}, got {array.min()} to {array.max()}"
            )
        return array.tolist()


class Widget(anywidget.AnyWidget):
    """The base of all widgets. A subclass names its module and tags its traits with ``sync=True``.

    Attributes
    ----------
    labels : dict of str
        What the widget says, in the language that `cnnlab.setup` chose.
    spec : dict
        What each trait may be, with the value to which the reset button returns.
    """

    module: ClassVar[str]  # conv_explorer, for conv_explorer.mjs and the labels in widgets.toml

    labels = traitlets.Dict().tag(sync=True)
    spec = traitlets.Dict().tag(sync=True)

    def __init__(self, **values: Any) -> None:
        own = self._state_names()
        if unknown := values.keys() - own:
            raise TypeError(
                f"{type(self).__name__} has no {', '.join(sorted(unknown))}; it has {', '.join(own)}"
            )
        super().__init__(**values)
        self.labels = labels(self.module)
        self.spec = {name: self._spec_of(name) for name in own}

    @property
    def _esm(self) -> str:
        return linked(f"{self.module}.mjs")

    @property
    def _css(self) -> str:
        return style()

    @classmethod
    def _state_names(cls) -> list[str]:
        """The traits that a subclass of `Widget` has tagged, in the order of the class."""
        owners = [owner for owner in cls.__mro__ if issubclass(owner, Widget) and owner is not Widget]
        synced = cls.class_traits(sync=True)
        return [name for owner in owners for name in vars(owner) if name in synced]

    def _spec_of(self, name: str) -> dict[str, Any]:
        trait = self.traits()[name]
        found: dict[str, Any] = {"value": getattr(self, name), **trait.metadata.get("spec", {})}
        if isinstance(trait, Grid):
            found |= {"rows": list(trait.rows), "cols": list(trait.cols)}
        if isinstance(trait, Grid | traitlets.Int | traitlets.Float):
            found |= {
                key: value for key in ("min", "max") if (value := _finite(getattr(trait, key))) is not None
            }
        if isinstance(trait, traitlets.Int):
            found["integer"] = True
        if isinstance(trait, traitlets.Enum):
            found["options"] = list(trait.values or ())
        return found

    def picture(self) -> str:
        """What stands in its place where no JavaScript runs: a drawing as ``<svg>``, or nothing."""
        return ""

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**options) or ({}, {})
        return {**data, "text/plain": repr(self), "text/html": self.to_html()}, metadata

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def to_html(self) -> str:
        """The widget for a page without a kernel: its state, its words, and its picture."""
        state = {"labels": self.labels, "spec": self.spec}
        model = html.escape(json.dumps(state, ensure_ascii=False, separators=(",", ":"), allow_nan=False))
        return (
            f'<div class="cw-host" data-widget="{self.module}" data-model="{model}">'
            f"<p>{html.escape(self.labels['static'])}</p>{self.picture()}</div>"
        )


def _finite(bound: Any) -> float | None:
    return None if bound is None or bound in (float("inf"), float("-inf")) else bound


def labels(module: str) -> dict[str, str]:
    """What a widget says, in the language in use: the words of all widgets and its own."""
    found: dict[str, str] = {}
    for part in ("common", module):
        prefix = f"widgets.{part}."
        messages = i18n.catalogue(i18n.language())
        found |= {key.removeprefix(prefix): text for key, text in messages.items() if key.startswith(prefix)}
    return found
