"""Every check of chapter 07: solutions pass, stubs are not answered, typical mistakes get their own hint."""

import numpy as np
import pytest
from reports import failed

from cnnlab import ops
from cnnlab.exercises import backward

pytestmark = pytest.mark.usefixtures("language")


def grad_weight(grad_out, x, K, L, S):
    grad = np.zeros((K, L))
    for m, n in np.ndindex(grad_out.shape):
        grad += grad_out[m, n] * x[m * S : m * S + K, n * S : n * S + L]
    return grad


def grad_weight_by_pixels(grad_out, x, K, L, S):
    OH, OW = grad_out.shape
    rows = [[x[i::S][:OH, j::S][:, :OW] for j in range(L)] for i in range(K)]
    return [[float((grad_out * pixels).sum()) for pixels in row] for row in rows]


def grad_weight_of_the_last_window(grad_out, x, K, L, S):
    for m, n in np.ndindex(grad_out.shape):
        grad = grad_out[m, n] * x[m * S : m * S + K, n * S : n * S + L]
    return grad


def pool_backward(grad_out, x):
    grad = np.zeros(x.shape)
    for m, n in np.ndindex(grad_out.shape):
        window = x[2 * m : 2 * m + 2, 2 * n : 2 * n + 2]
        row, column = divmod(window.argmax(), 2)
        grad[2 * m + row, 2 * n + column] = grad_out[m, n]
    return grad


def pool_backward_to_all(grad_out, x):
    largest = ops.max_pool2d(x[None, None], 2)[0, 0]
    return np.where(x == np.kron(largest, np.ones((2, 2))), np.kron(grad_out, np.ones((2, 2))), 0)


def pool_backward_of_values(grad_out, x):
    return np.where(pool_backward(grad_out, x) != 0, x, 0)


def pool_backward_to_last(grad_out, x):
    return pool_backward(grad_out[::-1, ::-1], x[::-1, ::-1])[::-1, ::-1]


def framed(grad_out, w, H, W, S, P, add=True):
    K, L = w.shape
    grad = np.zeros((H + 2 * P, W + 2 * P))
    for m, n in np.ndindex(grad_out.shape):
        window = (slice(m * S, m * S + K), slice(n * S, n * S + L))
        grad[window] = grad_out[m, n] * w + add * grad[window]
    return grad


def grad_input(grad_out, w, H, W, S, P):
    return framed(grad_out, w, H, W, S, P)[P : P + H, P : P + W]


def grad_input_of_the_question(grad_out, w, H, W, S, P):
    return framed(grad_out, w, H, W, S, P, add=False)[:H, :W]


def stub(*_): ...


CHECKS = {
    "by_hand": lambda answers: backward.check_by_hand(*answers),
    "grad_weight": backward.check_grad_weight,
    "pool_backward": backward.check_pool_backward,
    "grad_input": backward.check_grad_input,
}
K, X, B = [1, -1], [3, 5, -5, 1], 2


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("by_hand", (K, X, B)),
        ("by_hand", (np.array(K), tuple(X), np.int64(B))),
        ("grad_weight", grad_weight),
        ("grad_weight", grad_weight_by_pixels),
        ("pool_backward", pool_backward),
        ("grad_input", grad_input),
        ("grad_input", lambda g, w, H, W, S, P: framed(g, w, H, W, S, P)[P:, P:][:H, :W]),
    ],
)
def test_solution_passes(name, answer):
    report = CHECKS[name](answer)
    assert report.status == "passed", report


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("by_hand", (..., ..., ...)),
        ("by_hand", (K, [3, ..., ..., ...], ...)),
        *((name, wrong) for name in ("grad_weight", "pool_backward", "grad_input") for wrong in (stub, ...)),
    ],
)
def test_stub_is_not_answered(name, answer):
    assert CHECKS[name](answer).status == "unanswered"


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("by_hand", (K[::-1], X, B), "weight_flipped"),
        ("by_hand", ([6, -1, 0], X, B), "weight_forward"),
        ("by_hand", ([1, 1], X, B), "value"),
        ("by_hand", (K, [-1, 1, 7, -3], B), "x_flipped"),
        ("by_hand", (K, [5, -5], B), "x_inside"),
        ("by_hand", (K, [3, 5, -5], B), "x_short"),
        ("by_hand", (K, X, 4), "bias_sign"),
        ("by_hand", (K, X, 1), "bias_one"),
        ("by_hand", (K, X, [1, 2, -1]), "bias_not_added"),
        ("grad_weight", lambda g, x, K, L, S: grad_weight(g, x, K, L, 1), "no_stride"),
        ("grad_weight", grad_weight_of_the_last_window, "overwritten"),
        ("grad_weight", lambda g, x, K, L, S: grad_weight(g, x, K, L, S) / g.size, "mean"),
        ("grad_weight", lambda g, x, K, L, S: grad_weight(g, x, K, L, S)[::-1, ::-1], "flipped"),
        ("grad_weight", lambda g, x, K, L, S: grad_weight(np.ones_like(g), x, K, L, S), "no_grad_out"),
        ("grad_weight", lambda g, x, K, L, S: grad_weight(g, x, K, L, S).T, "rows_and_columns"),
        ("grad_weight", lambda g, x, K, L, S: x.no_such_thing, "raised"),
        ("pool_backward", pool_backward_to_all, "all_winners"),
        ("pool_backward", pool_backward_to_last, "last_winner"),
        ("pool_backward", lambda g, x: pool_backward(g.T, x.T).T, "by_columns"),
        ("pool_backward", lambda g, x: np.kron(g, np.ones((2, 2))) / 4, "average"),
        ("pool_backward", lambda g, x: np.kron(g, np.ones((2, 2))), "everyone"),
        ("pool_backward", pool_backward_of_values, "largest"),
        ("pool_backward", lambda g, x: g, "small"),
        ("pool_backward", lambda g, x: pool_backward(g, x).T, "shape"),
        ("grad_input", grad_input_of_the_question, "both"),
        (
            "grad_input",
            lambda g, w, H, W, S, P: framed(g, w, H, W, S, P, add=False)[P : P + H, P : P + W],
            "overwritten",
        ),
        ("grad_input", lambda g, w, H, W, S, P: framed(g, w, H, W, S, P)[:H, :W], "frame"),
        ("grad_input", lambda g, w, H, W, S, P: framed(g, w, H, W, S, P)[2 * P :, 2 * P :], "frame"),
        ("grad_input", framed, "frame_kept"),
        ("grad_input", lambda g, w, H, W, S, P: framed(g, w, H, W, S, P)[P:-P, P:-P], "empty"),
        ("grad_input", lambda g, w, *rest: grad_input(g, w[::-1, ::-1], *rest), "flipped"),
        ("grad_input", 3, "not_callable"),
    ],
)
def test_mistake_gets_its_hint(name, answer, hint):
    failed(CHECKS[name](answer), hint)
