"""What a network does, written down: the AlexNet task looks at an answer here, and judges it elsewhere.

`observe` builds the class, fills its parameters with numbers that follow from a `Challenge`, sends two images
through it and writes down every convolution and every fully connected layer on the way, in the order of
execution. So it does not matter how a network is written: names, `nn.Sequential`, functions, lazy layers and
loops are all the same.

Nothing here knows a right answer: the grader runs this module next to code that it does not trust
(`cnnlab.grading.worker`). What stands in an `Observation` is a claim, until
`cnnlab.exercises.alexnet.judge` has computed the same numbers.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from cnnlab.exercises.report import first_line, is_unanswered, origin
from cnnlab.shapes import pair

PERIOD = 10_007  # a prime, so no two rows of a weight begin alike
LARGEST = 4_000_000  # numbers in a tensor that is kept
BORROWED = ("torchvision.models", "cnnlab.models", "torch.hub")

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Challenge:
    """Images, and numbers for the parameters, that follow from a seed.

    Attributes
    ----------
    seed : int
    num_classes : int
        What the answer is built with.
    """

    seed: int
    num_classes: int = 7

    def images(self) -> Tensor:
        """Two different images without sharp grain, float32 (2, 3, 224, 224)."""
        coarse = torch.randn(2, 3, 14, 14, generator=self._numbers(0))
        return F.interpolate(coarse, size=(224, 224), mode="bilinear")

    def values(self, *shape: int) -> Tensor:
        """What a parameter of this shape is filled with, float32."""
        tensor = torch.empty(shape)
        self.fill(tensor)
        return tensor

    def fill(self, tensor: Tensor) -> None:
        """Fill a parameter, in place, so that values keep their size from layer to layer.

        The numbers follow from the shape alone. A matrix has the same numbers as its transpose, since a fully
        connected layer may be written either way round.
        """
        block = torch.randn(PERIOD, generator=self._numbers(1))
        shape = [n for n in tensor.shape if n != 1]
        with torch.no_grad():
            if len(shape) < 2:  # a bias
                tensor.copy_(0.1 * block[torch.arange(tensor.numel()) % PERIOD].view(tensor.shape))
                return
            rows, columns = shape[0], tensor.numel() // shape[0]
            if len(shape) == 2 and rows > columns:
                tensor.copy_(self.values(columns, rows).t().reshape(tensor.shape))
            elif rows == columns:  # w[i, j] = v[i + j]
                line = block.repeat(2 * rows // PERIOD + 1) * math.sqrt(2 / columns)
                tensor.copy_(line.as_strided((rows, columns), (1, 1)).reshape(tensor.shape))
            elif tensor.is_contiguous():
                for part in tensor.view(-1).split(PERIOD):
                    torch.mul(block[: len(part)], math.sqrt(2 / columns), out=part)
            else:
                tensor.copy_(self.values(*tensor.shape))

    def _numbers(self, which: int) -> torch.Generator:
        return torch.Generator().manual_seed(2 * self.seed + which)


@dataclass
class Step:
    """One layer as it was called; tensors are of the first image, and None where they are too large to keep.

    Attributes
    ----------
    weight : tuple of int
        Its shape: (OC, C, KH, KW) of a convolution, (features out, features in) of a fully connected layer.
    bias : bool
        Whether it has one.
    stride, padding, dilation : tuple of int
        (height, width).
    input_shape, output_shape : tuple of int
        Of all images.
    """

    weight: Shape
    bias: bool
    input_shape: Shape
    stride: Shape = (1, 1)
    padding: Shape = (0, 0)
    dilation: Shape = (1, 1)
    groups: int = 1
    output_shape: Shape = ()
    input: Tensor | None = None
    output: Tensor | None = None

    @property
    def convolves(self) -> bool:
        return len(self.weight) == 4


@dataclass(frozen=True)
class Failure:
    """What the answer raised: kind, message, and where."""

    kind: str
    message: str
    origin: str = ""  # name of the file or cell
    line: int = 0
    source: str = ""

    @classmethod
    def of(cls, error: BaseException, *functions: Callable) -> Failure:
        return cls(type(error).__name__, first_line(error), *(origin(error, *functions) or ()))


@dataclass
class Observation:
    """What `observe` has seen.

    Attributes
    ----------
    status : {"seen", "unanswered", "not_built", "wraps"}
        ``"not_built"``: there is no network to look at, for the reason that `problem` and `failure` give.
    problem : str
        Name of a hint: "not_callable", "no_argument", "not_a_module", "raised"; `got` belongs to it.
    failure : Failure or None
        What building it, or sending two images through it, raised.
    steps : list of Step
        As far as the images came.
    outputs, again, alone : Tensor or None
        Of both images (2, num_classes), of both once more, of the second one alone.
    shapes : dict
        Of the output for "both" and "alone", and for "default", where the class is built without arguments.
    no_default : bool
        It cannot be built without arguments.
    registered, used : int
        Numbers of parameters that `parameters()` knows, and that the layers compute with.
    unreached : list of str
        Names of parameters that layers compute with, but no gradient reaches.
    """

    status: str = "seen"
    problem: str = ""
    got: str = ""
    failure: Failure | None = None
    steps: list[Step] = field(default_factory=list)
    outputs: Tensor | None = None
    again: Tensor | None = None
    alone: Tensor | None = None
    shapes: dict[str, Shape] = field(default_factory=dict)
    no_default: bool = False
    registered: int = 0
    used: int = 0
    unreached: list[str] = field(default_factory=list)
    error: BaseException | None = None  # stays in this process

    @property
    def convolutions(self) -> list[Step]:
        return [step for step in self.steps if step.convolves]

    @property
    def linears(self) -> list[Step]:
        return [step for step in self.steps if not step.convolves]


class _Borrowed(BaseException):
    """The answer runs the code of a model that somebody else has written; carries the module's name."""


def observe(answer: Any, challenge: Challenge) -> Observation:
    """Build `answer(num_classes=…)` and look at what it computes. Never raises because of the answer.

    Parameters
    ----------
    answer : class or function
        What builds the network.
    challenge : Challenge
    """
    seen = Observation()
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")  # nbgrader gives no points to a cell that writes to stderr
        return _observe(answer, challenge, seen)


def _observe(answer: Any, challenge: Challenge, seen: Observation) -> Observation:
    try:
        model = _build(answer, challenge, seen)
        if model is not None:
            _send(model, challenge, seen)
            if not seen.steps and not any(True for _ in model.parameters()):
                seen.status = "unanswered"  # the stub
            elif seen.status == "seen":
                _default(answer, challenge, seen)
    except _Borrowed as borrowed:
        return Observation("wraps", got=str(borrowed))
    return seen


def _build(answer: Any, challenge: Challenge, seen: Observation) -> nn.Module | None:
    """The network; None where there is none, and why."""
    seen.status = "not_built"
    if is_unanswered(answer) or (inspect.isclass(answer) and answer.__init__ is nn.Module.__init__):
        seen.status = "unanswered"
    elif not callable(answer):
        seen.problem, seen.got = "not_callable", type(answer).__name__
    elif not _takes(answer, num_classes=challenge.num_classes):
        seen.problem = "no_argument"
    else:
        try:
            with Unfilled():
                model = answer(num_classes=challenge.num_classes)
        except (Exception, SystemExit) as error:
            _note(error, answer, seen)
            return None
        if isinstance(model, nn.Module):
            seen.status = "seen"
            _refuse_borrowed(type(part).__mro__ for part in model.modules())
            return model.eval()
        seen.problem, seen.got = "not_a_module", type(model).__name__
        if is_unanswered(model):
            seen.status = "unanswered"
    return None


def _note(error: BaseException, answer: Any, seen: Observation) -> None:
    """Write down what the answer has raised; a place that is still to be filled in is no error."""
    if isinstance(error, NotImplementedError) or "ellipsis" in str(error):
        seen.status = "unanswered"
    seen.problem, seen.error, seen.failure = "raised", error, Failure.of(error, answer)


def _takes(answer: Callable, **arguments: Any) -> bool:
    try:
        inspect.signature(answer).bind(**arguments)
    except TypeError:
        return False
    except ValueError:  # no signature to look at
        pass
    return True


def _send(model: nn.Module, challenge: Challenge, seen: Observation) -> None:
    """Send the images through: both, both again, the second alone."""
    images = challenge.images()
    if any(nn.parameter.is_lazy(tensor) for tensor in model.parameters()):
        _pass(model, images, Trace(multiply=False))  # lazy layers learn their sizes
    parameters = [p for p in model.parameters() if not nn.parameter.is_lazy(p) and p.is_floating_point()]
    for parameter in parameters:
        challenge.fill(parameter)
    trace = Trace(fill=challenge.fill, filled=parameters)
    with torch.enable_grad():
        output = _pass(model, images, trace)
    seen.steps, seen.registered = trace.steps, sum(p.numel() for p in parameters)
    seen.used = sum(trace.used.values())
    if isinstance(output, BaseException):
        _note(output, type(model), seen)
        seen.status = "seen" if seen.steps else seen.status
        return
    if not isinstance(output, Tensor):
        if is_unanswered(output) and not seen.steps:
            seen.status = "unanswered"
        seen.problem, seen.got = "no_return", type(output).__name__
        return
    reached = _reached(output)
    used = ((name, p) for name, p in model.named_parameters() if _place(p) in trace.used)
    seen.unreached = [name for name, p in used if id(p) not in reached]
    with torch.no_grad():
        passes = {"again": _pass(model, images), "alone": _pass(model, images[1:])}
    seen.outputs, seen.shapes["both"] = _kept(output), tuple(output.shape)
    for name, result in passes.items():
        if isinstance(result, Tensor):
            setattr(seen, name, _kept(result))
            seen.shapes[name] = tuple(result.shape)


def _pass(model: nn.Module, images: Tensor, trace: Trace | None = None) -> Any:
    """What the model gives, or the exception that it raises."""
    try:
        if trace is None:
            return model(images.clone())
        with Unfilled(), trace:
            return model(images.clone())
    except (Exception, SystemExit) as error:
        return error


def _default(answer: Any, challenge: Challenge, seen: Observation) -> None:
    """Build it without arguments, and see how many numbers come out."""
    seen.no_default = not _takes(answer)
    if seen.no_default:
        return
    try:
        with Unfilled(), torch.no_grad():
            model = answer().eval()
        output = _pass(model, challenge.images()[:1], Trace(multiply=False))
    except (Exception, SystemExit):
        return
    if isinstance(output, Tensor):
        seen.shapes["default"] = tuple(output.shape)


def _reached(output: Tensor) -> set[int]:
    """Parameters, by `id`, that a gradient of the output reaches: the leaves of autograd's graph."""
    found, known = set(), set()
    waiting = [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in known:
            continue
        known.add(node)
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        waiting += [following for following, _ in node.next_functions]
    return found


def _kept(tensor: Tensor) -> Tensor | None:
    """A copy in float32, if it is neither empty nor too large."""
    if not 0 < tensor.numel() <= LARGEST or tensor.is_complex():
        return None
    return tensor.detach().to("cpu", torch.float32, copy=True).contiguous()


def _refuse_borrowed(classes: Any = ()) -> None:
    """Stop if a class, or a function that is running, comes from a library's models."""
    names = [kind.__module__ for mro in classes for kind in mro]
    frame = None if names else sys._getframe(1)
    while frame is not None:
        names.append(frame.f_globals.get("__name__", ""))
        frame = frame.f_back
    for name in names:
        for module in BORROWED:
            if name == module or str(name).startswith(module + "."):
                raise _Borrowed(module)


class Unfilled(TorchFunctionMode):
    """Layers made meanwhile do not fill their weights, which takes a second for 61 million of them."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            _refuse_borrowed()
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


PRODUCTS = {"matmul", "__matmul__", "mm"}
SUMS = {"add", "add_", "__add__", "__radd__", "__iadd__"}


class Trace(TorchFunctionMode):
    """Writes down the convolutions and fully connected layers of one pass, in the order of execution.

    Without `multiply`, fully connected layers give random numbers: nothing is multiplied by their 59 million
    weights, which need not even have values. Weights that are not among the `filled` are filled when met.
    """

    def __init__(
        self, multiply: bool = True, fill: Callable | None = None, filled: list[nn.Parameter] | None = None
    ) -> None:
        super().__init__()
        self.multiply, self.fill = multiply, fill
        self.steps: list[Step] = []
        self.used: dict[tuple[int, int], int] = {}  # where a parameter lies, and its length
        self._filled = {_place(p) for p in filled or ()}
        self._padded: tuple[Any, int] = (None, 0)  # the last tensor with zeros around it, and how many
        self._product: Any = None  # of a matrix product that may still get a bias

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if func is F.pad:
            result = func(*args, **kwargs)
            self._padded = (result, _zeros_around(*args, **kwargs))
            return result
        if func is F.conv2d:
            return self._convolution(args, kwargs)
        if func is F.linear:
            names = ("input", "weight", "bias")
            return self._linear(func, args, kwargs, **{**dict(zip(names, args)), **kwargs})
        if name in PRODUCTS and len(args) == 2 and not kwargs and _matrices(*args):
            self._product = self._linear(func, args, kwargs, args[0], args[1].t())
            return self._product
        if name == "addmm" and len(args) == 3 and not kwargs and _matrices(*args[1:]):
            return self._linear(func, args, kwargs, args[1], args[2].t(), args[0])
        result = func(*args, **kwargs)
        if name in SUMS and len(args) == 2 and self._product is not None:
            self._add_bias(args, result)
        return result

    def _convolution(self, args: tuple, kwargs: dict) -> Tensor:
        _refuse_borrowed()
        names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
        given = {**dict(zip(names, args)), **kwargs}
        x, weight, bias = given["input"], given["weight"], given.get("bias")
        self._use(weight, bias)
        around = 0
        if x is self._padded[0] and self._padded[1]:
            around = self._padded[1]
            x = x[..., around:-around, around:-around]
        dilation = pair(given.get("dilation", 1))
        padding = given.get("padding", 0)
        if padding == "same":
            padding = tuple(d * (k - 1) // 2 for d, k in zip(dilation, weight.shape[2:]))
        else:
            padding = (0, 0) if padding == "valid" else pair(padding, minimum=0)
        step = Step(
            weight=tuple(weight.shape),
            bias=bias is not None,
            input_shape=tuple(x.shape),
            stride=pair(given.get("stride", 1)),
            padding=(padding[0] + around, padding[1] + around),
            dilation=dilation,
            groups=int(given.get("groups", 1)),
            input=_kept(x[:1]),
        )
        self.steps.append(step)
        return self._give(step, F.conv2d(*args, **kwargs))

    def _linear(
        self, func: Callable, args: tuple, kwargs: dict, input: Tensor, weight: Tensor, bias: Any = None
    ) -> Tensor:
        _refuse_borrowed()
        self._use(weight, bias)
        kept = _kept(input[:1]) if input.ndim else None
        step = Step(tuple(weight.shape), bias is not None, tuple(input.shape), input=kept)
        self.steps.append(step)
        features_out, features_in = weight.shape
        if not self.multiply and input.ndim == 2 and input.shape[1] == features_in:
            numbers = torch.Generator().manual_seed(len(self.steps))
            return self._give(step, torch.randn(len(input), features_out, generator=numbers))
        return self._give(step, func(*args, **kwargs))

    def _add_bias(self, args: tuple, result: Any) -> None:
        """A vector that is added to a matrix product is its bias."""
        product, self._product = self._product, None
        other = [arg for arg in args if arg is not product]
        if len(other) == 1 and isinstance(other[0], Tensor) and other[0].ndim == 1:
            self._use(other[0])
            self.steps[-1].bias = True
            self._give(self.steps[-1], result)

    def _use(self, *tensors: Any) -> None:
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                continue
            if self.fill and tensor.is_leaf and _place(tensor) not in self._filled:
                self.fill(tensor)
            self._filled.add(_place(tensor))
            self.used[_place(tensor)] = tensor.numel()

    def _give(self, step: Step, result: Tensor) -> Tensor:
        step.output_shape, step.output = tuple(result.shape), _kept(result[:1]) if result.ndim else None
        return result


def _place(tensor: Tensor) -> tuple[int, int]:
    """Where the numbers lie: the same for a parameter, its transpose and its reshaped view."""
    return tensor.data_ptr(), tensor.numel()


def _matrices(*tensors: Any) -> bool:
    return all(isinstance(tensor, Tensor) and tensor.ndim == 2 for tensor in tensors)


def _zeros_around(input: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> int:
    even = len(pad) == 4 and len(set(pad)) == 1 and pad[0] > 0
    return int(pad[0]) if even and mode == "constant" and not value else 0
