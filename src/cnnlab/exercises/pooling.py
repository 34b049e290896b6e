"""Checks of chapter `05_pooling`."""

import numpy as np

from cnnlab import ops
from cnnlab.exercises.report import Attempt, as_numbers, check
from cnnlab.shapes import conv_output_size

TABLE = np.array([[2, 6, 1, 3], [4, 0, 5, 7], [8, 1, 0, 2], [3, 4, 9, 5]])  # (4, 4)


def _pool(kind: str, x: np.ndarray, kernel_size, stride=None) -> np.ndarray:
    return (ops.max_pool2d if kind == "max" else ops.avg_pool2d)(x, kernel_size, stride=stride)


@check("pooling.by_hand")
def check_by_hand(attempt: Attempt, largest, average) -> None:
    """Max and average pooling 2×2 with stride 2 of a 4×4 table."""
    x = TABLE[None, None].astype(float)
    for answer, kind in ((largest, "max"), (average, "avg")):
        other = "avg" if kind == "max" else "max"
        mistakes = [
            (_pool(other, x, 2)[0, 0], "other_kind"),
            (_pool(kind, x, 2)[0, 0].T, "transposed"),
            (lambda got: got.shape == (3, 3), "stride_one"),
        ]
        if kind == "avg":
            mistakes.append((4 * _pool("avg", x, 2)[0, 0], "sum"))
        attempt.compare(answer, _pool(kind, x, 2)[0, 0], mistakes=mistakes, reveal=False)


@check("pooling.pool")
def check_pool(attempt: Attempt, answer) -> None:
    """``pool(x, K, S, kind)`` for (N, C, H, W), any window and stride, "max" and "avg"."""
    rng = np.random.default_rng(0)
    for shape, K, S, kind in (
        ((2, 3, 5, 8), 2, 2, "max"),
        ((1, 2, 7, 6), 3, 2, "max"),
        ((3, 1, 6, 9), 2, 3, "avg"),
        ((2, 4, 5, 7), 3, 1, "avg"),
    ):
        x = rng.integers(-9, 10, shape).astype(float)
        x -= 10 * (kind == "max")  # all below zero: a window that starts from 0 shows
        want = _pool(kind, x, K, S)
        got = attempt.call(answer, x, K, S, kind)
        rounded_up = tuple(-((n - K) // -S) + 1 for n in shape[2:])
        no_stride = tuple(conv_output_size(n, K, K) for n in shape[2:])
        mistakes = [
            (_pool("avg" if kind == "max" else "max", x, K, S), "other_kind"),
            (np.maximum(want, 0) if kind == "max" else np.full(1, np.nan), "from_zero"),
            (want * K * K if kind == "avg" else np.full(1, np.nan), "sum"),
            (_over_channels(kind, want), "channels"),
            (lambda got, shape=shape: got.ndim != len(shape), "axes"),
            (lambda got, want=want, size=rounded_up: _sized(got, want, size), "rounded_up"),
            (lambda got, want=want, size=no_stride: _sized(got, want, size), "no_stride"),
        ]
        attempt.compare(got, want, mistakes=mistakes)


def _over_channels(kind: str, want: np.ndarray) -> np.ndarray:
    """One number for all channels, where each channel has its own."""
    return (want.max if kind == "max" else want.mean)(axis=1, keepdims=True) + 0 * want


def _sized(got: np.ndarray, want: np.ndarray, size: tuple[int, ...]) -> bool:
    return got.shape[2:] == size != want.shape[2:]


@check("pooling.sizes")
def check_sizes(attempt: Attempt, first, second, flattened, pooled) -> None:
    """Output sizes of two pooling layers, parameters of a last layer without and with global pooling."""
    attempt.compare(first, 15, mistakes=[(16, "rounded_up"), (10, "no_stride")], reveal=False)
    attempt.compare(second, 24, mistakes=[(25, "no_floor"), (24.5, "no_floor")], reveal=False)
    flat = 128 * 6 * 5
    mistakes = [
        (flat * 20, "no_bias"),
        (flat * 20 + 1, "one_bias"),
        (flat * 20 + flat, "bias_per_input"),
        ((128 + 1) * 20, "not_flattened"),
    ]
    attempt.compare(flattened, flat * 20 + 20, mistakes=mistakes, reveal=False)
    mistakes = [
        (128 * 20, "no_bias"),
        (128 * 20 + 1, "one_bias"),
        (128 * 20 + 128, "bias_per_input"),
        (flat * 20 + 20, "not_pooled"),
        (6 * 5 * 20 + 20, "channels_pooled"),
    ]
    attempt.compare(pooled, 128 * 20 + 20, mistakes=mistakes, reveal=False)


@check("pooling.design")
def check_design(attempt: Attempt, answer) -> None:
    """A 4×4 image with four different outputs that stay when it moves one pixel to the right."""
    got = as_numbers(answer)
    attempt.require(got is not None and got.dtype.kind in "biuf", "not_numbers")
    assert got is not None
    attempt.require(got.shape == (4, 4), "shape", got=got.shape)
    image = got.astype(float)
    attempt.require(np.isfinite(image).all(), "not_numbers")
    right, left = np.zeros((4, 4)), np.zeros((4, 4))
    right[:, 1:], left[:, :-1] = image[:, :-1], image[:, 1:]
    before, after, other = (_pool("max", a[None, None], 2)[0, 0] for a in (image, right, left))
    attempt.require(len(np.unique(before)) == 4, "not_different", output=_listed(before))
    values = {"before": _listed(before), "after": _listed(after)}
    if not np.array_equal(before, after):
        attempt.fail("left_instead" if np.array_equal(before, other) else "changed", **values)


def _listed(array: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in array.flat)
