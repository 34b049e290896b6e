"""Every check of chapter 02: solutions pass, stubs are not answered, typical mistakes get their own hint."""

import numpy as np
import pytest

from cnnlab.exercises import convolution

pytestmark = pytest.mark.usefixtures("language")

ROWS = np.array([[1, 2, 0, 1], [3, 0, 1, 2], [0, 1, 2, 1]])
FILTER = np.array([[1, -1], [0, 2]])


def conv(x, w, b):
    (H, W), (K, L) = x.shape, w.shape
    out = np.empty((H - K + 1, W - L + 1))
    for m in range(H - K + 1):
        for n in range(W - L + 1):
            out[m, n] = (x[m : m + K, n : n + L] * w).sum() + b
    return out


def conv_same(x, w, b):
    out = np.zeros(x.shape)
    inner = conv(x, w, b)
    out[: inner.shape[0], : inner.shape[1]] = inner
    return out


def conv_stub(x, w, b): ...


def raise_todo(x, w, b):
    raise NotImplementedError


SOBEL = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])
CHECKS = {
    "by_hand": convolution.check_by_hand,
    "conv": convolution.check_conv,
    "design": convolution.check_design,
    "count": lambda answers: convolution.check_count(*answers),
}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("by_hand", [[-1, 4, 3], [5, 3, 1]]),
        ("by_hand", np.array([[-1, 4, 3], [5, 3, 1]])),
        ("conv", conv),
        ("design", [[1, 1, 1], [0, 0, 0], [-1, -1, -1]]),
        ("design", SOBEL),
        ("design", np.array([[0.0, 1, 0], [0, 0, 0], [0, -1, 0]])),
        ("count", (26, 803_600)),
    ],
)
def test_solution_passes(name, answer):
    report = CHECKS[name](answer)
    assert report.status == "passed", report


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("by_hand", ...),
        ("by_hand", [[-1, ..., ...], [..., ..., ...]]),
        ("conv", conv_stub),
        ("conv", raise_todo),
        ("conv", None),
        ("design", ...),
        ("count", (..., ...)),
        ("count", (26, ...)),
    ],
)
def test_stub_is_not_answered(name, answer):
    assert CHECKS[name](answer).status == "unanswered"


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("by_hand", conv(ROWS, FILTER[::-1, ::-1], 0), "flipped"),
        ("by_hand", conv(ROWS, FILTER.T, 0).tolist(), "transposed"),
        ("by_hand", [[3, 4, 5], [5, 5, 5]], "sign"),
        ("by_hand", [[-1, 5], [4, 3], [3, 1]], "rows_and_columns"),
        ("by_hand", [[-1, 4, 3], [5, 3, 2]], "value"),
        ("conv", lambda x, w, b: conv(x, w[::-1, ::-1], b), "flipped"),
        ("conv", lambda x, w, b: conv(x, w, 0), "no_bias"),
        ("conv", lambda x, w, b: conv(x, w, b * w.size), "bias_in_every_product"),
        ("conv", lambda x, w, b: conv(x, w, b)[:-1, :-1], "one_short"),
        ("conv", conv_same, "same_size"),
        ("conv", lambda x, w, b: conv(x, w.T, b), "shape"),
        ("conv", lambda x, w, b: x.no_such_thing, "raised"),
        ("conv", 3, "not_callable"),
        ("design", "abc", "not_numbers"),
        ("design", [[1, -1]], "shape"),
        ("design", [[1, 1, 1], [0, 0, 0], [0, 0, 0]], "sum"),
        ("design", np.zeros((3, 3)), "zeros"),
        ("design", SOBEL.T, "vertical"),
        ("design", [[1, 1, 0], [1, 0, -1], [0, -1, -1]], "vertical_too"),
        ("design", -SOBEL, "sign"),
        ("design", [[0, 0, 0], [1, 1, 1], [-1, -1, -1]], "no_answer"),
        ("count", (25, 803_600), "no_bias"),
        ("count", (5 * 5 * 784, 803_600), "every_position"),
        ("count", (26, 802_816), "linear_no_bias"),
        ("count", (26, 802_817), "linear_one_bias"),
        ("count", (26, 1024 + 784), "sum_instead_of_product"),
        ("count", (27, 803_600), "value"),
    ],
)
def test_mistake_gets_its_hint(name, answer, hint):
    report = CHECKS[name](answer)
    assert (report.status, report.hint) == ("failed", hint), report
    assert str(report)
