"""Checks of chapter `03_padding_stride`."""

import numpy as np

from cnnlab import ops
from cnnlab.exercises.report import Attempt, check
from cnnlab.shapes import conv_output_size, receptive_field


@check("padding_stride.sizes")
def check_sizes(attempt: Attempt, first, second, third) -> None:
    """Output sizes of (size, kernel_size, padding, stride) = (28, 5, 2, 1), (32, 3, 1, 2), (30, 4, 0, 3)."""
    for answer, (size, kernel_size, padding, stride) in zip(
        (first, second, third), ((28, 5, 2, 1), (32, 3, 1, 2), (30, 4, 0, 3)), strict=True
    ):
        want = conv_output_size(size, kernel_size, stride, padding)
        exact = (size + 2 * padding - kernel_size) / stride + 1
        once = (size + padding - kernel_size) // stride + 1
        mistakes: list[tuple[float, str]] = [
            (want - 1, "no_plus_one"),
            (exact, "fraction"),
            (-int(-exact // 1), "rounded_up"),
            (once, "padding_once"),
            ((size - kernel_size) // stride + 1, "no_padding"),
            (size + 2 * padding - kernel_size + 1, "no_stride"),
        ]
        attempt.compare(answer, want, mistakes=[m for m in mistakes if m[0] != want], reveal=False)


@check("padding_stride.size_of")
def check_size_of(attempt: Attempt, answer) -> None:
    """``size_of(H, K, S, P, D)`` for any settings."""
    for H, K, S, P, D in (
        (8, 3, 2, 0, 1),
        (28, 5, 1, 2, 1),
        (31, 4, 3, 2, 2),
        (17, 3, 2, 1, 3),
        (9, 1, 4, 0, 5),
    ):
        got = attempt.call(answer, H, K, S, P, D)
        want = conv_output_size(H, K, S, P, D)
        reach = D * (K - 1) + 1
        exact = (H + 2 * P - reach) / S + 1
        mistakes: list[tuple[float, str]] = [
            ((H + 2 * P - K) // S + 1, "no_dilation"),
            ((H + 2 * P - D * K) // S + 1, "dilation_times_kernel"),
            ((H + P - reach) // S + 1, "padding_once"),
            (want - 1, "no_plus_one"),
            (exact, "fraction"),
            (-int(-exact // 1), "rounded_up"),
        ]
        attempt.compare(got, want, mistakes=[m for m in mistakes if m[0] != want])


@check("padding_stride.conv")
def check_conv(attempt: Attempt, answer) -> None:
    """``conv(x, w, P, S)`` on arrays of two axes."""
    rng = np.random.default_rng(0)
    for shape, kernel, P, S in (((5, 7), (2, 3), 1, 2), ((6, 5), (3, 3), 0, 1), ((7, 4), (3, 2), 2, 3)):
        x, w = rng.integers(-3, 4, shape), rng.integers(-3, 4, kernel)
        got = attempt.call(answer, x, w, P, S)
        one_side = np.pad(x, ((P, 0), (P, 0)))
        wrong = [
            (_conv(x, w, 0, S), "no_padding"),
            (_conv(x, w, P, 1), "no_stride"),
            (_conv(one_side, w, 0, S), "one_side"),
            (_conv(x, w[::-1, ::-1], P, S), "flipped"),
            (np.pad(_conv(x, w, 0, S), P), "padding_after"),
        ]
        want = _conv(x, w, P, S)
        moved_by_one = np.array(
            [[_window(x, w, P, m, n) for n in range(want.shape[1])] for m in range(len(want))]
        )
        mistakes = [*wrong, (moved_by_one, "start_not_moved")]
        attempt.compare(got, want, mistakes=[m for m in mistakes if not np.array_equal(m[0], want)])


def _conv(x: np.ndarray, w: np.ndarray, P: int, S: int) -> np.ndarray:
    out = ops.conv2d(x[None, None].astype(float), w[None, None].astype(float), stride=S, padding=P)
    return out[0, 0]  # (OH, OW)


def _window(x: np.ndarray, w: np.ndarray, P: int, m: int, n: int) -> float:
    return float((np.pad(x, P)[m : m + w.shape[0], n : n + w.shape[1]] * w).sum())


@check("padding_stride.field")
def check_field(attempt: Attempt, answer) -> None:
    """Input pixels that one unit sees after conv 5, pool 2/2, conv 3, pool 2/2, conv 3."""
    layers = [(5, 1), (2, 2), (3, 1), (2, 2), (3, 1)]
    mistakes = [
        (receptive_field([(kernel_size, 1) for kernel_size, _ in layers]), "strides_forgotten"),
        (receptive_field([layers[0], layers[2], layers[4]]), "pooling_forgotten"),
        (receptive_field([(5, 1), (1, 2), (3, 1), (1, 2), (3, 1)]), "pooling_window_forgotten"),
        (5 + 1 + 4 + 2 + 4, "second_stride_forgotten"),
        (sum(kernel_size for kernel_size, _ in layers), "sum_of_kernels"),
    ]
    attempt.compare(answer, receptive_field(layers), mistakes=mistakes, reveal=False)
