"""Checks of chapter `02_convolution`."""

import numpy as np

from cnnlab import ops
from cnnlab.exercises.report import Attempt, as_numbers, check

ROWS = np.array([[1, 2, 0, 1], [3, 0, 1, 2], [0, 1, 2, 1]])  # (3, 4)
FILTER = np.array([[1, -1], [0, 2]])  # (2, 2)


def _correlate(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return ops.conv2d(x[None, None].astype(float), w[None, None].astype(float))[0, 0]  # (H-K+1, W-L+1)


@check("convolution.by_hand")
def check_by_hand(attempt: Attempt, answer) -> None:
    """The 2×3 output of a 3×4 image and a 2×2 filter."""
    want = _correlate(ROWS, FILTER)
    mistakes = [
        (_correlate(ROWS, FILTER[::-1, ::-1]), "flipped"),
        (_correlate(ROWS, FILTER.T), "transposed"),
        (_correlate(ROWS, np.abs(FILTER)), "sign"),
        (lambda got: got.shape == want.T.shape, "rows_and_columns"),
    ]
    attempt.compare(answer, want, mistakes=mistakes, reveal=False)


@check("convolution.conv")
def check_conv(attempt: Attempt, answer) -> None:
    """``conv(x, w, b)`` for any sizes."""
    rng = np.random.default_rng(0)
    for shape, kernel, b in (
        ((5, 7), (2, 3), 3),
        ((4, 4), (3, 3), 0),
        ((6, 4), (3, 1), -2),
        ((3, 3), (3, 3), 1),
    ):
        x, w = rng.integers(-3, 4, shape), rng.integers(-3, 4, kernel)
        want = _correlate(x, w) + b
        got = attempt.call(answer, x, w, b)
        mistakes = [
            (_correlate(x, w[::-1, ::-1]) + b, "flipped"),
            (want - b, "no_bias"),
            (want + b * (w.size - 1), "bias_in_every_product"),
            (lambda got, want=want: got.shape == tuple(n - 1 for n in want.shape), "one_short"),
            (lambda got, x=x: got.shape == x.shape, "same_size"),
        ]
        attempt.compare(got, want, mistakes=mistakes)


@check("convolution.design")
def check_design(attempt: Attempt, answer) -> None:
    """A 3×3 filter for horizontal edges, bright above dark."""
    got = as_numbers(answer)
    attempt.require(got is not None, "not_numbers")
    assert got is not None
    attempt.require(got.shape == (3, 3), "shape", got=got.shape)
    bright_above = np.array([[1.0] * 3] * 2 + [[0.0] * 3])  # (3, 3)
    level = np.isclose(got.sum(), 0, atol=1e-8)
    above, below = (float((edge * got).sum()) for edge in (bright_above, 1 - bright_above))
    left, right = (float((edge * got).sum()) for edge in (bright_above.T, 1 - bright_above.T))
    attempt.require(level, "sum", total=round(float(got.sum()), 6))
    attempt.require(not np.allclose(got, 0), "zeros")
    attempt.require(not np.isclose(above, 0, atol=1e-8) or np.isclose(left, 0, atol=1e-8), "vertical")
    one_column = [got[:, :2].sum(), got[:, 1:].sum(), left, right]
    attempt.require(np.allclose(one_column, 0, atol=1e-8), "vertical_too")
    attempt.require(above >= 0 and got[0].sum() >= 0, "sign")
    attempt.require(above > 1e-8 and below < -1e-8 and got[0].sum() > 1e-8, "no_answer")


@check("convolution.count")
def check_count(attempt: Attempt, convolution, linear) -> None:
    """Parameters of one 5×5 filter, and of a fully connected layer from 32×32 to 28×28."""
    attempt.compare(
        convolution,
        5 * 5 + 1,
        mistakes=[
            (5 * 5, "no_bias"),
            (5 * 5 * 28 * 28, "every_position"),
            (5 * 5 * 28 * 28 + 1, "every_position"),
        ],
        reveal=False,
    )
    attempt.compare(
        linear,
        (32 * 32 + 1) * 28 * 28,
        mistakes=[
            (32 * 32 * 28 * 28, "linear_no_bias"),
            (32 * 32 * 28 * 28 + 1, "linear_one_bias"),
            (32 * 32 + 28 * 28, "sum_instead_of_product"),
        ],
        reveal=False,
    )
