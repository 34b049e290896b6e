"""Every check of chapter 04: solutions pass, stubs are not answered, typical mistakes get their own hint."""

import numpy as np
import pytest

from cnnlab import ops
from cnnlab.exercises import channels_batches

pytestmark = pytest.mark.usefixtures("language")

IMAGE = np.array([[[1, 0, 2], [3, 1, 0], [0, 2, 1]], [[0, 1, 1], [2, 0, 3], [1, 1, 0]]])
FILTER = np.array([[[1, 2], [0, -1]], [[0, 1], [3, 0]]])
ANSWER = np.array([[7, 5], [6, 6]])
SHAPES = (20, 3, 5, 3), (20, 1, 1), (8, 20, 44, 62)
COUNTS = (9_624, 5_760_000), (824, 470_400)


def conv(x, w, b):
    (_, H, W), (OC, _, KH, KW) = x.shape, w.shape
    out = np.empty((OC, H - KH + 1, W - KW + 1))
    for d, m, n in np.ndindex(out.shape):
        out[d, m, n] = (x[:, m : m + KH, n : n + KW] * w[d]).sum() + b[d]
    return out


def conv_with_ops(x, w, b):
    maps = [sum(ops.conv2d(x[None, [c]], w[[d]][:, [c]])[0, 0] for c in range(len(x))) for d in range(len(w))]
    return np.array(maps) + b[:, None, None]


def conv_channels_apart(x, w, b):
    C, (OC, _, KH, KW) = len(x), w.shape
    out = ops.conv2d(x[None], w.transpose(1, 0, 2, 3).reshape(C * OC, 1, KH, KW), groups=C)
    return out.reshape(C, OC, *out.shape[2:]) + b[:, None, None]


def bias_in_width(x, w, b):
    return conv(x, w, 0 * b) + b


def shapes(*, weight=SHAPES[0], bias=SHAPES[1], output=SHAPES[2]):
    return weight, bias, output


def counts(a=COUNTS[0][0], b=COUNTS[0][1], c=COUNTS[1][0], d=COUNTS[1][1]):
    return (a, b), (c, d)


def by_hand(x, w):
    return ops.conv2d(x[None], w[None])[0, 0]


CHECKS = {
    "by_hand": channels_batches.check_by_hand,
    "shapes": lambda answers: channels_batches.check_shapes(*answers),
    "conv": channels_batches.check_conv,
    "count": lambda answers: channels_batches.check_count(*answers),
}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("by_hand", ANSWER.tolist()),
        ("by_hand", ANSWER),
        ("by_hand", by_hand(IMAGE, FILTER)),
        ("shapes", SHAPES),
        ("shapes", shapes(bias=(1, 20, 1, 1))),
        ("shapes", tuple(map(list, SHAPES))),
        ("conv", conv),
        ("conv", conv_with_ops),
        ("conv", lambda x, w, b: ops.conv2d(x[None], w, b)[0]),
        ("count", COUNTS),
        ("count", tuple(map(list, COUNTS))),
    ],
)
def test_solution_passes(name, answer):
    report = CHECKS[name](answer)
    assert report.status == "passed", report


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("by_hand", ...),
        ("by_hand", [[..., ...], [..., ...]]),
        ("shapes", (..., ..., ...)),
        ("shapes", (SHAPES[0], ..., ...)),
        ("conv", lambda x, w, b: ...),
        ("conv", None),
        ("count", ((..., ...), (..., ...))),
        ("count", (COUNTS[0], (824, ...))),
    ],
)
def test_stub_is_not_answered(name, answer):
    assert CHECKS[name](answer).status == "unanswered"


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("by_hand", [[[0, 4], [3, 0]], [[7, 1], [3, 6]]], "not_summed"),
        ("by_hand", [[0, 4], [3, 0]], "one_channel"),
        ("by_hand", [[7, 1], [3, 6]], "one_channel"),
        ("by_hand", [[0, 4], [9, 0]], "multiplied"),
        ("by_hand", by_hand(IMAGE, FILTER[::-1]), "swapped"),
        ("by_hand", by_hand(IMAGE, FILTER[:, ::-1, ::-1]), "flipped"),
        ("by_hand", by_hand(IMAGE, FILTER.transpose(0, 2, 1)), "transposed"),
        ("by_hand", by_hand(IMAGE, abs(FILTER)), "sign"),
        ("by_hand", ANSWER.T, "rows_and_columns"),
        ("by_hand", ANSWER + 1, "value"),
        ("shapes", shapes(weight=(20, 3, 3, 5)), "weight_sides"),
        ("shapes", shapes(weight=(20, 5, 3)), "weight_channels"),
        ("shapes", shapes(weight=(20, 1, 5, 3)), "weight_channels"),
        ("shapes", shapes(weight=(3, 20, 5, 3)), "weight_order"),
        ("shapes", shapes(weight=(5, 3, 3, 20)), "weight_order"),
        ("shapes", shapes(weight=(8, 20, 5, 3)), "weight_images"),
        ("shapes", shapes(weight=(20, 3)), "shape"),
        ("shapes", shapes(bias=(20,)), "bias_right_aligned"),
        ("shapes", shapes(bias=20), "bias_right_aligned"),
        ("shapes", shapes(bias=(1, 1, 20)), "bias_right_aligned"),
        ("shapes", shapes(bias=(20, 1)), "bias_in_height"),
        ("shapes", shapes(bias=(20, 44, 62)), "bias_each_position"),
        ("shapes", shapes(bias=(8, 20, 1, 1)), "bias_each_image"),
        ("shapes", shapes(output=(20, 44, 62)), "output_images"),
        ("shapes", shapes(output=(8, 3, 44, 62)), "output_channels"),
        ("shapes", shapes(output=(8, 60, 44, 62)), "output_channels"),
        ("shapes", shapes(output=(8, 44, 62, 20)), "output_order"),
        ("shapes", shapes(output=(8, 20, 62, 44)), "output_sides"),
        ("shapes", shapes(output=(8, 20, 46, 60)), "output_sides"),
        ("shapes", shapes(output=(8, 20, 48, 64)), "output_padding"),
        ("shapes", shapes(output=(8, 20, 43, 61)), "output_one_short"),
        ("conv", bias_in_width, "bias_in_width"),
        ("conv", lambda x, w, b: x.no_such_thing, "raised"),
        ("conv", lambda x, w, b: conv(x, w, 0 * b), "no_bias"),
        ("conv", lambda x, w, b: conv(x, w, b * len(x)), "bias_in_every_channel"),
        ("conv", lambda x, w, b: conv(x[:1], w[:, :1], b), "one_channel"),
        ("conv", conv_channels_apart, "not_summed"),
        ("conv", lambda x, w, b: conv(x, w, b)[None], "batch_axis"),
        ("conv", lambda x, w, b: conv(x, w, b)[0], "one_filter"),
        ("conv", lambda x, w, b: conv(x, w[:, :, ::-1, ::-1], b), "flipped"),
        ("conv", lambda x, w, b: conv(x, w, b)[:, :-1, :-1], "shape"),
        ("conv", 3, "not_callable"),
        ("count", (9_624, 824), "pair"),
        ("count", counts(a=9_600), "no_bias"),
        ("count", counts(a=9_601), "one_bias"),
        ("count", counts(a=624), "no_channels"),
        ("count", counts(a=5_760_000), "positions"),
        ("count", counts(b=9_600), "one_position"),
        ("count", counts(b=9_624 * 600), "bias_counted"),
        ("count", counts(b=9_600 * 16 * 26), "no_padding"),
        ("count", counts(b=24 * 25 * 600), "no_channels"),
        ("count", counts(c=784), "no_bias"),
        ("count", counts(c=808), "bias_in_both"),
        ("count", counts(c=800), "bias_in_both"),
        ("count", counts(c=416), "both_layers"),
        ("count", counts(c=408), "both_layers"),
        ("count", counts(c=6_824), "depthwise_channels"),
        ("count", counts(c=1_032), "depthwise_filters"),
        ("count", counts(d=784), "one_position"),
        ("count", counts(d=400 * 600), "both_layers"),
        ("count", counts(d=400 * 384 * 600), "add_layers"),
        ("count", counts(d=824 * 600), "bias_counted"),
        ("count", counts(d=(6_400 + 384) * 600), "depthwise_channels"),
        ("count", counts(d=1), "value"),
    ],
)
def test_mistake_gets_its_hint(name, answer, hint):
    report = CHECKS[name](answer)
    assert (report.status, report.hint) == ("failed", hint), report
    assert str(report)
