"""Checks of chapter `12_visualization`."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.exercises.report import Attempt, check
from cnnlab.shapes import conv_output_size, receptive_field

MAPS = torch.tensor([[[2.0, 0.0], [1.0, 3.0]], [[0.0, 4.0], [2.0, 1.0]]])  # (C, H, W)
GRADIENTS = torch.tensor([[[1.0, 3.0], [2.0, 2.0]], [[-1.0, 0.0], [0.0, -3.0]]])  # (C, H, W)


@check("visualization.receptive_field")
def check_receptive_field(attempt: Attempt, answer) -> None:
    """Side of what a unit sees behind conv 5, pool 2, conv 3, pool 2, conv 3."""
    want = receptive_field([(5, 1), (2, 2), (3, 1), (2, 2), (3, 1)])
    mistakes = [
        (5 + 1 + 2 + 1 + 2, "no_step"),
        (5 + 2 * 2 + 2 * 4, "no_pooling"),
        (5 + 1 * 2 + 2 * 2 + 1 * 4 + 2 * 4, "step_too_early"),
        (5 * 2 * 3 * 2 * 3, "product"),
        (want**2, "area"),
    ]
    attempt.compare(answer, want, mistakes=mistakes, reveal=False)


@check("visualization.grad_cam_by_hand")
def check_grad_cam_by_hand(attempt: Attempt, weights, heat) -> None:
    """Two weights, and the 2×2 map, of Grad-CAM with two channels."""
    alpha = GRADIENTS.mean((1, 2))  # (C,)
    mistakes = [
        (GRADIENTS.sum((1, 2)), "sum"),
        (MAPS.mean((1, 2)), "mean_of_maps"),
        (alpha.abs(), "no_sign"),
        ((MAPS * GRADIENTS).mean((1, 2)), "mean_of_products"),
    ]
    attempt.compare(weights, alpha, mistakes=mistakes, reveal=False)
    weighted = alpha[:, None, None] * MAPS  # (C, H, W)
    mistakes = [
        (weighted.sum(0), "no_relu"),
        (F.relu(weighted).sum(0), "relu_too_early"),
        (F.relu((GRADIENTS * MAPS).sum(0)), "position_by_position"),
        (F.relu(weighted.mean(0)), "divided"),
    ]
    attempt.compare(heat, F.relu(weighted.sum(0)), mistakes=mistakes, reveal=False)


@check("visualization.saliency")
def check_saliency(attempt: Attempt, answer) -> None:
    """``saliency(model, x, labels)`` for colour images, source: Simonyan et al. (2013), section 3.1."""
    generator = torch.Generator().manual_seed(0)
    for model, shape in ((_linear(generator), (4, 2, 3, 5)), (_smooth(generator), (2, 3, 4, 5))):
        x = torch.randn(shape, generator=generator, dtype=torch.float64)  # (N, C, H, W)
        labels = torch.arange(shape[0]) * 2 % 3  # (N,)
        got = attempt.call(answer, model, x, labels)
        gradient = _slopes(_chosen, model, x, labels)  # (N, C, H, W)
        loss = _slopes(_losses, model, x, labels)
        probability = _slopes(_probabilities, model, x, labels)
        every = _slopes(lambda scores, labels: scores.sum(1), model, x, labels)
        best = _slopes(lambda scores, labels: scores.amax(1), model, x, labels)
        mistakes = [
            (lambda got, shape=shape: got.shape == shape, "channels_left"),
            (gradient.amax(1), "no_absolute"),
            (gradient.abs().sum(1), "sum_of_channels"),
            (gradient.abs().mean(1), "sum_of_channels"),
            (gradient.sum(1).abs(), "sum_of_channels"),
            (gradient.mean(1).abs(), "sum_of_channels"),
            (gradient.abs()[:, 0], "first_channel"),
            (loss.abs().amax(1), "loss"),
            (loss.abs().amax(1) / len(x), "loss"),
            (probability.abs().amax(1), "probability"),
            (every.abs().amax(1), "every_class"),
            (best.abs().amax(1), "predicted_class"),
        ]
        want = gradient.abs().amax(1)  # (N, H, W)
        attempt.compare(got, want, mistakes=_tolerant(mistakes), rtol=1e-4, atol=1e-6)


@check("visualization.occlusion")
def check_occlusion(attempt: Attempt, answer) -> None:
    """``occlusion(model, x, label, size, stride, value)`` for any number of channels."""
    generator = torch.Generator().manual_seed(0)
    model = _smooth(generator)
    for shape, label, size, stride, value in (((5, 8), 2, 2, 1, 0.0), ((7, 6), 0, 3, 2, 0.5)):
        x = torch.rand((1, 3, *shape), generator=generator, dtype=torch.float64)  # (1, C, H, W)
        got = attempt.call(answer, model, x, label, size, stride, value)
        want = _occluded(model, x, label, size, stride, value)  # (OH, OW)
        with torch.no_grad():
            whole = F.softmax(model(x), 1)[0, label]
        mistakes = [
            (lambda got, want=want: got.shape == want.T.shape != want.shape, "rows_and_columns"),
            (_occluded(model, x, label, size, stride, value, of=lambda s, k: s[k]), "score"),
            (whole - want, "difference"),
            (_occluded(model, x, label, size, stride, value, restore=False), "not_restored"),
            (_occluded(model, x, label, size, stride, 0.0), "zero"),
            (_occluded(model, x, label, size, stride, value, channels=1), "first_channel"),
            (
                _occluded(model, x, label, size, stride, value, of=lambda s, k: F.softmax(s, 0).max()),
                "best_class",
            ),
        ]
        if stride > 1:
            mistakes.append((_same_shape(_occluded(model, x, label, size, 1, value)), "no_stride"))
        attempt.compare(got, want, mistakes=mistakes, rtol=1e-4, atol=1e-6)


def _linear(generator: torch.Generator) -> nn.Module:
    """A linear model of (N, 2, 3, 5): its slopes are its weights."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 3 * 5, 3)).double()
    return _drawn(model, generator)


def _smooth(generator: torch.Generator) -> nn.Module:
    """A model of three channels and any size without a kink."""
    layers = (nn.Conv2d(3, 4, (2, 3)), nn.Tanh(), nn.Conv2d(4, 3, 1), nn.AdaptiveAvgPool2d((2, 1)))
    return _drawn(nn.Sequential(*layers, nn.Flatten(), nn.Linear(6, 3)).double(), generator)


def _drawn(model: nn.Module, generator: torch.Generator) -> nn.Module:
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    return model.eval()


def _chosen(scores: Tensor, labels: Tensor) -> Tensor:
    return scores[torch.arange(len(labels)), labels]  # (N,)


def _losses(scores: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(scores, labels, reduction="none")  # (N,)


def _probabilities(scores: Tensor, labels: Tensor) -> Tensor:
    return _chosen(F.softmax(scores, 1), labels)


def _slopes(
    of: Callable[[Tensor, Tensor], Tensor], model: nn.Module, x: Tensor, labels: Tensor, step: float = 1e-5
) -> Tensor:
    """By how much each image's number grows with each of its pixels, by differences: no autograd."""
    slopes = torch.empty_like(x)
    with torch.no_grad():
        for place in range(x[0].numel()):
            move = torch.zeros_like(x)
            move.flatten(1)[:, place] = step
            change = of(model(x + move), labels) - of(model(x - move), labels)  # (N,)
            slopes.flatten(1)[:, place] = change / (2 * step)
    return slopes


def _tolerant(mistakes: list) -> list:
    """Mistakes as predicates: slopes by differences agree with autograd to some digits only."""

    def alike(wrong: Tensor) -> Callable:
        return lambda got: (
            got.shape == wrong.shape
            and bool(torch.allclose(torch.as_tensor(got).double(), wrong, rtol=1e-4, atol=1e-6))
        )

    return [(wrong if callable(wrong) else alike(wrong), hint) for wrong, hint in mistakes]


def _same_shape(wrong: Tensor) -> Callable:
    return lambda got: got.shape == tuple(wrong.shape)


def _occluded(
    model: nn.Module,
    x: Tensor,
    label: int,
    size: int,
    stride: int,
    value: float,
    *,
    of: Callable[[Tensor, int], Tensor] = lambda scores, label: F.softmax(scores, 0)[label],
    restore: bool = True,
    channels: int | None = None,
) -> Tensor:
    """What `of` says about the scores of `x` with a patch at each position; the rest are mistakes."""
    OH, OW = (conv_output_size(n, size, stride) for n in x.shape[2:])
    out, covered = x.new_empty(OH, OW), x.clone()
    for row in range(OH):
        for column in range(OW):
            covered = x.clone() if restore else covered
            patch = (slice(row * stride, row * stride + size), slice(column * stride, column * stride + size))
            covered[0, :channels, patch[0], patch[1]] = value
            with torch.no_grad():
                out[row, column] = of(model(covered)[0], label)
    return out  # (OH, OW)
