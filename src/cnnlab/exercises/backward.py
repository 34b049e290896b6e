"""Checks of chapter `07_backward`."""

import numpy as np

from cnnlab import ops
from cnnlab.exercises.report import Attempt, check

ROW = np.array([2, 0, 1, 3])  # (4,)
TAPS = np.array([3, -1])  # (2,)
GRAD = np.array([1, 2, -1])  # (3,)


@check("backward.by_hand")
def check_by_hand(attempt: Attempt, weight, x, bias) -> None:
    """The three gradients of a convolution in one dimension."""
    want = np.correlate(ROW, GRAD)
    attempt.compare(
        weight,
        want,
        mistakes=[(want[::-1], "weight_flipped"), (np.correlate(ROW, TAPS), "weight_forward")],
        reveal=False,
    )
    attempt.compare(
        x,
        np.convolve(GRAD, TAPS),
        mistakes=[
            (np.convolve(GRAD, TAPS[::-1]), "x_flipped"),
            (np.convolve(GRAD, TAPS)[1:-1], "x_inside"),
            (lambda got: got.shape == GRAD.shape, "x_short"),
        ],
        reveal=False,
    )
    attempt.compare(
        bias,
        int(GRAD.sum()),
        mistakes=[
            (int(np.abs(GRAD).sum()), "bias_sign"),
            (1, "bias_one"),
            (lambda got: np.array_equal(got, GRAD), "bias_not_added"),
        ],
        reveal=False,
    )


@check("backward.grad_weight")
def check_grad_weight(attempt: Attempt, answer) -> None:
    """``grad_weight(grad_out, x, K, L, S)`` for any sizes, also where the windows leave a remainder."""
    rng = np.random.default_rng(0)
    for (H, W), (K, L), S in (((4, 6), (3, 2), 1), ((7, 10), (2, 3), 2), ((9, 8), (3, 1), 3)):
        x = rng.integers(-3, 4, (H, W)).astype(float)
        grad_out = rng.integers(1, 5, ((H - K) // S + 1, (W - L) // S + 1)).astype(float)
        want = _backward(grad_out, x, np.zeros((K, L)), stride=S)[1]
        OH, OW = grad_out.shape
        last = (grad_out[-1, -1] * x[(OH - 1) * S :, (OW - 1) * S :])[:K, :L]
        mistakes = [
            (_backward(grad_out, x[: OH + K - 1, : OW + L - 1], np.zeros((K, L)))[1], "no_stride"),
            (last, "overwritten"),
            (want / grad_out.size, "mean"),
            (want[::-1, ::-1], "flipped"),
            (_backward(np.ones_like(grad_out), x, np.zeros((K, L)), stride=S)[1], "no_grad_out"),
            (lambda got, want=want: got.shape == want.T.shape != want.shape, "rows_and_columns"),
        ]
        attempt.compare(attempt.call(answer, grad_out, x, K, L, S), want, mistakes=mistakes)


@check("backward.pool_backward")
def check_pool_backward(attempt: Attempt, answer) -> None:
    """``pool_backward(grad_out, x)`` of 2×2 windows, with equal numbers."""
    rng = np.random.default_rng(0)
    for H, W in ((4, 6), (2, 4), (8, 2)):
        distinct = rng.permutation(H * W).reshape(H, W).astype(float)
        tied = rng.integers(0, 3, (H, W)).astype(float)
        for x in (distinct, tied, -1.0 - tied):
            grad_out = rng.permutation(np.arange(1.0, 1 + H * W // 4)).reshape(H // 2, W // 2) + 0.5
            want = _pool_backward(grad_out, x)
            spread = np.kron(grad_out, np.ones((2, 2)))  # (H, W)
            largest = ops.max_pool2d(x[None, None], 2)[0, 0]  # (OH, OW)
            winners = x == np.kron(largest, np.ones((2, 2)))
            mistakes = [
                (np.where(winners, spread, 0), "all_winners"),
                (_pool_backward(grad_out[::-1, ::-1], x[::-1, ::-1])[::-1, ::-1], "last_winner"),
                (_by_columns(grad_out, x), "by_columns"),
                (spread / 4, "average"),
                (spread, "everyone"),
                (_pool_backward(largest, x), "largest"),
                (lambda got, grad_out=grad_out: got.shape == grad_out.shape, "small"),
            ]
            attempt.compare(attempt.call(answer, grad_out, x), want, mistakes=mistakes)


@check("backward.grad_input")
def check_grad_input(attempt: Attempt, answer) -> None:
    """``grad_input(grad_out, w, H, W, S, P)`` with two mistakes mended."""
    rng = np.random.default_rng(0)
    cases = (((4, 6), (2, 3), 2, 1), ((5, 4), (3, 2), 1, 0), ((6, 9), (3, 3), 3, 0), ((7, 8), (4, 3), 2, 1))
    for (H, W), (K, L), S, P in cases:
        w = rng.integers(1, 5, (K, L)).astype(float)
        grad_out = rng.integers(1, 5, ((H + 2 * P - K) // S + 1, (W + 2 * P - L) // S + 1)).astype(float)
        x = np.zeros((H, W))
        framed = _backward(grad_out, np.pad(x, P), w, stride=S)[0]  # (H+2P, W+2P)
        overwritten = np.zeros_like(framed)
        for m, n in np.ndindex(grad_out.shape):
            overwritten[m * S : m * S + K, n * S : n * S + L] = grad_out[m, n] * w
        inside = slice(P, P + H), slice(P, P + W)
        mistakes = [
            (overwritten[:H, :W] if P else np.nan, "both"),
            (overwritten[inside], "overwritten"),
            (framed[:H, :W], "frame"),
            (framed[2 * P :, 2 * P :], "frame"),
            (framed, "frame_kept"),
            (lambda got, P=P: P == 0 and got.size == 0, "empty"),
            (_backward(grad_out, x, w[::-1, ::-1], stride=S, padding=P)[0], "flipped"),
        ]
        want = _backward(grad_out, x, w, stride=S, padding=P)[0]
        attempt.compare(attempt.call(answer, grad_out, w, H, W, S, P), want, mistakes=mistakes)


def _backward(grad_out: np.ndarray, x: np.ndarray, w: np.ndarray, **options) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the input and the filter, one channel."""
    grad_x, grad_w, _ = ops.conv2d_backward(*(np.array(a)[None, None] for a in (grad_out, x, w)), **options)
    return grad_x[0, 0], grad_w[0, 0]


def _pool_backward(grad_out: np.ndarray, x: np.ndarray) -> np.ndarray:
    return ops.max_pool2d_backward(np.array(grad_out)[None, None], np.array(x)[None, None], 2)[0, 0]


def _by_columns(grad_out: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Of equal numbers the first one column by column."""
    return _pool_backward(grad_out.T, x.T).T
