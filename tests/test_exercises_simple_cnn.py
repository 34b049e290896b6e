"""Exercises of chapter `10_simple_cnn` in every language, and the messages of torch that it reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
import torch
import torch.nn.functional as F
from reports import failed
from torch import nn

from cnnlab.exercises import Report
from cnnlab.exercises.simple_cnn import (
    check_batch_norm_eval,
    check_error_reading,
    check_make_cnn,
    check_parameter_count,
)
from cnnlab.models import ConvBlock, SimpleCNN

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


in_each_language = pytest.mark.usefixtures("language")

# Exercise 1: parameter count


def test_parameter_count_solution() -> None:
    conv1, bn1 = 8 * 1 * 3 * 3 + 8, 8 + 8
    conv2, bn2 = 24 * 8 * 3 * 3 + 24, 24 + 24
    fc = 5 * 24 + 5
    assert (conv1, bn1, conv2, bn2, fc) == (80, 16, 1752, 48, 125)
    model = nn.Sequential(ConvBlock(1, 8), ConvBlock(8, 24), nn.Linear(24, 5))
    assert sum(p.numel() for p in model.parameters()) == conv1 + bn1 + conv2 + bn2 + fc == 2021
    assert check_parameter_count(2021).passed


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (2021 - 8 - 24 - 5, "no_bias"),
        (2021 - 8 - 24, "no_bias"),
        (2021 - 16 - 48, "no_batch_norm"),
        (2021 + 16 + 48, "running_statistics"),
        (80 + 16 + (24 * 9 + 24) + 48 + 125, "no_input_channels"),
        (1000, "value"),
        ("2021", "not_numeric"),
    ],
)
def test_parameter_count_mistakes(answer: object, hint: str) -> None:
    report = check_parameter_count(answer)
    failed(report, hint)
    assert "2021" not in " ".join(report.messages).replace(str(answer), "")


# Exercise 2: reading an error


def test_error_reading_solution() -> None:
    assert check_error_reading((7, 6)).passed
    assert check_error_reading([7, 6]).passed


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ((7, 36), "area"),
        ((7, 1152), "all_channels"),
        ((7, 5), "layer_instead_of_data"),
        ((6, 7), "swapped"),
        ((3, 3), "value"),
        (7, "shape"),
    ],
)
def test_error_reading_mistakes(answer: object, hint: str) -> None:
    failed(check_error_reading(answer), hint)


def test_error_reading_is_about_a_real_error() -> None:
    layer = nn.Sequential(nn.Flatten(), nn.Linear(32 * 5 * 5, 10))
    with pytest.raises(RuntimeError, match=r"shapes cannot be multiplied \(7x1152 and 800x10\)"):
        layer(torch.zeros(7, 32, 6, 6))


# Exercise 3: three blocks


def make_cnn(in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(*blocks(in_channels), *head(num_classes))


def blocks(in_channels: int, block: Callable[[int, int], nn.Module] = ConvBlock) -> list[nn.Module]:
    return [block(in_channels, 16), block(16, 32), block(32, 64)]


def head(num_classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, num_classes)]


def no_average(in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(*blocks(in_channels), nn.Flatten(), nn.Linear(64 * 4 * 4, num_classes))


def no_flatten(in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(*blocks(in_channels), nn.AdaptiveAvgPool2d(1), nn.Linear(64, num_classes))


def wrong_linear(in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(*blocks(in_channels), *head(num_classes)[:2], nn.Linear(32, num_classes))


def wrong_channels(in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(ConvBlock(in_channels, 16), ConvBlock(32, 64), *head(num_classes))


def two_blocks(in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(ConvBlock(in_channels, 16), ConvBlock(16, 64), *head(num_classes))


def fixed_classes(in_channels: int, num_classes: int) -> nn.Module:
    return make_cnn(in_channels, 7)


def with_softmax(in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(make_cnn(in_channels, num_classes), nn.Softmax(dim=1))


def without_batch_norm(in_channels: int, num_classes: int) -> nn.Module:
    def block(c_in: int, c_out: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))

    return nn.Sequential(*blocks(in_channels, block), *head(num_classes))


def without_relu(in_channels: int, num_classes: int) -> nn.Module:
    def block(c_in: int, c_out: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out), nn.MaxPool2d(2))

    return nn.Sequential(*blocks(in_channels, block), *head(num_classes))


def no_padding(in_channels: int, num_classes: int) -> nn.Module:
    def block(c_in: int, c_out: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(c_in, c_out, 3), nn.BatchNorm2d(c_out), nn.ReLU(), nn.MaxPool2d(2))

    return nn.Sequential(*blocks(in_channels, block), *head(num_classes))


def a_number(in_channels: int, num_classes: int) -> int:
    return 3


def raises(in_channels: int, num_classes: int) -> nn.Module:
    return nn.Sequential(ConvBlock(in_channels))  # type: ignore[call-arg]


class OwnClass(nn.Module):
    """The solution as a class, with torch's functions."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks(in_channels))
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


@pytest.mark.parametrize("answer", [make_cnn, OwnClass])
def test_make_cnn_solution(answer: Callable[[int, int], nn.Module]) -> None:
    assert check_make_cnn(answer).passed


def test_make_cnn_solution_whatever_the_seed() -> None:
    for seed in range(5):
        torch.manual_seed(seed)
        assert check_make_cnn(make_cnn).passed
        failed(check_make_cnn(without_relu), "no_relu")


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (no_average, "fixed_size"),
        (no_flatten, "no_flatten"),
        (wrong_linear, "does_not_fit"),
        (wrong_channels, "does_not_fit"),
        (two_blocks, "count"),
        (fixed_classes, "output_shape"),
        (with_softmax, "softmax"),
        (without_batch_norm, "no_batch_norm"),
        (without_relu, "no_relu"),
        (no_padding, "fixed_size"),
        (a_number, "not_a_module"),
        (raises, "raised"),
        (3, "not_callable"),
    ],
)
def test_make_cnn_mistakes(answer: Callable[[int, int], nn.Module], hint: str) -> None:
    failed(check_make_cnn(answer), hint)


# Exercise 4: batch normalization in evaluation mode


def per_channel(*vectors: torch.Tensor) -> list[torch.Tensor]:
    return [v.view(1, -1, 1, 1) for v in vectors]  # (1, C, 1, 1) each


def batch_norm_eval(x, mean, var, gamma, beta, eps=1e-5):
    mean, var, gamma, beta = per_channel(mean, var, gamma, beta)
    return gamma * (x - mean) / torch.sqrt(var + eps) + beta


def of_the_batch(x, mean, var, gamma, beta, eps=1e-5):
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    return batch_norm_eval(x, mean, var, gamma, beta, eps)


def last_axis(x, mean, var, gamma, beta, eps=1e-5):
    return gamma * (x - mean) / torch.sqrt(var + eps) + beta


def no_root(x, mean, var, gamma, beta, eps=1e-5):
    mean, var, gamma, beta = per_channel(mean, var, gamma, beta)
    return gamma * (x - mean) / (var + eps) + beta


def no_eps(x, mean, var, gamma, beta, eps=1e-5):
    return batch_norm_eval(x, mean, var, gamma, beta, 0.0)


def eps_outside(x, mean, var, gamma, beta, eps=1e-5):
    mean, var, gamma, beta = per_channel(mean, var, gamma, beta)
    return gamma * (x - mean) / (torch.sqrt(var) + eps) + beta


def no_scale(x, mean, var, gamma, beta, eps=1e-5):
    mean, var = per_channel(mean, var)
    return (x - mean) / torch.sqrt(var + eps)


def test_batch_norm_eval_solution() -> None:
    assert check_batch_norm_eval(batch_norm_eval).passed


@in_each_language
@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (of_the_batch, "batch_statistics"),
        (last_axis, "wrong_axis"),
        (no_root, "no_root"),
        (no_eps, "no_eps"),
        (eps_outside, "eps_outside"),
        (no_scale, "no_scale"),
        (lambda x, mean, var, gamma, beta, eps: x[0], "shape"),
    ],
)
def test_batch_norm_eval_mistakes(answer: Callable[..., torch.Tensor], hint: str) -> None:
    failed(check_batch_norm_eval(answer), hint)


# Stubs


def stub(*args: object, **kwargs: object) -> None: ...


def stub_raising(*args: object, **kwargs: object) -> None:
    raise NotImplementedError


@in_each_language
@pytest.mark.parametrize("check", [check_make_cnn, check_batch_norm_eval])
@pytest.mark.parametrize("answer", [stub, stub_raising, ..., None])
def test_stub_functions(check: Callable[[object], Report], answer: object) -> None:
    assert check(answer).status == "unanswered"


@in_each_language
@pytest.mark.parametrize("check", [check_parameter_count, check_error_reading])
@pytest.mark.parametrize("answer", [..., None, (..., ...)])
def test_stub_values(check: Callable[[object], Report], answer: object) -> None:
    assert check(answer).status == "unanswered"


# The chapter itself


def chapter(lang: str) -> dict[str, str]:
    """Sources of the cells of the chapter, by id."""
    notebook = nbformat.read(NOTEBOOKS / lang / "10_simple_cnn.ipynb", as_version=4)
    return {cell.id: cell.source for cell in notebook.cells}


def run(*sources: str) -> dict[str, object]:
    """What the cells define, run one after the other."""
    known: dict[str, object] = {"torch": torch, "nn": nn, "F": F}
    for source in sources:
        exec(source, known)
    return known


def test_chapter_builds_the_model_of_the_package() -> None:
    cells = chapter("ja")
    built = run(cells["block-class"], cells["module-class"])["SimpleCNN"]()  # type: ignore[operator]
    ours = SimpleCNN()
    built.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(built.eval()(x), ours.eval()(x))


# What the chapter says about torch's messages: the numbers and the words that the prose quotes


@pytest.mark.parametrize(
    ("provoke", "quoted"),
    [
        (lambda: SimpleCNN().block1(torch.zeros(5, 1, 32, 32)), "weight of size [16, 3, 3, 3]"),
        (lambda: SimpleCNN().block1(torch.zeros(5, 1, 32, 32)), "to have 3 channels, but got 1 channels"),
        (lambda: SimpleCNN().block1(torch.zeros(5, 32, 32, 3)), "to have 3 channels, but got 32 channels"),
        (lambda: SimpleCNN().block1(torch.zeros(3, 32, 32)), "expected 4D input (got 3D input)"),
        (lambda: nn.Linear(2048, 10)(torch.zeros(5, 32, 12, 12).flatten(1)), "(5x4608 and 2048x10)"),
        (lambda: SimpleCNN().fc(torch.zeros(5, 32, 1, 1)), "(160x1 and 32x10)"),
        (lambda: torch.zeros(7, 64, 3, 3).view(100, -1), "invalid for input of size 4032"),
    ],
)
def test_messages_that_the_chapter_reads(provoke: Callable[[], object], quoted: str) -> None:
    with pytest.raises((RuntimeError, ValueError)) as error:
        provoke()
    assert quoted in str(error.value)


def test_message_of_an_overwritten_tensor() -> None:
    y = torch.sigmoid(torch.zeros(2, requires_grad=True))
    z = F.relu(y, inplace=True)
    with pytest.raises(RuntimeError) as error:
        z.sum().backward()
    assert "modified by an inplace operation" in str(error.value)
    assert "is at version 1; expected version 0" in str(error.value)
