"""Every check of chapter 06: solutions pass, stubs are not answered, typical mistakes get their own hint."""

import numpy as np
import pytest

from cnnlab import ops
from cnnlab.exercises import im2col

pytestmark = pytest.mark.usefixtures("language")

IMAGE = np.array([[2, 0, 1, 5], [4, 3, 6, 0], [1, 7, 2, 8]])
MATRIX = [[2, 0, 1, 4, 3, 6], [0, 1, 5, 3, 6, 0], [4, 3, 6, 1, 7, 2], [3, 6, 0, 7, 2, 8]]
LAYER = (729, 1600, 4_665_600, 223_948_800)


def pad(x, padding, **options):
    return np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), **options)


def unfold(x, KH, KW, stride, padding):
    x = pad(x, padding)
    N, C, H, W = x.shape
    OH, OW = (H - KH) // stride + 1, (W - KW) // stride + 1
    cols = np.empty((N, C, KH, KW, OH, OW), dtype=x.dtype)
    for i in range(KH):
        for j in range(KW):
            cols[:, :, i, j] = x[:, :, i : i + stride * OH : stride, j : j + stride * OW : stride]
    return cols


def unfold_by_view(x, KH, KW, stride, padding):
    windows = np.lib.stride_tricks.sliding_window_view(pad(x, padding), (KH, KW), axis=(2, 3))
    return windows[:, :, ::stride, ::stride].transpose(0, 1, 4, 5, 2, 3)


def unfold_edge(x, KH, KW, stride, padding):
    return unfold(pad(x, padding, mode="edge"), KH, KW, stride, 0)


def unfold_neighbours(x, KH, KW, stride, padding):
    OH, OW = unfold(x, KH, KW, stride, padding).shape[4:]
    return unfold(x, KH, KW, 1, padding)[..., :OH, :OW]


def unfold_stub(x, KH, KW, stride, padding):
    return ...


def last(x, weight, bias, stride, padding):
    """The outputs with the filters on the last axis, and their sizes."""
    OC, _, KH, KW = weight.shape
    N, _, _, _, OH, OW = unfold(x, KH, KW, stride, padding).shape
    rows = ops.im2col_matrix(x, (KH, KW), stride=stride, padding=padding)
    return rows @ weight.reshape(OC, -1).T + bias, (N, OH, OW, OC)


def conv(x, weight, bias, stride, padding):
    out, shape = last(x, weight, bias, stride, padding)
    return out.reshape(shape).transpose(0, 3, 1, 2)


def conv_tensordot(x, weight, bias, stride, padding):
    cols = unfold(x, *weight.shape[2:], stride, padding)
    out = np.tensordot(weight, cols, axes=((1, 2, 3), (1, 2, 3)))
    return out.transpose(1, 0, 2, 3) + bias[:, None, None]


def conv_reshaped(*args):
    out, (N, OH, OW, OC) = last(*args)
    return out.reshape(N, OC, OH, OW)


def conv_sides_swapped(*args):
    out, (N, OH, OW, OC) = last(*args)
    return out.reshape(N, OW, OH, OC).transpose(0, 3, 1, 2)


def conv_weights_mixed(x, weight, bias, stride, padding):
    OC, _, KH, KW = weight.shape
    rows = ops.im2col_matrix(x, (KH, KW), stride=stride, padding=padding)
    shape = last(x, weight, bias, stride, padding)[1]
    return (rows @ weight.reshape(-1, OC) + bias).reshape(shape).transpose(0, 3, 1, 2)


CHECKS = {
    "by_hand": im2col.check_by_hand,
    "unfold": im2col.check_unfold,
    "layer": lambda answers: im2col.check_layer(*answers),
    "conv": im2col.check_conv,
}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("by_hand", MATRIX),
        ("by_hand", np.array(MATRIX)),
        ("unfold", unfold),
        ("unfold", unfold_by_view),
        ("unfold", lambda x, KH, KW, s, p: ops.im2col(x, (KH, KW), stride=s, padding=p)),
        ("layer", LAYER),
        ("conv", conv),
        ("conv", conv_tensordot),
    ],
)
def test_solution_passes(name, answer):
    report = CHECKS[name](answer)
    assert report.status == "passed", report


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("by_hand", [MATRIX[0], ..., ..., ...]),
        ("by_hand", ...),
        ("unfold", unfold_stub),
        ("unfold", None),
        ("layer", (..., ..., ..., ...)),
        ("layer", (729, 1600, ..., ...)),
        ("conv", lambda *args: ...),
    ],
)
def test_stub_is_not_answered(name, answer):
    assert CHECKS[name](answer).status == "unanswered"


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("by_hand", np.array(MATRIX).T, "columns"),
        (
            "by_hand",
            [[2, 4, 0, 3, 1, 6], [0, 3, 1, 6, 5, 0], [4, 1, 3, 7, 6, 2], [3, 7, 6, 2, 0, 8]],
            "down_first",
        ),
        ("by_hand", [MATRIX[0], MATRIX[2], MATRIX[1], MATRIX[3]], "windows_down_first"),
        ("by_hand", ops.im2col_matrix(IMAGE[None, None], (3, 2)), "turned_window"),
        ("by_hand", [MATRIX[0], MATRIX[2]], "too_few"),
        ("by_hand", [*MATRIX[:3], [3, 6, 0, 7, 2, 9]], "value"),
        (
            "unfold",
            lambda x, KH, KW, s, p: unfold(x, KH, KW, s, p).transpose(0, 1, 4, 5, 2, 3),
            "windows_first",
        ),
        ("unfold", lambda x, KH, KW, s, p: ops.im2col_matrix(x, (KH, KW), stride=s, padding=p), "matrix"),
        ("unfold", unfold_edge, "not_zero"),
        ("unfold", lambda x, KH, KW, s, p: unfold(x, KH, KW, s, 0), "no_padding"),
        ("unfold", lambda x, KH, KW, s, p: unfold(x, KH, KW, 1, p), "no_stride"),
        ("unfold", unfold_neighbours, "neighbours"),
        ("unfold", lambda x, KH, KW, s, p: unfold(x, KW, KH, s, p), "shape"),
        ("unfold", lambda x, KH, KW, s, p: x.no_such_thing, "raised"),
        ("layer", (1600, 729, *LAYER[2:]), "swapped"),
        ("layer", (529, *LAYER[1:]), "no_padding"),
        ("layer", (625, *LAYER[1:]), "padding_once"),
        ("layer", (27, *LAYER[1:]), "one_side"),
        ("layer", (64 * 729, *LAYER[1:]), "channels_in_rows"),
        ("layer", (729, 25, *LAYER[2:]), "no_channels"),
        ("layer", (729, 4800, *LAYER[2:]), "filters"),
        ("layer", (729, 192 * 1600, *LAYER[2:]), "filters"),
        ("layer", (729, 1600, 729 * 1600, LAYER[3]), "numbers"),
        ("layer", (729, 1600, 729 * 1600 * 8, LAYER[3]), "eight_bytes"),
        ("layer", (*LAYER[:3], 729 * 1600), "one_filter"),
        ("layer", (*LAYER[:3], 4 * LAYER[3]), "bytes"),
        ("layer", (*LAYER[:3], 64 * LAYER[3]), "channels_twice"),
        ("layer", (*LAYER[:3], 1), "value"),
        ("conv", conv_reshaped, "reshaped"),
        ("conv", lambda *args: conv(*args).transpose(0, 2, 3, 1), "filters_last"),
        ("conv", lambda *args: last(*args)[0], "matrix"),
        ("conv", conv_sides_swapped, "sides_swapped"),
        ("conv", lambda *args: conv(*args).transpose(0, 1, 3, 2), "turned"),
        ("conv", lambda x, weight, bias, s, p: conv(x, weight, 0 * bias, s, p), "no_bias"),
        ("conv", conv_weights_mixed, "weights_mixed"),
        ("conv", 3, "not_callable"),
    ],
)
def test_mistake_gets_its_hint(name, answer, hint):
    report = CHECKS[name](answer)
    assert (report.status, report.hint) == ("failed", hint), report
    assert str(report)
