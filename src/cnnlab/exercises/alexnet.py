"""Checks of chapter `13_alexnet`: three exercises that lead in, and `check` for the graded task.

`cnnlab.exercises.observation` looks at what the reader's class computes, and `judge` gives points for it:
`check` in the notebook and the grader (`cnnlab.grading`) use the same two. What stands between two layers
is told from the values. If the outputs are those of `cnnlab.models.AlexNet` with the same weights,
everything that decides about them is right, however the network is written.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from cnnlab.exercises import report
from cnnlab.exercises.observation import LARGEST, Challenge, Observation, Step, observe
from cnnlab.exercises.report import Attempt, Hint, as_numbers
from cnnlab.models import AlexNet
from cnnlab.shapes import conv_output_size


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
POINTS = {
    "default": 4,
    "outputs": 6,
    **dict.fromkeys(CONVOLUTIONS, 7),
    **dict.fromkeys(LINEARS, 5),
    "sizes": 6,
    "pooling": 8,
    "relu": 8,
    "steady": 2,
    "gradients": 3,
    "parameters": 3,
    "same": 10,
}  # 100 together
COMPUTED = (*NAMES, "sizes", "pooling", "relu")  # right if the outputs are


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
    """``MyAlexNet(num_classes=1000)``: each criterion with ✓ or ✗, its points, and a hint if it fails."""
    attempt.require(not isinstance(answer, nn.Module), "instance")
    challenge = Challenge(seed=0)
    seen = observe(answer, challenge)
    if seen.status == "unanswered":
        raise NotImplementedError
    attempt.require(seen.status != "wraps", "wraps", module=seen.got)
    if seen.error is not None and not seen.steps:
        attempt.raised(seen.error, answer)
    if seen.problem == "not_callable":
        attempt.call(answer)  # says so
    attempt.require(seen.status == "seen", seen.problem, got=seen.got)
    for finding in judge(seen, challenge):
        attempt.criterion(
            finding.criterion,
            finding.holds,
            points=finding.max_points,
            hints=[finding.hint] if finding.hint else (),
        )
    for name, values in remarks(seen):
        attempt.remark(name, **values)


@dataclass(frozen=True)
class Finding:
    """Whether a criterion holds; if not, a hint, unless that of another criterion explains it."""

    criterion: str
    holds: bool
    hint: Hint | None = None

    @property
    def max_points(self) -> int:
        return POINTS[self.criterion]

    @property
    def points(self) -> int:
        return self.max_points if self.holds else 0


def judge(seen: Observation, challenge: Challenge) -> list[Finding]:
    """The criteria, in the order of `POINTS`.

    Nothing in `seen` is believed that can be computed: outputs are compared with those of the reference, and
    each layer with what it should make of its input. Where a layer is not what it says, only layers that are
    what they say count.

    Parameters
    ----------
    seen : Observation
        Of a network that could be built.
    challenge : Challenge
        That it was made with.

    Returns
    -------
    list of Finding
    """
    same = _same(seen, challenge)
    rows = _align(seen)
    computed = {} if same else {id(step): _computes(step, challenge) for step in seen.steps}
    honest = same or (seen.outputs is not None and _starts(seen, challenge) and all(computed.values()))
    hints: dict[str, Hint | None] = {} if same else _structure(seen, rows, computed)
    hints |= {"default": _default(seen), "outputs": _outputs(seen, challenge)}
    hints |= {"gradients": _gradients(seen), "parameters": _parameters(seen, same)}
    steady = _equal(seen.outputs, seen.again)
    hints["steady"] = None if steady else Hint("random" if seen.again is not None else "")
    hints["same"] = None if same else Hint("")
    relu = hints.get("relu")
    if not steady and relu and relu.name.startswith("other"):
        hints["relu"] = Hint("")  # what is random explains it
    findings = []
    for criterion in POINTS:
        hint = hints.get(criterion)
        holds = hint is None and (honest or criterion in NAMES)
        findings.append(Finding(criterion, holds, hint if hint and hint.name else None))
    if not same and all(finding.holds for finding in findings[:-1]):
        findings[-1] = Finding("same", False, Hint("different"))
    return findings


def remarks(seen: Observation) -> list[Hint]:
    """What else there is to say: why the images do not get to the end, how many layers there are."""
    found = []
    if seen.problem == "no_return":
        found.append(Hint("no_return"))
    if seen.failure is not None:
        found.append(Hint("stopped", {"message": seen.failure.message.replace("`", "'")}))
        return found
    if len(seen.convolutions) > len(CONVOLUTIONS):
        found.append(Hint("convolution_count", {"got": len(seen.convolutions)}))
    if len(seen.linears) > len(LINEARS):
        found.append(Hint("linear_count", {"got": len(seen.linears)}))
    return found


# What the network computes


@lru_cache(maxsize=2)
def draw(seed: int) -> Challenge:
    """A challenge that follows from `seed`, and in which a ReLU that is missing, or one too many, shows.

    It would not if all numbers in front of it had the same sign, and one challenge of fifty is like that. So
    each layer has to give some below and some above zero, for each image.
    """
    numbers = random.Random(seed)
    while True:
        challenge = Challenge(numbers.randrange(2**31), num_classes=numbers.randrange(11, 60))
        if all(0.1 < share < 0.9 for share in negative_shares(challenge)):
            return challenge


def negative_shares(challenge: Challenge) -> list[float]:
    """What part of the numbers that a layer of AlexNet gives is below zero: per layer, image and pooling."""
    shares: list[float] = []

    def count(layer: nn.Module, inputs: tuple, output: Tensor) -> None:
        shares.extend((output < 0).flatten(1).double().mean(1).tolist())

    _with_both_poolings(challenge, count)
    return shares


@lru_cache(maxsize=2)
def reference(challenge: Challenge) -> tuple[Tensor, Tensor]:
    """What AlexNet gives for the images, with 3×3 and with 2×2 pooling, each (2, num_classes)."""
    return _with_both_poolings(challenge)


def _with_both_poolings(challenge: Challenge, look: Callable | None = None) -> tuple[Tensor, Tensor]:
    """The outputs; `look` gets each layer with what goes in and what comes out."""
    with torch.device("meta"):
        model = AlexNet(challenge.num_classes).eval()
    for layer in model.modules():
        if look and isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(look)
    weights = {name: challenge.values(*p.shape) for name, p in model.named_parameters()}
    outputs = []
    for window in (3, 2):
        model.pool1, model.pool2, model.pool5 = (nn.MaxPool2d(window, 2) for _ in range(3))
        with torch.no_grad():
            outputs.append(functional_call(model, weights, (challenge.images(),)))
    return outputs[0], outputs[1]


def _same(seen: Observation, challenge: Challenge) -> bool:
    """Whether the outputs are AlexNet's, for both images and for the second one alone."""
    wanted = reference(challenge)
    return any(_close(seen.outputs, want) and _close(seen.alone, want[1:]) for want in wanted)


def _close(got: Tensor | None, want: Tensor, tolerance: float = 3e-5) -> bool:
    """Whether two tensors are equal up to the rounding of another order of summation."""
    if got is None or got.shape != want.shape:
        return False
    largest = float(want.abs().max())  # if infinite, it would make everything close
    return largest < float("inf") and torch.allclose(got, want, rtol=0, atol=tolerance * largest)


def _align(seen: Observation) -> dict[str, Step]:
    """The layers by their names in the drawing. Of too few or too many, those that fit keep their names."""
    classes = seen.linears[-1].weight[0] if seen.linears else 0
    shapes = [(c.out_channels, c.in_channels, c.kernel_size, c.kernel_size) for c in CONVOLUTIONS.values()]
    matrices = [(features_out or classes, features_in) for features_in, features_out in LINEARS.values()]
    rows = _align_kind(list(CONVOLUTIONS), shapes, seen.convolutions)
    return rows | _align_kind(list(LINEARS), matrices, seen.linears)


def _align_kind(names: list[str], wanted: list[tuple], steps: list[Step]) -> dict[str, Step]:
    if len(steps) == len(names):
        return dict(zip(names, steps))
    rows: dict[str, Step] = {}
    matcher = SequenceMatcher(None, wanted, [step.weight for step in steps], autojunk=False)
    for kind, i, end, j, _ in matcher.get_opcodes():
        if kind in ("equal", "replace"):
            rows |= dict(zip(names[i:end], steps[j:]))
    return rows


def _starts(seen: Observation, challenge: Challenge) -> bool:
    """Whether the first layer gets the first image."""
    return bool(seen.steps) and _equal(seen.steps[0].input, challenge.images()[:1])


def _computes(step: Step, challenge: Challenge) -> bool:
    """Whether a layer computes what it says, with the weights that it has been given."""
    if step.input is None or step.output is None or not _affordable(step):
        return False
    weight = challenge.values(*step.weight)
    bias = challenge.values(step.weight[0]) if step.bias else None
    try:
        if step.convolves:
            sizes = (step.stride, step.padding, step.dilation, step.groups)
            want = F.conv2d(step.input, weight, bias, *sizes)
        else:
            want = F.linear(step.input, weight, bias)
    except RuntimeError:  # the sizes do not fit
        return False
    return _close(step.output, want)


def _affordable(step: Step) -> bool:
    """Whether it is no more work than a layer of a network that is a little wrong."""
    weights = 1
    for n in step.weight:
        weights *= n
    positions = 1
    for n in step.output_shape[2:] if step.convolves else step.output_shape[1:-1]:
        positions *= n
    padded = max(step.padding) <= 64 and max(step.dilation) <= 64
    return padded and weights <= 20 * LARGEST and weights * positions <= 1e10


# What is wrong with it


def _structure(seen: Observation, rows: dict[str, Step], computed: dict[int, bool]) -> dict[str, Hint | None]:
    """A hint for each layer, for the sizes, for pooling and ReLU; an empty one where another explains it."""
    hints: dict[str, Hint | None] = {}
    for name in NAMES:
        step = rows.get(name)
        if step is None:
            hints[name] = _missing(name, seen)
            continue
        wrong = _wrong_convolution(name, step) if name in CONVOLUTIONS else _wrong_linear(name, step)
        hints[name] = next(wrong, None)
        if hints[name] is None and not computed[id(step)]:
            hints[name] = Hint("other_values" if step.output_shape else "", {"layer": name})
    complete = list(rows) == list(NAMES) and len(seen.steps) == len(NAMES)
    convolved = complete or list(rows)[:6] == list(NAMES)[:6]  # as far as there is pooling
    sides = list(_wrong_sides(seen, rows))
    between = _between(seen, rows)
    hints["sizes"] = None if complete and _drawn_sizes(rows) else Hint("")
    if hints["sizes"] and not sides and all(hints[name] is None for name in CONVOLUTIONS) and complete:
        hints["sizes"] = Hint("other_sizes")
    pooling = [*sides, *(hint for hint in between if hint.name in ("average", "mixed"))]
    relu = [hint for hint in between if hint.name not in ("average", "mixed")]
    relu = [hint for hint in relu if not (hint.name == "other_step" and sides)]
    unseen = Hint("")
    hints["pooling"] = next(iter(pooling), None if convolved else unseen)
    hints["relu"] = next(iter(relu), None if complete else unseen)
    if not seen.failure:  # too few or too many layers: that explains the rest
        hints["pooling"] = hints["pooling"] if convolved else unseen
        hints["relu"] = hints["relu"] if complete else unseen
    return hints


def _missing(name: str, seen: Observation) -> Hint:
    """For a layer that was not found; where the images did not get to the end, it may be there."""
    if seen.failure:
        return Hint("")
    if name in CONVOLUTIONS:
        return Hint("convolution_count", {"got": len(seen.convolutions)})
    return Hint("linear_count", {"got": len(seen.linears)})


def _wrong_convolution(name: str, step: Step) -> Iterator[Hint]:
    want, (OC, C, *kernel) = CONVOLUTIONS[name], step.weight
    if step.groups != 1 or step.dilation != (1, 1):
        yield Hint("options", {"layer": name})
    if want[:2] != (C, OC):
        yield Hint("channels", {"layer": name, "got": f"{C} → {OC}"})
    if tuple(kernel) != (want.kernel_size,) * 2:
        yield Hint("kernel", {"layer": name, "got": "×".join(map(str, kernel))})
    if step.stride != (want.stride,) * 2:
        yield Hint("no_stride" if want.stride > 1 else "stride", {"layer": name, "got": step.stride[0]})
    elif step.padding != (want.padding,) * 2 and tuple(kernel) == (want.kernel_size,) * 2:
        yield _wrong_padding(name, want, *step.padding)
    if not step.bias:
        yield Hint("no_bias", {"layer": name})


def _wrong_padding(name: str, want: Convolution, above: int, left: int) -> Hint:
    side, got = want.output_size(want.padding), want.output_size(above)
    if above != left:
        return Hint("padding_uneven", {"layer": name})
    if got == side:
        return Hint("padding_fits", {"layer": name, "got": above, "side": side})
    return Hint("padding", {"layer": name, "padding": above, "got": got, "want": side})


def _wrong_linear(name: str, step: Step) -> Iterator[Hint]:
    given, (wanted_in, wanted_out) = step.input_shape, LINEARS[name]
    features_out, features_in = step.weight
    if len(given) > 2:
        yield Hint("no_flatten", {"layer": name, "got": str(given)})
    if len(given) < 2 or given[0] != 2:
        yield Hint("batch_lost", {"layer": name, "got": str(given)})
    if features_in != wanted_in or features_out != (wanted_out or features_out):
        yield Hint("features", {"layer": name, "got": f"{features_in} → {features_out}"})
    if not step.bias:
        yield Hint("no_bias", {"layer": name})


def _drawn_sizes(rows: dict[str, Step]) -> bool:
    """Whether images and vectors have the drawing's sizes before and after each layer."""
    for name, step in rows.items():
        if name in LINEARS:
            if step.input_shape[1:] != (LINEARS[name][0],):
                return False
        else:
            want = CONVOLUTIONS[name]
            side = want.output_size(want.padding)
            if step.input_shape[2:] != (want.size,) * 2 or step.output_shape[2:] != (side, side):
                return False
    return True


def _pairs(seen: Observation, rows: dict[str, Step]) -> Iterator[tuple[str, Step, Step]]:
    """A layer's name in the drawing, the layer, and the one that follows."""
    names = {id(step): name for name, step in rows.items()}
    for step, following in pairwise(seen.steps):
        if id(step) in names:
            yield names[id(step)], step, following


def _wrong_sides(seen: Observation, rows: dict[str, Step]) -> Iterator[Hint]:
    """Whether images become smaller where they should."""
    for name, step, following in _pairs(seen, rows):
        before, after = step.output_shape, following.input_shape
        if name not in CONVOLUTIONS or len(before) != 4 or not after:
            continue
        side = before[-1]
        got = after[-1] if len(after) == 4 else round((after[-1] / before[1]) ** 0.5)
        halves = {(side - 3) // 2 + 1, (side - 2) // 2 + 1}
        values = {"layer": name, "got": got, "before": side}
        if name in POOLED and got == side:
            yield Hint("no_pooling", values)
        elif name in POOLED and got not in halves:
            yield Hint("pooled_size", values)
        elif name not in POOLED and got != side:
            yield Hint("extra_pooling", values)


def _between(seen: Observation, rows: dict[str, Step]) -> list[Hint]:
    """What stands between the layers and after the last one, told from the values: pooling and ReLU."""
    found, windows = [], set()
    for name, step, following in _pairs(seen, rows):
        window, *hints = _explain(step.output, following.input, name in POOLED)
        windows |= {window} if window else set()
        found += [Hint(hint, {"layer": name}) for hint in hints]
    if len(windows) > 1:
        found.append(Hint("mixed"))
    last = rows.get("fc3")
    if last is not None and last is seen.steps[-1] and last.output is not None and seen.outputs is not None:
        wrong = _wrong_end(last.output, seen.outputs)
        found += [Hint(wrong, {"layer": "fc3"})] if wrong else []
    return found


def _wrong_end(scores: Tensor, outputs: Tensor) -> str:
    """Name of the hint for what stands after the last layer; empty if nothing does."""
    first = outputs[:1] if outputs.ndim else outputs
    if _equal(first, scores):
        return ""
    if _equal(first, F.relu(scores)):
        return "relu_at_end"
    over_images = bool((outputs >= 0).all()) and _close(outputs.sum(0), torch.ones(outputs.shape[1:]))
    if over_images or _equal(first, scores.softmax(-1)) or _equal(first, scores.log_softmax(-1)):
        return "softmax"
    return "other_end"


def _explain(before: Tensor | None, after: Tensor | None, pooled: bool) -> tuple[Any, ...]:
    """Window of the pooling, or None, and the hints, of what makes `after` of `before`."""
    if before is None or after is None:
        return None, "other_step"
    rectified = F.relu(before)
    for window in (3, 2) if pooled and before.ndim == 4 and min(before.shape[2:]) > 2 else ():
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


def _equal(got: Tensor | None, want: Tensor | None) -> bool:
    """Whether the values are equal up to rounding; a flattened tensor may be compared with a whole one."""
    if got is None or want is None:
        return False
    return _close(got, want.flatten(1) if got.ndim == 2 < want.ndim else want, tolerance=1e-6)


def _default(seen: Observation) -> Hint | None:
    if seen.no_default:
        return Hint("missing_default")
    got = seen.shapes.get("default")
    if got is None:
        return Hint("")  # it does not run
    return None if got[-1:] == (1000,) else Hint("other_default", {"got": str(got)})


def _outputs(seen: Observation, challenge: Challenge) -> Hint | None:
    for name, N in (("both", 2), ("alone", 1)):
        got, want = seen.shapes.get(name), (N, challenge.num_classes)
        if got is None:
            return Hint("" if seen.outputs is None else "one_image")
        if got != want:
            values = {"got": str(got), "want": str(want), "N": N}
            return Hint("classes_ignored") if got == (N, 1000) else Hint("output_shape", values)
    return None


def _gradients(seen: Observation) -> Hint | None:
    if seen.outputs is None:
        return Hint("")
    return Hint("no_gradient", {"name": seen.unreached[0]}) if seen.unreached else None


def _parameters(seen: Observation, same: bool) -> Hint | None:
    """As many as the layers compute with. If the outputs are right, that is as many as AlexNet has."""
    if seen.outputs is None:
        return Hint("")
    with torch.device("meta"):
        want = sum(p.numel() for p in AlexNet(seen.outputs.shape[1]).parameters()) if same else seen.used
    values = {"got": f"{seen.registered:,}", "want": f"{want:,}"}
    if seen.registered == want:
        return None
    return Hint("not_registered" if seen.registered < want else "unused_parameters", values)
