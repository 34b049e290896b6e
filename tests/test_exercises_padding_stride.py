"""Every check of chapter 03: solutions pass, stubs are not answered, typical mistakes get their own hint."""

import numpy as np
import pytest
from reports import failed

from cnnlab.exercises import padding_stride

pytestmark = pytest.mark.usefixtures("language")


def size_of(H, K, S, P, D):
    return (H + 2 * P - (D * (K - 1) + 1)) // S + 1


def conv(x, w, P, S, *, start=None):
    x = np.pad(x, P)
    (H, W), (K, L) = x.shape, w.shape
    out = np.empty(((H - K) // S + 1, (W - L) // S + 1))
    step = S if start is None else start
    for m, n in np.ndindex(out.shape):
        out[m, n] = (x[m * step : m * step + K, n * step : n * step + L] * w).sum()
    return out


CHECKS = {
    "sizes": lambda answers: padding_stride.check_sizes(*answers),
    "size_of": padding_stride.check_size_of,
    "conv": padding_stride.check_conv,
    "field": padding_stride.check_field,
}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("sizes", (28, 16, 9)),
        ("sizes", (28, np.int64(16), np.array(9))),
        ("size_of", size_of),
        ("size_of", lambda H, K, S, P, D: int(np.floor((H + 2 * P - D * K + D - 1) / S)) + 1),
        ("conv", conv),
        ("conv", lambda x, w, P, S: conv(x, w, P, 1)[::S, ::S]),
        ("field", 20),
    ],
)
def test_solution_passes(name, answer):
    report = CHECKS[name](answer)
    assert report.status == "passed", report


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("sizes", (28, ..., 9)),
        ("size_of", lambda H, K, S, P, D: ...),
        ("size_of", lambda H, K, S, P, D: None),
        ("conv", lambda x, w, P, S: ...),
        ("field", ...),
    ],
)
def test_stub_is_not_answered(name, answer):
    assert CHECKS[name](answer).status == "unanswered"


MISTAKES = {
    "sizes": {
        "no_plus_one": (28, 15, 9),
        "fraction": (28, 16.5, 9),
        "rounded_up": (28, 17, 9),
        "padding_once": (26, 16, 9),
        "no_padding": (24, 16, 9),
        "no_stride": (28, 32, 9),
    },
    "size_of": {
        "no_dilation": lambda H, K, S, P, D: (H + 2 * P - K) // S + 1,
        "dilation_times_kernel": lambda H, K, S, P, D: (H + 2 * P - D * K) // S + 1,
        "padding_once": lambda H, K, S, P, D: size_of(H, K, S, 0, D) if not P else size_of(H + P, K, S, 0, D),
        "no_plus_one": lambda *settings: size_of(*settings) - 1,
        "fraction": lambda H, K, S, P, D: (H + 2 * P - (D * (K - 1) + 1)) / S + 1,
        "rounded_up": lambda H, K, S, P, D: -((H + 2 * P - (D * (K - 1) + 1)) // -S) + 1,
    },
    "conv": {
        "no_padding": lambda x, w, P, S: conv(x, w, 0, S),
        "no_stride": lambda x, w, P, S: conv(x, w, P, 1),
        "one_side": lambda x, w, P, S: conv(np.pad(x, ((P, 0), (P, 0))), w, 0, S),
        "flipped": lambda x, w, P, S: conv(x, w[::-1, ::-1], P, S),
        "padding_after": lambda x, w, P, S: np.pad(conv(x, w, 0, S), P),
        "start_not_moved": lambda x, w, P, S: conv(x, w, P, S, start=1),
    },
    "field": {
        "strides_forgotten": 11,
        "pooling_forgotten": 9,
        "pooling_window_forgotten": 17,
        "second_stride_forgotten": 16,
        "sum_of_kernels": 15,
    },
}


@pytest.mark.parametrize(
    ("name", "hint", "answer"),
    [(name, hint, answer) for name, hints in MISTAKES.items() for hint, answer in hints.items()],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mistake_gets_its_hint(name, hint, answer):
    failed(CHECKS[name](answer), hint)
