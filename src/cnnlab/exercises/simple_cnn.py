"""Checks of chapter `10_simple_cnn`."""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.exercises.report import Attempt, check


@check("simple_cnn.parameter_count")
def check_parameter_count(attempt: Attempt, answer) -> None:
    """Parameters of blocks 1→8 and 8→24, global average pooling, Linear(24, 5)."""
    weights = [8 * 1 * 3 * 3, 24 * 8 * 3 * 3, 5 * 24]
    biases, batch_norms = [8, 24, 5], [8 + 8, 24 + 24]
    want = sum(weights) + sum(biases) + sum(batch_norms)
    mistakes = [
        (want - sum(biases), "no_bias"),
        (want - sum(biases[:2]), "no_bias"),
        (want - sum(batch_norms), "no_batch_norm"),
        (want + sum(batch_norms), "running_statistics"),
        (want - 24 * 8 * 3 * 3 + 24 * 3 * 3, "no_input_channels"),
    ]
    attempt.compare(answer, want, mistakes=mistakes, reveal=False)


@check("simple_cnn.error_reading")
def check_error_reading(attempt: Attempt, answer) -> None:
    """Number of images and side of the feature map from "(7x1152 and 800x10)", 32 channels."""
    mistakes = [
        ((7, 36), "area"),
        ((7, 1152), "all_channels"),
        ((7, 5), "layer_instead_of_data"),
        ((10, 5), "layer_instead_of_data"),
        ((6, 7), "swapped"),
    ]
    attempt.compare(answer, (7, 6), mistakes=mistakes, reveal=False)


@check("simple_cnn.make_cnn")
def check_make_cnn(attempt: Attempt, answer) -> None:
    """Three blocks with 16, 32 and 64 channels, global average pooling and a fully connected layer."""
    for in_channels, num_classes in ((3, 10), (1, 4)):
        model = attempt.call(answer, in_channels, num_classes)
        attempt.require(isinstance(model, nn.Module), "not_a_module", got=type(model).__name__)
        model.eval()
        images = torch.randn(5, in_channels, 32, 32, generator=torch.Generator().manual_seed(0))
        output, features = _forward(attempt, model, images)
        attempt.require(
            tuple(output.shape) == (5, num_classes),
            "output_shape",
            got=tuple(output.shape),
            want=(5, num_classes),
        )
        attempt.require(features is None or features.min() >= 0, "no_relu")
        attempt.require(not torch.allclose(output.sum(1), torch.ones(5)), "softmax")
        _check_count(attempt, model, in_channels, num_classes)
        for height, width in ((8, 8), (24, 40)):
            _check_size(attempt, model, torch.zeros(5, in_channels, height, width), num_classes)


def _forward(attempt: Attempt, model: nn.Module, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """What `model` makes of `images`, and what its last fully connected layer was given."""
    seen: list[Tensor] = []
    linears = [module for module in model.modules() if isinstance(module, nn.Linear)]
    handles = [linears[-1].register_forward_pre_hook(lambda _, args: seen.append(args[0]))] if linears else []
    try:
        with torch.no_grad():
            output = model(images)
    except (RuntimeError, ValueError) as error:
        message = str(error).splitlines()[0]
        hint = "no_flatten" if re.search(r"\(\d+x1 and ", message) else "does_not_fit"
        attempt.fail(hint, shape=tuple(images.shape), message=message)
    finally:
        for handle in handles:
            handle.remove()
    return output, seen[-1] if seen else None


def _check_count(attempt: Attempt, model: nn.Module, in_channels: int, num_classes: int) -> None:
    convolutions = sum(
        c_out * c_in * 3 * 3 + c_out for c_in, c_out in ((in_channels, 16), (16, 32), (32, 64))
    )
    batch_norms = 2 * (16 + 32 + 64)
    want = convolutions + batch_norms + num_classes * 64 + num_classes
    got = sum(parameter.numel() for parameter in model.parameters())
    attempt.require(got != want - batch_norms, "no_batch_norm")
    flattened = num_classes * 64 * 4 * 4 + num_classes  # 32 / 2 / 2 / 2 = 4
    attempt.require(got != convolutions + batch_norms + flattened, "fixed_size")
    attempt.require(got == want, "count", got=f"{got:,}", want=f"{want:,}")


def _check_size(attempt: Attempt, model: nn.Module, images: Tensor, num_classes: int) -> None:
    try:
        with torch.no_grad():
            fits = tuple(model(images).shape) == (5, num_classes)
    except (RuntimeError, ValueError):
        fits = False
    attempt.require(fits, "fixed_size")


@check("simple_cnn.batch_norm_eval")
def check_batch_norm_eval(attempt: Attempt, answer) -> None:
    """Batch normalization with given statistics, source: `torch.nn.functional.batch_norm`."""
    generator = torch.Generator().manual_seed(0)
    for shape, eps in (((2, 3, 4, 3), 1e-5), ((4, 2, 3, 5), 0.5)):
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        mean, var, gamma, beta = torch.rand(4, shape[1], generator=generator, dtype=torch.float64) + 0.5
        got = attempt.call(answer, x, mean, var, gamma, beta, eps=eps)
        want = F.batch_norm(x, mean, var, gamma, beta, eps=eps)
        scaled = F.batch_norm(x, mean, var, eps=eps)
        mistakes = [
            (F.batch_norm(x, None, None, gamma, beta, training=True, eps=eps), "batch_statistics"),
            (_normalize(x, mean, (var + eps) ** 2, gamma, beta), "no_root"),
            (_normalize(x, mean, var, gamma, beta), "no_eps"),
            (_normalize(x, mean, (var.sqrt() + eps) ** 2, gamma, beta), "eps_outside"),
            (scaled, "no_scale"),
        ]
        if shape[1] == shape[3]:
            wrong_axis = _normalize(x.transpose(1, 3), mean, var + eps, gamma, beta).transpose(1, 3)
            mistakes.insert(0, (wrong_axis, "wrong_axis"))
        attempt.compare(got, want, mistakes=mistakes, rtol=1e-6)


def _normalize(x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, beta: Tensor) -> Tensor:
    mean, var, gamma, beta = (v.view(1, -1, 1, 1) for v in (mean, var, gamma, beta))  # (1, C, 1, 1)
    return gamma * (x - mean) / var.sqrt() + beta
