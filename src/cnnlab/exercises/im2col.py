"""Checks of chapter `06_im2col`."""

import numpy as np

from cnnlab import ops
from cnnlab.exercises.report import Attempt, check
from cnnlab.shapes import conv_output_size

IMAGE = np.array([[2, 0, 1, 5], [4, 3, 6, 0], [1, 7, 2, 8]])  # (3, 4)
WINDOW = (2, 3)
# Shape of x, filters, KH, KW, stride, padding: lopsided, with a remainder, with and without overlap.
CASES = (
    ((2, 3, 5, 7), 4, 2, 3, 1, 0),
    ((1, 1, 6, 5), 2, 3, 2, 1, 1),
    ((3, 2, 8, 6), 4, 3, 2, 2, 0),
    ((2, 4, 7, 9), 3, 2, 4, 3, 2),
)


@check("im2col.by_hand")
def check_by_hand(attempt: Attempt, answer) -> None:
    """The 4×6 matrix of a 3×4 image and a 2×3 window."""
    want = ops.im2col_matrix(IMAGE[None, None], WINDOW)  # (4, 6)
    grid = want.reshape(2, 2, 2, 3)  # (OH, OW, KH, KW)
    mistakes = [
        (want.T, "columns"),
        (grid.transpose(0, 1, 3, 2).reshape(4, 6), "down_first"),
        (grid.transpose(1, 0, 2, 3).reshape(4, 6), "windows_down_first"),
        (ops.im2col_matrix(IMAGE[None, None], WINDOW[::-1]), "turned_window"),
        (lambda got: got.ndim == 2 and got.shape[1] == 6 and len(got) < 4, "too_few"),
    ]
    attempt.compare(answer, want, mistakes=mistakes, reveal=False)


@check("im2col.unfold")
def check_unfold(attempt: Attempt, answer) -> None:
    """``unfold(x, KH, KW, stride, padding)`` for any sizes."""
    rng = np.random.default_rng(0)
    for shape, _, KH, KW, stride, padding in CASES:
        x = rng.integers(1, 100, shape)
        want = ops.im2col(x, (KH, KW), stride=stride, padding=padding)
        wide = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), mode="edge")
        mistakes = [
            (want.transpose(0, 1, 4, 5, 2, 3), "windows_first"),
            (ops.im2col_matrix(x, (KH, KW), stride=stride, padding=padding), "matrix"),
            (ops.im2col(wide, (KH, KW), stride=stride), "not_zero"),
        ]
        if padding:
            mistakes += [(_shape_without_padding(x, KH, KW, stride), "no_padding")]
        if stride > 1:
            plain = ops.im2col(x, (KH, KW), padding=padding)  # (N, C, KH, KW, OH, OW) of stride 1
            OH, OW = want.shape[4:]
            mistakes += [
                (plain, "no_stride"),
                (plain[..., :OH, :OW], "neighbours"),
            ]
        got = attempt.call(answer, x, KH, KW, stride, padding)
        attempt.compare(got, want, mistakes=mistakes)


def _shape_without_padding(x: np.ndarray, KH: int, KW: int, stride: int):
    """Whether an answer has the size that it would have without padding."""
    size = conv_output_size(x.shape[2], KH, stride), conv_output_size(x.shape[3], KW, stride)
    return lambda got: got.shape == (*x.shape[:2], KH, KW, *size)


@check("im2col.layer")
def check_layer(attempt: Attempt, rows, columns, size, multiply_adds) -> None:
    """Rows, columns, bytes and multiply-adds of AlexNet's second convolution for one image."""
    attempt.require(not _equal((rows, columns), (1600, 729)), "swapped")
    attempt.compare(
        rows,
        27 * 27,
        mistakes=[
            (23 * 23, "no_padding"),
            (25 * 25, "padding_once"),
            (27, "one_side"),
            (64 * 27 * 27, "channels_in_rows"),
        ],
        reveal=False,
    )
    attempt.compare(
        columns,
        64 * 5 * 5,
        mistakes=[(5 * 5, "no_channels"), (192 * 5 * 5, "filters"), (192 * 64 * 5 * 5, "filters")],
        reveal=False,
    )
    numbers = 27 * 27 * 64 * 5 * 5
    attempt.compare(
        size,
        4 * numbers,
        mistakes=[(numbers, "numbers"), (8 * numbers, "eight_bytes")],
        reveal=False,
    )
    attempt.compare(
        multiply_adds,
        192 * numbers,
        mistakes=[
            (numbers, "one_filter"),
            (192 * 4 * numbers, "bytes"),
            (192 * 64 * numbers, "channels_twice"),
        ],
        reveal=False,
    )


def _equal(got: tuple, want: tuple) -> bool:
    return all(isinstance(g, (int, np.integer)) and g == w for g, w in zip(got, want, strict=True))


@check("im2col.conv")
def check_conv(attempt: Attempt, answer) -> None:
    """``conv(x, weight, bias, stride, padding)`` as a matrix product."""
    rng = np.random.default_rng(1)
    for shape, OC, KH, KW, stride, padding in CASES:
        x, weight = rng.standard_normal(shape), rng.standard_normal((OC, shape[1], KH, KW))
        bias = rng.standard_normal(OC)
        want = ops.conv2d(x, weight, bias, stride=stride, padding=padding)  # (N, OC, OH, OW)
        N, _, OH, OW = want.shape
        last = want.transpose(0, 2, 3, 1)  # (N, OH, OW, OC)
        mixed = weight.reshape(-1, OC).T.reshape(weight.shape)  # (OC, C, KH, KW)
        mistakes = [
            (last.reshape(N, OC, OH, OW), "reshaped"),
            (last, "filters_last"),
            (last.reshape(-1, OC), "matrix"),
            (last.reshape(N, OW, OH, OC).transpose(0, 3, 1, 2), "sides_swapped"),
            (last.transpose(0, 3, 2, 1), "turned"),
            (want - bias[:, None, None], "no_bias"),
            (ops.conv2d(x, mixed, bias, stride=stride, padding=padding), "weights_mixed"),
        ]
        got = attempt.call(answer, x, weight, bias, stride, padding)
        attempt.compare(got, want, mistakes=mistakes)
