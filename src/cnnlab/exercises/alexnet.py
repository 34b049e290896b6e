"""Checks of chapter `13_alexnet`: three exercises that lead in, and `check` for the graded task.

`check` builds the reader's class, sends two images through it and writes down every convolution and every
`nn.Linear` on the way, with what goes in and what comes out. So it does not matter how a network is written:
names, `nn.Sequential`, functions, lazy layers and loops are all the same. What stands between two layers is
told from the values. In the end the same weights go into `cnnlab.models.AlexNet`, and the outputs have to be
equal.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from cnnlab.exercises import report
from cnnlab.exercises.report import Attempt, as_numbers
from cnnlab.i18n import text
from cnnlab.models import AlexNet
from cnnlab.shapes import conv_output_size, pair


class Convolution(NamedTuple):
    """A convolution of the drawing, and the side of the image that it gets."""

    in_channels: int
    out_channels: int
    kernel_size: int
    stride: int
    padding: int
    size: int

    def output_size(self, padding: int) -> int:
        return conv_output_size(self.size, self.kernel_size, self.stride, padding)


CONVOLUTIONS = {
    "conv1": Convolution(3, 64, 11, 4, 2, size=224),
    "conv2": Convolution(64, 192, 5, 1, 2, size=27),
    "conv3": Convolution(192, 384, 3, 1, 1, size=13),
    "conv4": Convolution(384, 256, 3, 1, 1, size=13),
    "conv5": Convolution(256, 256, 3, 1, 1, size=13),
}
POOLED = {"conv1": 27, "conv2": 13, "conv5": 6}  # sides after max pooling
LINEARS = {"fc1": (256 * 6 * 6, 4096), "fc2": (4096, 4096), "fc3": (4096, None)}
NAMES = (*CONVOLUTIONS, *LINEARS)
CLASSES = 7  # differs from all other sizes


@report.check("alexnet.paddings")
def check_paddings(attempt: Attempt, answer) -> None:
    """Paddings of the five convolutions."""
    want = [layer.padding for layer in CONVOLUTIONS.values()]
    numbers = as_numbers(answer)
    if numbers is not None and numbers.shape == (5,) and numbers.dtype.kind in "iu" and numbers.min() >= 0:
        given = numbers.tolist()
        attempt.require(given != [2 * padding for padding in want], "both_sides")
        attempt.require(given[0] != 5, "stride_forgotten")
        for (name, layer), padding in zip(CONVOLUTIONS.items(), given, strict=True):
            got, side = layer.output_size(padding), layer.output_size(layer.padding)
            attempt.require(got == side, "size", layer=name, padding=padding, got=got, want=side)
        attempt.require(given == want, "larger_fits")
    attempt.compare(answer, want, reveal=False)


@report.check("alexnet.flatten_size")
def check_flatten_size(attempt: Attempt, answer) -> None:
    """Length of the vector that the first fully connected layer gets."""
    mistakes = [
        (256 * 13 * 13, "before_pooling"),
        (6 * 6, "one_channel"),
        (256 * 6, "one_side"),
        (256 * 7 * 7, "rounded_up"),
        (4096, "output_instead"),
    ]
    attempt.compare(answer, 256 * 6 * 6, mistakes=mistakes, reveal=False)


@report.check("alexnet.parameters")
def check_parameters(attempt: Attempt, answer) -> None:
    """Parameters of the second convolution."""
    weights = 192 * 64 * 5 * 5
    mistakes = [
        (weights, "no_bias"),
        (weights + 64, "bias_of_inputs"),
        (192 * 5 * 5 + 192, "one_input_channel"),
        (192 * 5 * 5, "one_input_channel"),
        (64 * 5 * 5 + 1, "one_filter"),
        (64 * 5 * 5, "one_filter"),
        (weights * 27 * 27, "every_position"),
        ((weights + 192) * 27 * 27, "every_position"),
    ]
    attempt.compare(answer, weights + 192, mistakes=mistakes, reveal=False)


# --- the task --------------------------------------------------------------------------------------------


@report.check("alexnet.my_alexnet")
def check(attempt: Attempt, answer) -> None:
    """``MyAlexNet(num_classes=1000)``: each criterion with ✓ or ✗, and a hint for each that does not hold."""
    attempt.require(not isinstance(answer, nn.Module), "instance")
    model = _build(attempt, answer)
    images = _images()
    trace = _trace(model, images)
    if trace.output is None:
        attempt.require(trace.error or not trace.steps, "no_return")
        if trace.steps:
            _tell(attempt, list(_layers(trace)), trace.error)
        attempt.call(model, images)  # tells the line with the error, or that there is no answer yet
    if not trace.steps and not list(model.parameters()):
        raise NotImplementedError  # the stub
    one = _trace(model, images[:1])
    findings = [_default(answer, images), _outputs([trace, one]), *_layers(trace)]
    if len(trace.convolutions) == len(CONVOLUTIONS) and len(trace.linears) == len(LINEARS):
        _fill(p for step in trace.convolutions for p in (step.weight, step.bias) if p is not None)
        trace, again = _trace(model, images), _trace(model, images)
        steady = all(torch.equal(a, b) for a, b in zip(trace.seen, again.seen))
        findings += [*_between(trace, steady), Finding("steady", steady, "random")]
        findings.append(_parameters(model, trace))
        if all(finding.holds for finding in findings):
            findings.append(_same_outputs(model, images))
    _tell(attempt, findings)


@dataclass(frozen=True)
class Finding:
    """Whether a criterion holds; if not, the name of the hint and what fills its placeholders."""

    criterion: str
    holds: bool
    hint: str = ""
    values: dict[str, Any] = field(default_factory=dict)


@dataclass
class Step:
    """One convolution or `F.linear` as it was called; tensors are copies, since ReLU may overwrite them."""

    input: Tensor
    weight: Tensor
    bias: Tensor | None = None
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1
    around: int = 0  # zeros that `F.pad` has put around the input
    output: Tensor | None = None

    @property
    def result(self) -> Tensor:
        assert self.output is not None
        return self.output

    def window(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Kernel size, stride, padding, each as (height, width)."""
        kernel, dilation = tuple(self.weight.shape[2:]), pair(self.dilation)
        if self.padding == "same":
            padding = tuple(d * (k - 1) // 2 for d, k in zip(dilation, kernel))
        else:
            padding = (0, 0) if self.padding == "valid" else pair(self.padding, minimum=0)
        return kernel, pair(self.stride), tuple(p + self.around for p in padding)


class Trace(TorchFunctionMode):
    """Writes down the convolutions and fully connected layers of one pass, in the order of execution.

    Unless `real`, fully connected layers give random numbers: nothing is multiplied by their 59 million
    weights, which need not even have values. Between the layers, all is as in a real pass.
    """

    def __init__(self, real: bool) -> None:
        super().__init__()
        self.real = real
        self.steps: list[Step] = []
        self.output: Tensor | None = None
        self.error: Exception | None = None
        self._padded: tuple[Any, int] = (None, 0)  # the last tensor with zeros around it, and how many

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.pad:
            result = func(*args, **kwargs)
            self._padded = (result, _zeros_around(*args, **kwargs))
            return result
        if func is not F.conv2d and func is not F.linear:
            return func(*args, **kwargs)
        names = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
        step = Step(**{**dict(zip(names, args)), **kwargs})
        if step.input is self._padded[0] and (around := self._padded[1]):
            step.around, step.input = around, step.input[..., around:-around, around:-around]
        step.input = step.input.clone()
        self.steps.append(step)
        result = self._linear(step) if func is F.linear else None
        if result is None:
            result = func(*args, **kwargs)
        step.output = result.clone()
        return result

    def _linear(self, step: Step) -> Tensor | None:
        """Random numbers instead of a product; None where it has to be computed, or is an error."""
        features_out, features_in = step.weight.shape
        if self.real or step.input.ndim != 2 or step.input.shape[1] != features_in:
            return None
        numbers = torch.Generator().manual_seed(len(self.steps))
        return torch.randn(len(step.input), features_out, generator=numbers)

    @property
    def convolutions(self) -> list[Step]:
        return [step for step in self.steps if step.weight.ndim == 4]

    @property
    def linears(self) -> list[Step]:
        return [step for step in self.steps if step.weight.ndim == 2]

    @property
    def result(self) -> Tensor:
        assert self.output is not None
        return self.output

    @property
    def seen(self) -> list[Tensor]:
        """What the layers get, and the output."""
        return [*(step.input for step in self.steps), self.result]

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The output's; None where there is none."""
        return None if self.output is None else tuple(self.output.shape)


def _zeros_around(input: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> int:
    even = len(pad) == 4 and len(set(pad)) == 1 and pad[0] > 0
    return pad[0] if even and mode == "constant" and not value else 0


class Unfilled(TorchFunctionMode):
    """Layers made meanwhile do not fill their weights, which takes a second for 61 million of them."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _build(attempt: Attempt, answer: Any) -> nn.Module:
    if inspect.isclass(answer) and answer.__init__ is nn.Module.__init__:
        raise NotImplementedError  # nothing has been written yet
    attempt.require(not callable(answer) or _takes(answer, num_classes=CLASSES), "no_argument")
    with Unfilled():
        model = attempt.call(answer, num_classes=CLASSES)
    attempt.require(isinstance(model, nn.Module), "not_a_module", got=type(model).__name__)
    return model.eval()


def _takes(answer: Callable, **arguments: Any) -> bool:
    try:
        inspect.signature(answer).bind(**arguments)
    except TypeError:
        return False
    except ValueError:  # no signature to look at
        pass
    return True


def _images() -> Tensor:
    """Two different images without sharp grain, (2, 3, 224, 224)."""
    coarse = torch.randn(2, 3, 14, 14, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=(224, 224), mode="bilinear")


def _trace(model: nn.Module, images: Tensor, real: bool = False) -> Trace:
    """One pass; lazy layers get their weights in it."""
    trace = Trace(real)
    with torch.no_grad(), Unfilled(), trace:
        try:
            output = model(images.clone())
            trace.output = output if isinstance(output, Tensor) else None
        except Exception as error:
            trace.error = error
    return trace


def _fill(parameters: Iterable[Tensor]) -> None:
    """Weights that keep the size of the values: one block of random numbers again and again."""
    block = torch.randn(10_007, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for parameter in parameters:
            scale = (2 / parameter[0].numel()) ** 0.5 if parameter.ndim > 1 else 0.1
            for part in parameter.view(-1).split(len(block)):
                torch.mul(block[: len(part)], scale, out=part)


def _tell(attempt: Attempt, findings: list[Finding], error: Exception | None = None) -> None:
    """Enter the criteria; fail if there is a hint, one message for each criterion that does not hold."""
    for finding in findings:
        attempt.criterion(finding.criterion, finding.holds)
    wrong = [finding for finding in findings if not finding.holds and finding.hint]
    messages = [text(f"exercises.{attempt.name}.{f.hint}", **f.values) for f in wrong]
    if messages and error is not None:
        said = str(error).strip().split("\n")[0].replace("`", "'")
        messages.append(text(f"exercises.{attempt.name}.stopped", message=said))
    if messages:
        attempt._fail(wrong[0].hint, *messages)


def _finding(criterion: str, wrong: Iterator[tuple[str, dict]]) -> Finding:
    """The first mistake that was found, if there is any."""
    hint, values = next(wrong, (None, {}))
    return Finding(criterion, hint is None, hint or "", values)


def _default(answer: Any, images: Tensor) -> Finding:
    if not _takes(answer):
        return Finding("default", False, "missing_default")
    with Unfilled():
        got = _trace(answer().eval(), images).shape
    return Finding("default", got == (len(images), 1000), "other_default", {"got": got})


def _outputs(traces: list[Trace]) -> Finding:
    for trace, N in zip(traces, (2, 1)):
        if trace.shape != (N, CLASSES):
            hint = "classes_ignored" if trace.shape == (N, 1000) else "output_shape"
            return Finding("outputs", False, hint, {"got": trace.shape, "want": (N, CLASSES), "N": N})
    return Finding("outputs", True)


def _layers(trace: Trace) -> Iterator[Finding]:
    """The layers one by one; after an error, as far as the images came."""
    yield _finding("convolutions", _wrong_convolutions(trace))
    yield _finding("paddings", _wrong_paddings(trace))
    yield _finding("linears", _wrong_linears(trace))
    if trace.error:
        yield _finding("pooling", _wrong_sides(trace))


def _wrong_convolutions(trace: Trace) -> Iterator[tuple[str, dict]]:
    found = trace.convolutions
    if len(found) != len(CONVOLUTIONS) and not trace.error:
        yield "convolution_count", {"got": len(found)}
    for (name, want), step in zip(CONVOLUTIONS.items(), found):
        kernel, stride, _ = step.window()
        OC, C = step.weight.shape[:2]
        if step.groups != 1 or pair(step.dilation) != (1, 1):
            yield "options", {"layer": name}
        if want[:2] != (C, OC):
            yield "channels", {"layer": name, "got": f"{C} → {OC}"}
        if kernel != (want.kernel_size,) * 2:
            yield "kernel", {"layer": name, "got": "×".join(map(str, kernel))}
        if stride != (want.stride,) * 2:
            yield ("no_stride" if want.stride > 1 else "stride"), {"layer": name, "got": stride[0]}
        if step.bias is None:
            yield "no_bias", {"layer": name}
    if len(found) < len(CONVOLUTIONS):
        yield "", {}  # not seen, since an error came before


def _wrong_paddings(trace: Trace) -> Iterator[tuple[str, dict]]:
    for (name, want), step in zip(CONVOLUTIONS.items(), trace.convolutions):
        kernel, stride, padding = step.window()
        if kernel != (want.kernel_size,) * 2 or stride != (want.stride,) * 2:
            continue  # that comes first
        if padding == (want.padding,) * 2:
            continue
        side = want.output_size(want.padding)
        if padding[0] != padding[1]:
            yield "padding_uneven", {"layer": name}
        elif want.output_size(padding[0]) == side:
            yield "padding_fits", {"layer": name, "got": padding[0], "side": side}
        else:
            got = want.output_size(padding[0])
            yield "padding", {"layer": name, "padding": padding[0], "got": got, "want": side}
    if len(trace.convolutions) < len(CONVOLUTIONS):
        yield "", {}


def _wrong_linears(trace: Trace) -> Iterator[tuple[str, dict]]:
    found = trace.linears
    if len(found) != len(LINEARS) and not trace.error:
        yield "linear_count", {"got": len(found)}
    for (name, (wanted_in, wanted_out)), step in zip(LINEARS.items(), found):
        given = tuple(step.input.shape)
        if len(given) > 2:
            yield "no_flatten", {"layer": name, "got": given}
        if len(given) < 2 or given[0] != len(_images()):
            yield "batch_lost", {"layer": name, "got": given}
        features_out, features_in = step.weight.shape
        if features_in != wanted_in or features_out != (wanted_out or features_out):
            yield "features", {"layer": name, "got": f"{features_in} → {features_out}"}
        if step.bias is None:
            yield "no_bias", {"layer": name}
    if len(found) < len(LINEARS):
        yield "", {}


def _pairs(trace: Trace) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Name of a layer, its output, and what the next layer gets."""
    for name, (step, following) in zip(NAMES, pairwise(trace.steps)):
        yield name, step.result, following.input


def _wrong_sides(trace: Trace) -> Iterator[tuple[str, dict]]:
    """Whether images become smaller where they should."""
    for name, before, after in _pairs(trace):
        if name not in CONVOLUTIONS or before.ndim != 4:
            continue
        side = before.shape[-1]
        got = after.shape[-1] if after.ndim == 4 else (after.numel() / before.shape[:2].numel()) ** 0.5
        halves = {(side - 3) // 2 + 1, (side - 2) // 2 + 1}
        values = {"layer": name, "got": round(got), "before": side}
        if name in POOLED and got == side:
            yield "no_pooling", values
        elif name in POOLED and got not in halves:
            yield "pooled_size", values
        elif name not in POOLED and got != side:
            yield "extra_pooling", values
    if len(trace.steps) <= len(CONVOLUTIONS):
        yield "", {}


def _between(trace: Trace, steady: bool) -> Iterator[Finding]:
    """What stands between the layers, told from the values: pooling and ReLU."""
    pooling: list[tuple[str, dict]] = []
    relu: list[tuple[str, dict]] = []
    windows = set()
    for name, before, after in _pairs(trace):
        window, *hints = _explain(before, after, name in POOLED)
        windows |= {window} if window else set()
        pooling += [(hint, {"layer": name}) for hint in hints if hint == "average"]
        relu += [(hint, {"layer": name}) for hint in hints if hint != "average"]
    if len(windows) > 1:
        pooling.append(("mixed", {}))
    scores, output = trace.steps[-1].result, trace.result
    if not _equal(output, scores):
        ends = {
            "relu_at_end": [F.relu(scores)],
            "softmax": [scores.softmax(1), scores.softmax(0), scores.log_softmax(1)],
        }
        hints = [hint for hint, candidates in ends.items() if any(_equal(output, c) for c in candidates)]
        relu.append(((hints or ["other_end"])[0], {"layer": NAMES[-1]}))
    if not steady:
        relu = [("" if hint.startswith("other") else hint, values) for hint, values in relu]
    sides = list(_wrong_sides(trace))
    relu = [(hint, values) for hint, values in relu if not (hint == "other_step" and sides)]
    yield _finding("pooling", chain(sides, pooling))
    yield _finding("relu", iter(relu))


def _explain(before: Tensor, after: Tensor, pooled: bool) -> tuple[Any, ...]:
    """Window of the pooling, or None, and the hints, of what makes `after` of `before`."""
    rectified = F.relu(before)
    for window in (3, 2) if pooled else ():
        if _equal(after, F.max_pool2d(rectified, window, 2)):
            return (window,)
        if _equal(after, F.max_pool2d(before, window, 2)):
            return window, "no_relu"
        if _equal(after, F.avg_pool2d(rectified, window, 2)):
            return None, "average"
        if _equal(after, F.relu(F.avg_pool2d(before, window, 2))):
            return None, "average"
        if _equal(after, F.avg_pool2d(before, window, 2)):
            return None, "average", "no_relu"
    if _equal(after, rectified):
        return (None,)
    return None, ("no_relu" if _equal(after, before) else "other_step")


def _equal(got: Tensor, want: Tensor) -> bool:
    """Whether the values are equal up to rounding; a flattened tensor may be compared with a whole one."""
    if got.ndim == 2:
        want = want.flatten(1)
    return got.shape == want.shape and torch.allclose(got, want, rtol=0, atol=1e-6 * float(want.abs().max()))


def _parameters(model: nn.Module, trace: Trace) -> Finding:
    used = {id(p): p.numel() for step in trace.steps for p in (step.weight, step.bias) if p is not None}
    registered = sum(p.numel() for p in model.parameters())
    values = {"got": f"{registered:,}", "want": f"{sum(used.values()):,}"}
    hint = "not_registered" if registered < sum(used.values()) else "unused_parameters"
    return Finding("parameters", registered == sum(used.values()), hint, values)


def _same_outputs(model: nn.Module, images: Tensor) -> Finding:
    """The same weights in the course's AlexNet, in order of execution, give the same outputs."""
    _fill(model.parameters())
    trace = _trace(model, images, real=True)
    with Unfilled():
        reference = AlexNet(len(trace.steps[-1].weight)).eval()
    if _equal(trace.steps[1].input, F.max_pool2d(F.relu(trace.steps[0].result), 2)):
        reference.pool1, reference.pool2, reference.pool5 = (nn.MaxPool2d(2) for _ in range(3))
    weights: dict[str, Any] = {}
    for name, step in zip(NAMES, trace.steps):
        weights |= {f"{name}.weight": step.weight, f"{name}.bias": step.bias}
    with torch.no_grad():
        want = functional_call(reference, weights, (images,))
    got = torch.cat([trace.result[:1], _trace(model, images[1:], real=True).result])  # of two, and alone
    holds = torch.allclose(got, want, rtol=1e-4, atol=1e-4 * float(want.abs().max()))
    return Finding("same", holds, "different")
