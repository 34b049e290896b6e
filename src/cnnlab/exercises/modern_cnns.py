"""Checks of chapter `14_modern_cnns`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cnnlab.exercises.report import Attempt, check


@check("modern_cnns.stack")
def check_stack(attempt: Attempt, answer) -> None:
    """How many 3×3 see as far as one 9×9, and the weights of both for 32 channels."""
    layers, stacked, single = 4, 4 * 9 * 32 * 32, 81 * 32 * 32
    mistakes = [
        (lambda got: got.shape == (3,) and got[0] == 3, "divided"),
        (lambda got: got.shape == (3,) and got[0] == 9, "nine_layers"),
        ((layers, stacked // layers, single), "one_layer"),
        ((layers, stacked // 32, single // 32), "one_channel"),
        ((layers, stacked // 32**2, single // 32**2), "no_channels"),
        ((layers, stacked + layers * 32, single + 32), "biases"),
        ((layers, single, stacked), "swapped"),
    ]
    attempt.compare(answer, (layers, stacked, single), mistakes=mistakes, reveal=False)


@check("modern_cnns.bottleneck")
def check_bottleneck(attempt: Attempt, bottleneck, plain) -> None:
    """Weights of 256→64→64→256 channels by 1×1, 3×3, 1×1, and of two 3×3 at 256 channels."""
    outer, middle, full = 256 * 64, 9 * 64 * 64, 9 * 256 * 256
    mistakes = [
        (outer + middle, "one_pointwise"),
        (2 * outer + 9 * 256 * 64, "middle_channels"),
        (2 * outer + 64 * 64, "middle_window"),
        (2 * outer + middle + 64 + 64 + 256, "biases"),
        (2 * full, "swapped"),
    ]
    attempt.compare(bottleneck, 2 * outer + middle, mistakes=mistakes, reveal=False)
    attempt.compare(plain, 2 * full, mistakes=[(full, "one_plain"), (2 * full + 512, "biases")], reveal=False)


@check("modern_cnns.multiply_adds")
def check_multiply_adds(attempt: Attempt, answer) -> None:
    """Multiplications with their additions of one convolution, with groups, lopsided sizes."""
    for C, OC, K, size, groups in (
        (6, 10, 3, 7, 1),
        (12, 12, 5, 9, 12),
        (8, 12, 3, 5, 4),
        (16, 24, 1, 11, 1),
    ):
        got = attempt.call(answer, C, OC, K, size, groups)
        want = OC * (C // groups) * K * K * size * size
        mistakes = [
            (OC * C * K * K * size * size, "no_groups"),
            ((OC // groups) * (C // groups) * K * K * size * size, "groups_twice"),
            (OC * (C // groups) * K * K, "no_positions"),
            (OC * (C // groups) * K * K * size, "one_axis"),
            (OC * K * K * size * size, "no_input_channels"),
            ((C // groups) * K * K * size * size, "no_output_channels"),
            (OC * (C // groups) * K * size * size, "one_side"),
            (2 * want, "twice"),
        ]
        attempt.compare(got, want, mistakes=[(wrong, hint) for wrong, hint in mistakes if wrong != want])


@check("modern_cnns.residual_block")
def check_residual_block(attempt: Attempt, answer) -> None:
    """``relu(F(x) + shortcut(x))``: computed again from what the block's own convolutions give."""
    for C, OC in ((6, 6), (4, 7), (7, 4)):
        model = attempt.call(answer, C, OC)
        attempt.require(isinstance(model, nn.Module), "not_a_module", got=type(model).__name__)
        model.eval()
        x = torch.randn(3, C, 5, 9, generator=torch.Generator().manual_seed(0))
        output, calls = _run(attempt, model, x)
        attempt.require(
            tuple(output.shape) == (3, OC, 5, 9), "output_shape", got=tuple(output.shape), want=(3, OC, 5, 9)
        )
        windows = [call for call in calls if call[0].kernel_size == (3, 3)]
        ones = [call for call in calls if call[0].kernel_size == (1, 1)]
        attempt.require(len(windows) == 2 == len(calls) - len(ones), "convolutions", got=len(windows))
        norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
        attempt.require(norms >= 2, "no_norm")
        attempt.require(not (C == OC and ones), "needless_pointwise")
        (_, first, _), (_, second, change) = windows
        attempt.require(first.shape == x.shape and torch.allclose(first, x), "first_input")
        attempt.require(second.min() >= 0, "no_inner_relu")
        shortcut = ones[0][2] if ones else x
        if shortcut.shape != change.shape:
            attempt.fail("no_pointwise")
        _check_sum(attempt, output, change, shortcut)


def _run(attempt: Attempt, model: nn.Module, x: Tensor) -> tuple[Tensor, list]:
    """What `model` makes of `x`, and each convolution with its input and output, in the order of use."""
    calls: list = []

    def note(layer: nn.Module, args: tuple, output: Tensor) -> None:
        calls.append((layer, args[0].detach().clone(), output.detach().clone()))

    handles = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, nn.Conv2d)]
    try:
        with torch.no_grad():
            try:
                model(x.clone())
            except RuntimeError as error:
                attempt.require("size of tensor" not in str(error), "cannot_add")
            calls.clear()
            output = attempt.call(model, x)
    finally:
        for handle in handles:
            handle.remove()
    attempt.require(isinstance(output, Tensor), "no_tensor", got=type(output).__name__)
    return output, calls


def _check_sum(attempt: Attempt, output: Tensor, change: Tensor, shortcut: Tensor) -> None:
    """Untrained batch normalization hardly changes a number in evaluation mode, so it may be left out."""
    rtol, atol = 1e-3, 1e-4
    mistakes = [
        (F.relu(change), "no_shortcut"),
        (change, "no_shortcut"),
        (change + shortcut, "no_last_relu"),
        (F.relu(change) + shortcut, "relu_before_sum"),
        (F.relu(F.relu(change) + shortcut), "relu_before_sum"),
        (change + F.relu(shortcut), "relu_on_shortcut"),
    ]
    for wrong, hint in mistakes:
        attempt.require(not torch.allclose(output, wrong, rtol, atol), hint)
    attempt.compare(output, F.relu(change + shortcut), rtol=rtol, atol=atol)
