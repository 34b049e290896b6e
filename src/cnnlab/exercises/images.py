"""Checks of chapter `01_images`."""

import numpy as np

from cnnlab.exercises.report import Attempt, as_numbers, check


def _same_values(got: np.ndarray, want: np.ndarray) -> bool:
    return got.shape == want.shape and bool(np.allclose(got, want, atol=1e-4))


@check("images.blend")
def check_blend(attempt: Attempt, answer) -> None:
    """``blend(a, b)``: the mean of two uint8 pictures as float32, 0 to 1."""
    rng = np.random.default_rng(0)
    pairs = [(np.array([[200, 90]], dtype=np.uint8), np.array([[100, 61]], dtype=np.uint8))]
    for shape in ((3, 5), (2, 4, 3)):
        a, b = (rng.integers(0, 256, shape, dtype=np.uint8) for _ in range(2))
        pairs.append((a, b))
    for a, b in pairs:
        got = attempt.call(answer, a, b)
        mean = (a.astype(float) + b) / 2
        overflowed = (a + b) / 2
        halves = [a // 2 + b // 2, (a.astype(int) + b) // 2]
        mistakes = [
            (lambda got, wrong=overflowed: _same_values(got, wrong / 255), "overflow"),
            (lambda got, wrong=overflowed: _same_values(got, wrong), "overflow"),
            (lambda got, mean=mean: _same_values(got, mean), "not_scaled"),
            (lambda got, mean=mean: _same_values(got, mean / 255 * 2), "sum"),
            *[(lambda got, wrong=wrong: _same_values(got, wrong / 255), "rounded_down") for wrong in halves],
            (lambda got, a=a: got.shape == a.shape and not got.any(), "all_zero"),
        ]
        attempt.compare(got, mean / 255, mistakes=mistakes, atol=1e-6)
        numbers = as_numbers(got)
        kind = "" if numbers is None else str(numbers.dtype)
        attempt.require(kind == "float32", "not_float32", got=kind)


@check("images.index")
def check_index(attempt: Attempt, index_of, place_of) -> None:
    """Places of (C, H, W) in one row, there and back."""
    places = ((0, 0, 3, 4, 7), (0, 2, 1, 4, 7), (1, 0, 0, 5, 3), (2, 3, 1, 5, 3), (1, 5, 2, 6, 8))
    for c, row, column, H, W in places:
        got = attempt.call(index_of, c, row, column, H, W)
        mistakes: list = [
            (c * H * W + row * H + column, "height"),
            (row * W + column, "no_channel"),
            (c * H * W + column * H + row, "columns_first"),
            ((row * W + column) * 3 + c, "channels_last"),
            (c * H * W + row * W + column + 1, "from_one"),
        ]
        attempt.compare(got, c * H * W + row * W + column, mistakes=mistakes)
    for c, row, column, H, W in places:
        i = c * H * W + row * W + column
        got = attempt.call(place_of, i, H, W)
        mistakes = [
            ((c, column, row), "swapped"),
            ((0, i // W, i % W), "no_channel_back"),
            ((i // (H * W), i // W, i % W), "rest"),
            ((c, i % (H * W) // H, i % (H * W) % H), "height_back"),
            (lambda got: got.shape == (2,), "two_numbers"),
        ]
        attempt.compare(got, (c, row, column), mistakes=mistakes)


@check("images.batch")
def check_batch(attempt: Attempt, answer) -> None:
    """``to_batch(pictures)``: a list of (H, W, 3) as (N, 3, H, W)."""
    rng = np.random.default_rng(1)
    for N, H, W in ((4, 2, 5), (1, 6, 3), (2, 3, 3), (5, 4, 7)):
        pictures = [rng.integers(0, 256, (H, W, 3), dtype=np.uint8) for _ in range(N)]
        got = attempt.call(answer, pictures)
        stacked = np.stack(pictures)  # (N, H, W, 3)
        want = stacked.transpose(0, 3, 1, 2)  # (N, 3, H, W)
        mistakes = [
            (stacked.reshape(N, 3, H, W), "reshaped"),
            (stacked, "channels_last"),
            (stacked.transpose(0, 3, 2, 1), "height_and_width"),
            (want.transpose(1, 0, 2, 3), "batch_second"),
            (want.reshape(N * 3, H, W), "no_new_axis"),
            (lambda got, want=want: _same_values(got * 255, want), "scaled"),
        ]
        attempt.compare(got, want, mistakes=mistakes)


@check("images.parameters")
def check_parameters(attempt: Attempt, linear, convolution) -> None:
    """Parameters of two layers on a 32×32 colour picture."""
    attempt.compare(
        linear,
        3 * 32 * 32 * 50 + 50,
        mistakes=[
            (3 * 32 * 32 * 50, "linear_no_bias"),
            (3 * 32 * 32 * 50 + 1, "linear_one_bias"),
            (32 * 32 * 50 + 50, "linear_one_channel"),
            (32 * 32 * 50, "linear_one_channel"),
            (3 * 32 * 32 + 50, "linear_sum"),
        ],
        reveal=False,
    )
    attempt.compare(
        convolution,
        3 * 3 * 3 * 16 + 16,
        mistakes=[
            (3 * 3 * 3 * 16, "convolution_no_bias"),
            (3 * 3 * 3 * 16 + 1, "convolution_one_bias"),
            (3 * 3 * 16 + 16, "convolution_one_channel"),
            (3 * 3 * 16, "convolution_one_channel"),
            (3 * 3 * 3 + 1, "convolution_one_filter"),
        ],
        reveal=False,
    )
