"""Exercises of chapter `13_alexnet`: ways in which AlexNet can be written, and what is wrong with others."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from reports import failed
from torch import Tensor, nn

from cnnlab import i18n
from cnnlab.exercises import Report
from cnnlab.exercises.alexnet import (
    POINTS,
    check,
    check_flatten_size,
    check_paddings,
    check_parameters,
    draw,
    judge,
    negative_shares,
)
from cnnlab.exercises.observation import Challenge, observe
from cnnlab.models import AlexNet

in_each_language = pytest.mark.usefixtures("language")
LANGUAGES = i18n.languages()

# The exercises that lead in


def test_lead_in_solutions() -> None:
    assert check_paddings([2, 2, 1, 1, 1]).passed
    assert check_paddings((2, 2, 1, 1, 1)).passed
    assert check_flatten_size(9216).passed
    assert check_parameters(307_392).passed
    layers = AlexNet(2)
    assert sum(p.numel() for p in layers.conv2.parameters()) == 307_392
    assert layers.fc1.in_features == 9216


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ([3, 2, 1, 1, 1], "larger_fits"),
        ([4, 4, 2, 2, 2], "both_sides"),
        ([5, 2, 1, 1, 1], "stride_forgotten"),
        ([1, 2, 1, 1, 1], "size"),
        ([2, 2, 1, 1, 0], "size"),
        ([0] * 5, "size"),
        ([2, 2, 1], "shape"),
        ([2.5, 2, 1, 1, 1], "value"),
        ([-1, 2, 1, 1, 1], "value"),
        ("22111", "not_numeric"),
    ],
)
def test_paddings_mistakes(answer: object, hint: str) -> None:
    failed(check_paddings(answer), hint)


def test_a_wrong_padding_is_told_with_the_size_that_it_gives(english: None) -> None:
    message = "With padding 0, `conv2` gives 23. The drawing has 27."
    assert check_paddings([2, 0, 1, 1, 1]).messages == (message,)


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (43_264, "before_pooling"),
        (36, "one_channel"),
        (1536, "one_side"),
        (12_544, "rounded_up"),
        (4096, "output_instead"),
        (1, "value"),
    ],
)
def test_flatten_size_mistakes(answer: object, hint: str) -> None:
    failed(check_flatten_size(answer), hint)


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (307_200, "no_bias"),
        (307_264, "bias_of_inputs"),
        (4992, "one_input_channel"),
        (1601, "one_filter"),
        (307_392 * 729, "every_position"),
        (1, "value"),
    ],
)
def test_parameters_mistakes(answer: object, hint: str) -> None:
    failed(check_parameters(answer), hint)


@in_each_language
@pytest.mark.parametrize("lead_in", [check_paddings, check_flatten_size, check_parameters])
@pytest.mark.parametrize("answer", [..., None, [2, ..., ..., ..., ...]])
def test_lead_in_stubs(lead_in: Callable[[object], Report], answer: object) -> None:
    assert lead_in(answer).status == "unanswered"


# Right ways of writing it


class AsModules(nn.Module):
    """One attribute for each layer, ReLU and pooling as functions; the mistakes below change parts of it."""

    pooling = staticmethod(lambda x: F.max_pool2d(x, 2))

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 11, 4, 2)
        self.conv2 = nn.Conv2d(64, 192, 5, padding=2)
        self.conv3 = nn.Conv2d(192, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 256, 3, padding=1)
        self.conv5 = nn.Conv2d(256, 256, 3, padding=1)
        self.fc1 = nn.Linear(256 * 6 * 6, 4096)
        self.fc2 = nn.Linear(4096, 4096)
        self.fc3 = nn.Linear(4096, num_classes)

    def relu(self, x: Tensor, name: str) -> Tensor:
        return F.relu(x)

    def pool(self, x: Tensor, name: str) -> Tensor:
        return self.pooling(x)

    def flatten(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), -1)

    def end(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.relu(self.conv1(x), "conv1"), "conv1")
        x = self.pool(self.relu(self.conv2(x), "conv2"), "conv2")
        x = self.relu(self.conv3(x), "conv3")
        x = self.relu(self.conv4(x), "conv4")
        x = self.pool(self.relu(self.conv5(x), "conv5"), "conv5")
        x = self.flatten(x)
        x = self.relu(self.fc1(x), "fc1")
        x = self.relu(self.fc2(x), "fc2")
        return self.end(self.fc3(x))


class OverlappingWindows(AsModules):
    pooling = staticmethod(lambda x: F.max_pool2d(x, 3, 2))


class InSequence(nn.Module):
    """Two `nn.Sequential`, in place, with dropout as published; pooling before ReLU, which is the same."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *(nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
            *(nn.Conv2d(64, 192, 5, padding="same"), nn.MaxPool2d(3, 2), nn.ReLU(inplace=True)),
            *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2)),
        )
        self.average = nn.AdaptiveAvgPool2d(6)  # of 6×6: nothing changes
        self.classifier = nn.Sequential(
            *(nn.Flatten(), nn.Dropout(), nn.Linear(9216, 4096), nn.ReLU(inplace=True)),
            *(nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Linear(4096, num_classes)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.average(self.features(x)))


class Lazy(nn.Module):
    """The sizes of inputs are left to PyTorch."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.LazyConv2d(channels, size, stride, padding)
            for channels, size, stride, padding in
            ((64, 11, 4, 2), (192, 5, 1, 2), (384, 3, 1, 1), (256, 3, 1, 1), (256, 3, 1, 1))
        )  # fmt: skip
        self.linears = nn.ModuleList(nn.LazyLinear(n) for n in (4096, 4096, num_classes))

    def forward(self, x: Tensor) -> Tensor:
        for number, convolution in enumerate(self.convolutions):
            x = convolution(x).clamp(min=0)
            x = x if number in (2, 3) else nn.functional.max_pool2d(x, kernel_size=2)
        x = torch.flatten(x, 1)
        for number, linear in enumerate(self.linears):
            x = linear(x) if number == 2 else torch.relu(linear(x))
        return x


class AsFunctions(nn.Module):
    """Weights as parameters, zeros put around by hand, everything else with torch's functions."""

    def __init__(self, *, num_classes: int = 1000) -> None:
        super().__init__()
        shapes = [(64, 3, 11, 11), (192, 64, 5, 5), (384, 192, 3, 3), (256, 384, 3, 3), (256, 256, 3, 3)]
        shapes += [(4096, 9216), (4096, 4096), (num_classes, 4096)]  # type: ignore[list-item]
        self.weights = nn.ParameterList(torch.empty(shape) for shape in shapes)
        self.biases = nn.ParameterList(torch.zeros(shape[0]) for shape in shapes)

    def forward(self, x: Tensor) -> Tensor:
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            if i < 5:
                p = (2, 2, 1, 1, 1)[i]
                x = F.pad(x, (p, p, p, p))
                x = torch.conv2d(input=x, weight=weight, bias=bias, stride=4 if i == 0 else 1)
                x = x if i in (2, 3) else F.adaptive_max_pool2d(x, {0: 27, 1: 13, 4: 6}[i])
            else:
                x = F.linear(x.reshape(len(x), -1), weight, bias=bias)
            x = x if i == 7 else x * (x > 0)
        return x


class AsProducts(nn.Module):
    """Convolutions as im2col and a matrix product, fully connected layers as `x @ weight + bias`."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        sizes = [(64, 363), (192, 1600), (384, 1728), (256, 3456), (256, 2304)]
        self.kernels = nn.ParameterList(torch.randn(size) for size in sizes)
        self.matrices = nn.ParameterList(
            torch.randn(n) for n in ((9216, 4096), (4096, 4096), (num_classes, 4096))
        )
        lengths = (64, 192, 384, 256, 256, 4096, 4096, num_classes)
        self.biases = nn.ParameterList(torch.zeros(n) for n in lengths)

    def forward(self, x: Tensor) -> Tensor:
        for i, kernel in enumerate(self.kernels):
            size, stride, padding = ((11, 4, 2), (5, 1, 2), (3, 1, 1), (3, 1, 1), (3, 1, 1))[i]
            side = (x.shape[-1] + 2 * padding - size) // stride + 1
            columns = F.unfold(x, size, padding=padding, stride=stride)
            x = (kernel @ columns + self.biases[i].view(-1, 1)).view(len(x), -1, side, side).relu()
            x = x if i in (2, 3) else F.max_pool2d(x, 3, 2)
        x = (x.flatten(1) @ self.matrices[0] + self.biases[5]).relu()
        x = torch.addmm(self.biases[6], x, self.matrices[1]).relu()
        return torch.matmul(x, self.matrices[2].T) + self.biases[7]


class 合成(AsModules):
    """Names in any alphabet, layers registered in any order, weights made by other means."""

    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__(num_classes)
        self.출력, self.fc3 = self.fc3, nn.Identity()  # type: ignore[assignment]
        self.最初, self.conv1 = self.conv1, nn.Identity()  # type: ignore[assignment]
        nn.init.kaiming_normal_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.출력(super().forward(self.最初(x)))


RIGHT = [AsModules, OverlappingWindows, InSequence, Lazy, AsFunctions, AsProducts, 合成]


@pytest.mark.parametrize("answer", RIGHT)
def test_right_ways(answer: type[nn.Module]) -> None:
    report = check(answer)
    assert report.passed, report
    assert [criterion.points for criterion in report.criteria] == list(POINTS.values())
    assert (report.score, report.max_score) == (100, 100)


def test_nothing_goes_to_stderr(capfd: pytest.CaptureFixture) -> None:
    class Talks(AsModules):
        def forward(self, x: Tensor) -> Tensor:
            warnings.warn("x", stacklevel=1)
            print("y", file=sys.stderr)
            return super().forward(x)

    assert check(Talks).passed
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("model", [AlexNet, torchvision.models.alexnet])
def test_a_finished_model_gives_no_points(model: Callable, english: None) -> None:
    class Inherits(AlexNet): ...

    class Holds(nn.Module):
        def __init__(self, num_classes: int = 1000) -> None:
            super().__init__()
            self.inner = model(num_classes=num_classes)

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x)

    class TakesApart(Holds):
        def __init__(self, num_classes: int = 1000) -> None:
            nn.Module.__init__(self)
            self.layers = nn.Sequential(*model(num_classes=num_classes).children())

    for answer in (model, Inherits, Holds, TakesApart):
        report = check(answer)
        failed(report, "wraps")
        assert report.score == report.max_score == 0
        assert "models" in report.messages[0]


def test_a_function_that_builds_it_is_right() -> None:
    assert check(lambda num_classes=1000: nn.Sequential(InSequence(num_classes), nn.Identity())).passed


# Mistakes


def changed(**parts: Callable[[int], nn.Module]) -> type[AsModules]:
    """`AsModules` with other layers; each part is made with the number of classes."""

    class Changed(AsModules):
        def __init__(self, num_classes: int = 1000) -> None:
            super().__init__(num_classes)
            for name, make in parts.items():
                setattr(self, name, make(num_classes))

    return Changed


class WithoutDefault(AsModules):
    def __init__(self, num_classes: int) -> None:
        super().__init__(num_classes)


class OtherDefault(AsModules):
    def __init__(self, num_classes: int = 10) -> None:
        super().__init__(num_classes)


class OtherName(AsModules):
    def __init__(self, classes: int = 1000) -> None:
        super().__init__(classes)


def without_relu(name: str) -> type[AsModules]:
    class WithoutRelu(AsModules):
        def relu(self, x: Tensor, layer: str) -> Tensor:
            return x if layer == name else F.relu(x)

    return WithoutRelu


def other_relu(function: Callable[[Tensor], Tensor]) -> type[AsModules]:
    class OtherActivation(AsModules):
        def relu(self, x: Tensor, layer: str) -> Tensor:
            return function(x)

    return OtherActivation


def other_pool(function: Callable[[Tensor], Tensor], *names: str) -> type[AsModules]:
    class OtherPool(AsModules):
        def pool(self, x: Tensor, name: str) -> Tensor:
            return function(x) if name in (names or ("conv1", "conv2", "conv5")) else super().pool(x, name)

    return OtherPool


def other_flatten(function: Callable[[Tensor], Tensor]) -> type[AsModules]:
    class OtherFlatten(AsModules):
        def flatten(self, x: Tensor) -> Tensor:
            return function(x)

    return OtherFlatten


def other_end(function: Callable[[Tensor], Tensor]) -> type[AsModules]:
    class OtherEnd(AsModules):
        def end(self, x: Tensor) -> Tensor:
            return function(x)

    return OtherEnd


class PoolsTooOften(AsModules):
    def relu(self, x: Tensor, name: str) -> Tensor:
        return F.max_pool2d(F.relu(x), 2) if name == "conv3" else F.relu(x)


class AlwaysDrops(AsModules):
    def relu(self, x: Tensor, name: str) -> Tensor:
        return F.dropout(F.relu(x)) if name == "fc1" else F.relu(x)


class InAList(AsModules):
    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__(num_classes)
        hidden = [self.fc2]
        del self.fc2
        self.fc2 = lambda x: hidden[0](x)  # type: ignore[assignment]


class FourConvolutions(AsModules):
    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__(num_classes)
        self.conv4 = nn.Identity()  # type: ignore[assignment]
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1)


class WithoutGradients(AsModules):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.conv1(x)
        x = F.relu(x)
        x = self.pool(F.relu(self.conv2(self.pool(x, "conv1"))), "conv2")
        x = F.relu(self.conv4(F.relu(self.conv3(x))))
        x = self.pool(F.relu(self.conv5(x)), "conv5").flatten(1)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x)))))


class ScaledWeights(AsModules):
    def forward(self, x: Tensor) -> Tensor:
        conv1 = F.conv2d(x, 2 * self.conv1.weight, self.conv1.bias, 4, 2)
        kept, self.conv1 = self.conv1, nn.Identity()  # type: ignore[assignment]
        try:
            return super().forward(conv1)
        finally:
            self.conv1 = kept


class CutsTheImage(AsModules):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x[..., 1:, 1:])  # 223 becomes 55, too


class OnlySeveral(AsModules):
    def flatten(self, x: Tensor) -> Tensor:
        return x.squeeze(0).flatten(1)


def not_a_module(num_classes: int = 1000) -> int:
    return num_classes


MISTAKES: dict[str, tuple[object, str]] = {
    "missing default": (WithoutDefault, "missing_default"),
    "other default": (OtherDefault, "other_default"),
    "other name of the argument": (OtherName, "no_argument"),
    "num_classes ignored": (changed(fc3=lambda n: nn.Linear(4096, 1000)), "classes_ignored"),
    "one class too many": (changed(fc3=lambda n: nn.Linear(4096, n + 1)), "other_default"),
    "without padding": (changed(conv1=lambda n: nn.Conv2d(3, 64, 11, 4)), "padding"),
    "padding that fits": (changed(conv1=lambda n: nn.Conv2d(3, 64, 11, 4, 3)), "padding_fits"),
    "padding of one": (changed(conv2=lambda n: nn.Conv2d(64, 192, 5, padding=1)), "padding"),
    "uneven padding": (changed(conv1=lambda n: nn.Conv2d(3, 64, 11, 4, (2, 3))), "padding_uneven"),
    "stride forgotten": (changed(conv1=lambda n: nn.Conv2d(3, 64, 11, padding=2)), "no_stride"),
    "stride where none is": (changed(conv3=lambda n: nn.Conv2d(192, 384, 3, 2, 1)), "stride"),
    "kernel": (changed(conv2=lambda n: nn.Conv2d(64, 192, 3, padding=1)), "kernel"),
    "channels that fit": (
        changed(
            conv4=lambda n: nn.Conv2d(384, 384, 3, padding=1),
            conv5=lambda n: nn.Conv2d(384, 256, 3, padding=1),
        ),
        "channels",
    ),
    "channels that do not": (changed(conv2=lambda n: nn.Conv2d(3, 192, 5, padding=2)), "channels"),
    "two columns": (changed(conv2=lambda n: nn.Conv2d(64, 192, 5, padding=2, groups=2)), "options"),
    "convolution without bias": (
        changed(conv3=lambda n: nn.Conv2d(192, 384, 3, padding=1, bias=False)),
        "no_bias",
    ),
    "linear without bias": (changed(fc3=lambda n: nn.Linear(4096, n, bias=False)), "no_bias"),
    "four convolutions": (FourConvolutions, "convolution_count"),
    "two linears": (
        changed(fc2=lambda n: nn.Identity()),
        "linear_count",
    ),
    "features": (
        changed(fc1=lambda n: nn.Linear(9216, 2048), fc2=lambda n: nn.Linear(2048, 4096)),
        "features",
    ),
    "features that do not fit": (changed(fc1=lambda n: nn.Linear(256, 4096)), "features"),
    "flatten missing": (other_flatten(lambda x: x), "no_flatten"),
    "images mixed": (other_flatten(lambda x: x.view(-1)), "batch_lost"),
    "flattened in another order": (other_flatten(lambda x: x.permute(0, 2, 3, 1).flatten(1)), "other_step"),
    "no relu": (other_relu(lambda x: x), "no_relu"),
    "no relu after conv4": (without_relu("conv4"), "no_relu"),
    "no relu after conv5": (without_relu("conv5"), "no_relu"),
    "no relu after fc2": (without_relu("fc2"), "no_relu"),
    "leaky relu": (other_relu(F.leaky_relu), "other_step"),
    "batch normalization": (
        changed(conv3=lambda n: nn.Sequential(nn.Conv2d(192, 384, 3, padding=1), nn.BatchNorm2d(384))),
        "other_step",
    ),
    "response normalization": (
        other_pool(lambda x: F.local_response_norm(F.max_pool2d(x, 2), 5), "conv1"),
        "other_step",
    ),
    "average pooling": (other_pool(lambda x: F.avg_pool2d(x, 3, 2)), "average"),
    "no pooling": (other_pool(lambda x: x, "conv5"), "no_pooling"),
    "no first pooling": (other_pool(lambda x: x, "conv1"), "no_pooling"),
    "pooling with padding": (other_pool(lambda x: F.max_pool2d(x, 3, 2, 1), "conv2"), "pooled_size"),
    "pooling too often": (PoolsTooOften, "extra_pooling"),
    "two kinds of windows": (other_pool(lambda x: F.max_pool2d(x, 3, 2), "conv5"), "mixed"),
    "softmax": (other_end(lambda x: F.softmax(x, dim=1)), "softmax"),
    "softmax over the images": (other_end(lambda x: F.softmax(x, dim=0)), "softmax"),
    "log softmax": (other_end(lambda x: F.log_softmax(x, dim=1)), "softmax"),
    "relu on the scores": (other_end(F.relu), "relu_at_end"),
    "sigmoid": (other_end(torch.sigmoid), "other_end"),
    "one image loses its axis": (other_end(torch.squeeze), "output_shape"),
    "return forgotten": (other_end(lambda x: None), "no_return"),  # type: ignore[arg-type,return-value]
    "dropout that does not stop": (AlwaysDrops, "random"),
    "layer in a list": (InAList, "not_registered"),
    "weights without gradients": (WithoutGradients, "no_gradient"),
    "weights that are scaled": (ScaledWeights, "other_values"),
    "only several images": (OnlySeveral, "one_image"),
    "image that is cut": (CutsTheImage, "other_sizes"),
    "layer that is not used": (changed(extra=lambda n: nn.Linear(3, 3)), "unused_parameters"),
    "an instance": (nn.Linear(2, 2), "instance"),
    "not a module": (not_a_module, "not_a_module"),
    "not a class": (3, "not_callable"),
}


@pytest.fixture
def in_turn(request: pytest.FixtureRequest) -> Iterator[None]:
    """One language after the other: the hints of all of them have the same placeholders."""
    before = i18n.language()
    i18n.set_language(LANGUAGES[list(MISTAKES).index(request.node.callspec.id) % len(LANGUAGES)])
    yield
    i18n.set_language(before)


# Mistakes in spite of which the network computes what AlexNet computes.
FULL_FUNCTION = {"missing_default", "other_default", "not_registered", "unused_parameters", "no_gradient"}


@pytest.mark.usefixtures("in_turn")
@pytest.mark.parametrize(("answer", "hint"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes(answer: object, hint: str) -> None:
    report = check(answer)
    failed(report, hint)
    assert not report.criteria or not all(criterion.holds for criterion in report.criteria)
    assert (
        0 <= report.score < 100
        and not (report.criteria and report.criteria[-1].holds)
        or hint in FULL_FUNCTION
    )


LAYERS = ["conv1", "conv2", "conv3", "conv4", "conv5", "fc1", "fc2"]


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_a_challenge_follows_from_its_seed_and_is_told_apart_by_every_relu(seed: int) -> None:
    challenge = draw(seed)
    draw.cache_clear()
    assert draw(seed) == challenge != draw(seed + 1)
    assert 11 <= challenge.num_classes < 60
    assert "same" not in missed(AsModules, challenge)
    for wrong in [*map(without_relu, LAYERS), other_end(F.relu)]:
        assert {"relu", "same"} <= missed(wrong, challenge)


@pytest.mark.parametrize("seed", [962869285, 743144841])
def test_a_challenge_that_would_hide_a_relu_is_known(seed: int) -> None:
    """All its scores are above zero, so that a ReLU after them would be given full marks."""
    hiding = Challenge(seed, random.Random(seed).randrange(11, 60))
    assert missed(other_end(F.relu), hiding) == set()
    assert min(negative_shares(hiding)) == 0


def missed(answer: type[nn.Module], challenge: Challenge) -> set[str]:
    return {found.criterion for found in judge(observe(answer, challenge), challenge) if not found.holds}


def test_every_hint_is_reached() -> None:
    words = i18n.catalogue("en")
    known = {key.rpartition(".")[2] for key in words if key.startswith("exercises.alexnet.my_alexnet.")}
    reached = {hint for _, hint in MISTAKES.values()} | {"stopped", "different", "wraps", "title"}
    assert known - set(POINTS) - reached == set()


def wrong_criteria(report: Report) -> list[str]:
    return [name for name, criterion in zip(POINTS, report.criteria) if not criterion.holds]


@pytest.mark.parametrize(
    ("name", "criteria"),
    [
        ("missing default", ["default"]),
        ("num_classes ignored", ["outputs", "same"]),
        ("padding that fits", ["conv1", "same"]),
        ("without padding", ["conv1", "sizes", "same"]),
        ("channels that fit", ["conv4", "conv5", "same"]),
        ("average pooling", ["pooling", "same"]),
        ("no relu after conv4", ["relu", "same"]),
        ("softmax", ["relu", "same"]),
        ("two kinds of windows", ["pooling", "same"]),
        ("layer that is not used", ["parameters"]),
        ("layer in a list", ["parameters"]),
        ("weights without gradients", ["gradients"]),
        ("dropout that does not stop", ["relu", "steady", "same"]),
        ("linear without bias", ["fc3", "same"]),
        ("four convolutions", ["conv5", "sizes", "pooling", "relu", "same"]),
        ("one image loses its axis", ["outputs", "same"]),
        ("flattened in another order", ["relu", "same"]),
    ],
)
def test_only_what_is_wrong_is_marked(name: str, criteria: list[str], english: None) -> None:
    assert wrong_criteria(check(MISTAKES[name][0])) == criteria


def test_each_mistake_of_several_has_its_hint(english: None) -> None:
    class Several(AsModules):
        def __init__(self, num_classes: int) -> None:
            super().__init__(1000)
            self.conv1 = nn.Conv2d(3, 64, 11, 4, 3)
            self.conv5 = nn.Conv2d(256, 256, 3, padding=1, bias=False)

        def end(self, x: Tensor) -> Tensor:
            return F.relu(x)

    report = check(Several)
    assert wrong_criteria(report) == ["default", "outputs", "conv1", "conv5", "relu", "same"]
    starts = [
        "`MyAlexNet()` cannot be",
        "The output has 1000",
        "`conv1` has padding 3",
        "`conv5` has no bias",
    ]
    starts += ["There is a ReLU after `fc3`"]
    assert [m.startswith(s) for m, s in zip(report.messages, starts)] == [True] * 5


def test_an_error_on_the_way_is_told_with_its_cause(english: None) -> None:
    class WithoutPadding(OverlappingWindows):
        def __init__(self, num_classes: int = 1000) -> None:
            super().__init__(num_classes)
            self.conv1 = nn.Conv2d(3, 64, 11, 4)

    report = check(WithoutPadding)
    assert report.messages[0].startswith("With padding 0, `conv1` gives 54×54.")
    assert "shapes cannot be multiplied (2x6400 and 9216x4096)" in report.messages[1]


def test_an_error_of_another_kind_is_told_with_its_line(english: None) -> None:
    class Misspelt(AsModules):
        def forward(self, x: Tensor) -> Tensor:
            return self.covn1(x)

    report = check(Misspelt)
    assert report.hint == "raised" and "covn1" in report.messages[0]
    assert "return self.covn1(x)" in report.messages[1]


# Stubs


class Stub(nn.Module):
    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()
        # TODO

    def forward(self, x: Tensor) -> Tensor: ...  # type: ignore[empty-body]


class HalfWritten(AsModules):
    def forward(self, x: Tensor) -> Tensor: ...  # type: ignore[empty-body]


class AsInTheChapter(Stub):
    def forward(self, x: Tensor) -> Tensor:
        return ...  # type: ignore[return-value]


class GivesBack(Stub):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Raising(Stub):
    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Empty(nn.Module): ...


class WithoutForward(nn.Module):
    def __init__(self, num_classes: int = 1000) -> None:
        super().__init__()


@in_each_language
@pytest.mark.parametrize(
    "answer",
    [Stub, AsInTheChapter, GivesBack, Raising, Empty, WithoutForward, lambda num_classes: ..., ...],
)
def test_stubs(answer: object) -> None:
    assert check(answer).status == "unanswered"


def test_a_network_without_forward_is_not_answered() -> None:
    assert check(HalfWritten).status == "unanswered"


# What a check leaves behind: nothing


def test_nothing_global_changes() -> None:
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]
    settings = (torch.is_grad_enabled(), torch.get_num_threads(), torch.get_default_dtype())
    assert check(InSequence).passed
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # type: ignore[index]
    assert before == after
    assert settings == (torch.is_grad_enabled(), torch.get_num_threads(), torch.get_default_dtype())
    assert nn.Linear(3, 3).weight.any()  # layers fill their weights again


def test_two_checks_say_the_same() -> None:
    assert check(AsModules) == check(AsModules)
    assert check(AlwaysDrops) == check(AlwaysDrops)
