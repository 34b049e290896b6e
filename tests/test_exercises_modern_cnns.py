"""Exercises of chapter `14_modern_cnns` in every language."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from reports import failed
from torch import nn

from cnnlab.exercises.modern_cnns import (
    check_bottleneck,
    check_multiply_adds,
    check_residual_block,
    check_stack,
)
from cnnlab.models import ResidualBlock, multiply_adds

in_each_language = pytest.mark.usefixtures("language")

# Exercise 1: stacked 3×3


@pytest.mark.parametrize("answer", [(4, 36_864, 82_944), [4, 36864, 82944]])
def test_stack_solution(answer: object) -> None:
    assert check_stack(answer).passed


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ((3, 27_648, 82_944), "divided"),
        ((9, 82_944, 82_944), "nine_layers"),
        ((4, 9_216, 82_944), "one_layer"),
        ((4, 4 * 9 * 32, 81 * 32), "one_channel"),
        ((4, 36, 81), "no_channels"),
        ((4, 4 * (9_216 + 32), 82_944 + 32), "biases"),
        ((4, 82_944, 36_864), "swapped"),
        ((4, 1, 1), "value"),
        ((4, 36_864), "shape"),
        ("4", "not_numeric"),
    ],
)
def test_stack_mistakes(answer: object, hint: str) -> None:
    failed(check_stack(answer), hint)


# Exercise 2: bottleneck


def test_bottleneck_solution() -> None:
    narrow = nn.Sequential(nn.Conv2d(256, 64, 1), nn.Conv2d(64, 64, 3), nn.Conv2d(64, 256, 1))
    plain = nn.Sequential(nn.Conv2d(256, 256, 3), nn.Conv2d(256, 256, 3))
    weights = [sum(layer.weight.numel() for layer in block) for block in (narrow, plain)]
    assert check_bottleneck(*weights).passed


@in_each_language
@pytest.mark.parametrize(
    ("bottleneck", "plain", "hint"),
    [
        (16_384 + 36_864, 1_179_648, "one_pointwise"),
        (2 * 16_384 + 9 * 256 * 64, 1_179_648, "middle_channels"),
        (2 * 16_384 + 64 * 64, 1_179_648, "middle_window"),
        (69_632 + 384, 1_179_648, "biases"),
        (69_632, 1_179_648 + 512, "biases"),
        (1_179_648, 69_632, "swapped"),
        (69_632, 589_824, "one_plain"),
        (1, 1_179_648, "value"),
    ],
)
def test_bottleneck_mistakes(bottleneck: int, plain: int, hint: str) -> None:
    failed(check_bottleneck(bottleneck, plain), hint)


# Exercise 3: multiply-adds


def conv_multiply_adds(in_channels: int, out_channels: int, kernel_size: int, size: int, groups: int) -> int:
    outputs = out_channels * size * size
    return outputs * (in_channels // groups) * kernel_size**2


def by_layer(in_channels: int, out_channels: int, kernel_size: int, size: int, groups: int) -> int:
    layer = nn.Conv2d(in_channels, out_channels, kernel_size, groups=groups)
    side = size + kernel_size - 1
    return multiply_adds(layer, (in_channels, side, side))


@pytest.mark.parametrize("answer", [conv_multiply_adds, by_layer])
def test_multiply_adds_solution(answer: Callable[..., int]) -> None:
    assert check_multiply_adds(answer).passed


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda C, OC, K, size, groups: OC * C * K * K * size * size, "no_groups"),
        (lambda C, OC, K, size, groups: OC // groups * (C // groups) * K * K * size * size, "groups_twice"),
        (lambda C, OC, K, size, groups: OC * (C // groups) * K * K, "no_positions"),
        (lambda C, OC, K, size, groups: OC * (C // groups) * K * K * size, "one_axis"),
        (lambda C, OC, K, size, groups: OC * K * K * size * size, "no_input_channels"),
        (lambda C, OC, K, size, groups: (C // groups) * K * K * size * size, "no_output_channels"),
        (lambda C, OC, K, size, groups: OC * (C // groups) * K * size * size, "one_side"),
        (lambda *given: 2 * conv_multiply_adds(*given), "twice"),
        (lambda *given: 17, "value"),
        (17, "not_callable"),
    ],
)
def test_multiply_adds_mistakes(answer: object, hint: str) -> None:
    failed(check_multiply_adds(answer), hint)


# Exercise 4: a residual block


class Solution(nn.Module):
    """The right answer; each class below changes one thing."""

    norm: Callable[[int], nn.Module] = nn.BatchNorm2d
    second_input = staticmethod(F.relu)

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.norm1 = type(self).norm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.norm2 = type(self).norm(out_channels)
        self.shortcut = self.make_shortcut(in_channels, out_channels)

    def make_shortcut(self, in_channels: int, out_channels: int) -> nn.Module:
        if in_channels == out_channels:
            return nn.Identity()
        return nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def change(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm2(self.conv2(self.second_input(self.norm1(self.conv1(x)))))

    def forward(self, x: torch.Tensor) -> object:
        return F.relu(self.change(x) + self.shortcut(x))


class AlwaysPointwise(Solution):
    def make_shortcut(self, in_channels: int, out_channels: int) -> nn.Module:
        return nn.Conv2d(in_channels, out_channels, 1)


class NeverPointwise(Solution):
    def make_shortcut(self, in_channels: int, out_channels: int) -> nn.Module:
        return nn.Identity()


class NoPadding(Solution):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.conv1.padding = (0, 0)


class Padded(Solution):
    """Cuts and repeats channels instead of mixing them."""

    def forward(self, x: torch.Tensor) -> object:
        out = self.change(x)
        return F.relu(out + x.repeat(1, 2, 1, 1)[:, : out.shape[1]])


class NoNorm(Solution):
    norm = nn.Identity


class NoInnerReLU(Solution):
    second_input = staticmethod(lambda x: x)


class NoShortcut(Solution):
    def forward(self, x: torch.Tensor) -> object:
        self.shortcut(x)
        return F.relu(self.change(x))


class NoLastReLU(Solution):
    def forward(self, x: torch.Tensor) -> object:
        return self.change(x) + self.shortcut(x)


class EarlyReLU(Solution):
    def forward(self, x: torch.Tensor) -> object:
        return F.relu(self.change(x)) + self.shortcut(x)


class ThreeReLUs(Solution):
    def forward(self, x: torch.Tensor) -> object:
        return F.relu(F.relu(self.change(x)) + self.shortcut(x))


class ShortcutReLU(Solution):
    def forward(self, x: torch.Tensor) -> object:
        return self.change(x) + F.relu(self.shortcut(x))


class ReLUFirst(Solution):
    def change(self, x: torch.Tensor) -> torch.Tensor:
        return super().change(F.relu(x))


class OneConvolution(Solution):
    def change(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm1(self.conv1(x))


class Strided(Solution):
    def forward(self, x: torch.Tensor) -> object:
        return super().forward(x)[:, :, ::2]  # type: ignore[index]


class Pair(Solution):
    def forward(self, x: torch.Tensor) -> object:
        return super().forward(x), x


class Doubled(Solution):
    def forward(self, x: torch.Tensor) -> object:
        return 2 * super().forward(x)  # type: ignore[operator]


class InPlace(Solution):
    """Right, and changes its input on the way."""

    def forward(self, x: torch.Tensor) -> object:
        out = self.change(x)
        return F.relu(out.add_(self.shortcut(x)), inplace=True)


class WithSequential(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(out_channels, out_channels, 3, padding="same"),
            nn.BatchNorm2d(out_channels),
        )
        self.match = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu((self.match(x) if self.match else x) + self.path(x))


@pytest.mark.parametrize("answer", [Solution, ResidualBlock, InPlace, WithSequential])
def test_residual_block_solution(answer: type) -> None:
    report = check_residual_block(answer)
    assert report.passed, report


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (AlwaysPointwise, "needless_pointwise"),
        (NeverPointwise, "cannot_add"),
        (NoPadding, "cannot_add"),
        (Padded, "no_pointwise"),
        (NoNorm, "no_norm"),
        (NoInnerReLU, "no_inner_relu"),
        (NoShortcut, "no_shortcut"),
        (NoLastReLU, "no_last_relu"),
        (EarlyReLU, "relu_before_sum"),
        (ThreeReLUs, "relu_before_sum"),
        (ShortcutReLU, "relu_on_shortcut"),
        (ReLUFirst, "first_input"),
        (OneConvolution, "convolutions"),
        (Strided, "output_shape"),
        (Pair, "no_tensor"),
        (Doubled, "value"),
        (lambda C, OC: F.relu, "not_a_module"),
        (3, "not_callable"),
        (lambda C, OC: nn.Linear(C, OC), "raised"),
    ],
)
def test_residual_block_mistakes(answer: object, hint: str) -> None:
    failed(check_residual_block(answer), hint)


# Stubs


class Stub(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()

    def forward(self, x: torch.Tensor) -> object:
        return ...


def stub(*args: object) -> None: ...


@in_each_language
@pytest.mark.parametrize("check", [check_stack, check_multiply_adds, check_residual_block])
@pytest.mark.parametrize("answer", [..., None])
def test_stubs(check: Callable, answer: object) -> None:
    assert check(answer).status == "unanswered"


@in_each_language
def test_other_stubs() -> None:
    assert check_stack((..., ..., ...)).status == "unanswered"
    assert check_bottleneck(..., ...).status == "unanswered"
    assert check_bottleneck(69_632, ...).status == "unanswered"
    assert check_multiply_adds(stub).status == "unanswered"
    assert check_residual_block(Stub).status == "unanswered"
