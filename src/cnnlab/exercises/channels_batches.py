"""Checks of chapter `04_channels_batches`."""

import numpy as np

from cnnlab import ops
from cnnlab.exercises.report import Attempt, as_numbers, check

IMAGE = np.array([[[1, 0, 2], [3, 1, 0], [0, 2, 1]], [[0, 1, 1], [2, 0, 3], [1, 1, 0]]])  # (2, 3, 3)
FILTER = np.array([[[1, 2], [0, -1]], [[0, 1], [3, 0]]])  # (2, 2, 2)


def _convolve(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    return ops.conv2d(x[None].astype(float), w.astype(float))[0]  # (OC, OH, OW)


@check("channels_batches.by_hand")
def check_by_hand(attempt: Attempt, answer) -> None:
    """The 2×2 output of a 2×3×3 image and a 2×2×2 filter."""
    want = _convolve(IMAGE, FILTER[None])[0]
    single = [_convolve(IMAGE[c : c + 1], FILTER[None, c : c + 1])[0] for c in (0, 1)]
    mistakes = [
        (lambda got: got.shape == (2, 2, 2), "not_summed"),
        (single[0], "one_channel"),
        (single[1], "one_channel"),
        (single[0] * single[1], "multiplied"),
        (_convolve(IMAGE, FILTER[None, ::-1])[0], "swapped"),
        (_convolve(IMAGE, FILTER[None, :, ::-1, ::-1])[0], "flipped"),
        (_convolve(IMAGE, FILTER[None].transpose(0, 1, 3, 2))[0], "transposed"),
        (_convolve(IMAGE, np.abs(FILTER)[None])[0], "sign"),
        (want.T, "rows_and_columns"),
    ]
    attempt.compare(answer, want, mistakes=mistakes, reveal=False)


@check("channels_batches.shapes")
def check_shapes(attempt: Attempt, weight_shape, bias_shape, output_shape) -> None:
    """Shapes for 8 colour images of 48×64 and 20 filters of 5×3."""
    weights = [
        ((20, 3, 3, 5), "weight_sides"),
        ((20, 5, 3), "weight_channels"),
        ((20, 1, 5, 3), "weight_channels"),
        ((3, 20, 5, 3), "weight_order"),
        ((5, 3, 3, 20), "weight_order"),
        ((20, 5, 3, 3), "weight_order"),
        ((8, 20, 5, 3), "weight_images"),
        ((8, 3, 5, 3), "weight_images"),
        ((8, 20, 3, 5, 3), "weight_images"),
    ]
    attempt.compare(weight_shape, (20, 3, 5, 3), mistakes=weights, reveal=False)
    bias = as_numbers(bias_shape)
    if bias is None or bias.tolist() != [1, 20, 1, 1]:  # the same array for broadcasting
        biases = [
            (lambda got: got.size == 1 and got.ravel()[0] == 20, "bias_right_aligned"),
            ((1, 1, 20), "bias_right_aligned"),
            ((1, 20, 1), "bias_in_height"),
            ((20, 1), "bias_in_height"),
            ((20, 44, 62), "bias_each_position"),
            ((8, 20, 1, 1), "bias_each_image"),
        ]
        attempt.compare(bias_shape, (20, 1, 1), mistakes=biases, reveal=False)
    outputs = [
        ((20, 44, 62), "output_images"),
        ((8, 3, 44, 62), "output_channels"),
        ((8, 60, 44, 62), "output_channels"),
        ((8, 44, 62, 20), "output_order"),
        ((20, 8, 44, 62), "output_order"),
        ((8, 20, 62, 44), "output_sides"),
        ((8, 20, 46, 60), "output_sides"),
        ((8, 20, 48, 64), "output_padding"),
        ((8, 20, 43, 61), "output_one_short"),
    ]
    attempt.compare(output_shape, (8, 20, 44, 62), mistakes=outputs, reveal=False)


@check("channels_batches.conv")
def check_conv(attempt: Attempt, answer) -> None:
    """``conv(x, w, b)`` for (C, H, W), (OC, C, KH, KW) and (OC,)."""
    rng = np.random.default_rng(0)
    for (C, H, W), (OC, KH, KW) in (
        ((2, 4, 5), (3, 3, 3)),  # OC == OW: a bias of shape (OC,) fits the wrong axis
        ((3, 5, 7), (4, 2, 3)),
        ((1, 6, 4), (2, 3, 1)),
        ((4, 3, 3), (1, 3, 3)),
    ):
        x, w = rng.integers(-3, 4, (C, H, W)), rng.integers(-3, 4, (OC, C, KH, KW))
        b = rng.permutation(np.arange(1, OC + 1))
        plain = _convolve(x, w)
        want = plain + b.reshape(-1, 1, 1)
        got = attempt.call(answer, x, w, b)
        mistakes = [
            (plain + b if OC in (1, want.shape[2]) else np.nan, "bias_in_width"),
            (plain, "no_bias"),
            (plain + b.reshape(-1, 1, 1) * C, "bias_in_every_channel"),
            (_convolve(x[:1], w[:, :1]) + b.reshape(-1, 1, 1), "one_channel"),
            (lambda got, want=want: got.shape == (1, *want.shape), "batch_axis"),
            (lambda got: got.ndim == 4, "not_summed"),
            (lambda got, want=want: got.shape == want.shape[1:], "one_filter"),
            (_convolve(x, w[:, :, ::-1, ::-1]) + b.reshape(-1, 1, 1), "flipped"),
        ]
        attempt.compare(got, want, mistakes=mistakes)


@check("channels_batches.count")
def check_count(attempt: Attempt, ordinary, separable) -> None:
    """Parameters and multiply-adds of a 5×5 layer from 16 to 24 channels on 20×30 maps."""
    weights, depthwise, pointwise, places = 24 * 16 * 5 * 5, 16 * 5 * 5, 24 * 16, 20 * 30
    for answer in (ordinary, separable):
        numbers = as_numbers(answer)
        attempt.require(numbers is not None and numbers.shape == (2,), "pair")
    mistakes = [
        (weights, "no_bias"),
        (weights + 1, "one_bias"),
        (24 * 5 * 5 + 24, "no_channels"),
        (weights * places, "positions"),
        (weights * places + 24, "positions"),
    ]
    attempt.compare(ordinary[0], weights + 24, mistakes=mistakes, reveal=False)
    mistakes = [
        (weights, "one_position"),
        (weights + 24, "one_position"),
        ((weights + 24) * places, "bias_counted"),
        (weights * places + 24, "bias_counted"),
        (weights * 16 * 26, "no_padding"),
        (24 * 5 * 5 * places, "no_channels"),
    ]
    attempt.compare(ordinary[1], weights * places, mistakes=mistakes, reveal=False)
    mistakes = [
        (depthwise + pointwise, "no_bias"),
        (depthwise + pointwise + 24, "bias_in_both"),
        (depthwise + pointwise + 16, "bias_in_both"),
        (depthwise + 16, "both_layers"),
        (pointwise + 24, "both_layers"),
        (16 * depthwise + 16 + pointwise + 24, "depthwise_channels"),
        (24 * 5 * 5 + 24 + pointwise + 24, "depthwise_filters"),
    ]
    attempt.compare(separable[0], depthwise + 16 + pointwise + 24, mistakes=mistakes, reveal=False)
    mistakes = [
        (depthwise + pointwise, "one_position"),
        (depthwise * places, "both_layers"),
        (pointwise * places, "both_layers"),
        (depthwise * pointwise * places, "add_layers"),
        ((depthwise + pointwise + 40) * places, "bias_counted"),
        ((16 * depthwise + pointwise) * places, "depthwise_channels"),
    ]
    attempt.compare(separable[1], (depthwise + pointwise) * places, mistakes=mistakes, reveal=False)
