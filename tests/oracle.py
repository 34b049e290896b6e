"""One comparison for every operation: shape, dtype, values, then gradients, with torch as the judge."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

TOLERANCE = {np.dtype("float64"): 1e-10, np.dtype("float32"): 1e-4, np.dtype("float16"): 1e-2}
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def assert_close(got, wanted: torch.Tensor, what: str) -> None:
    """Fail unless `got` (NumPy array or tensor) has the tensor's shape, dtype and values.

    Values may differ by TOLERANCE times the largest wanted value (at least 1); integers not at all.
    """
    expected = wanted.detach().cpu().numpy()
    actual = got.detach().cpu().numpy() if isinstance(got, torch.Tensor) else got
    assert isinstance(actual, np.ndarray | np.generic), f"{what}: got {type(actual).__name__}, not an array"
    assert actual.shape == expected.shape, f"{what}: shape {actual.shape}, torch has {expected.shape}"
    assert actual.dtype == expected.dtype, f"{what}: dtype {actual.dtype}, torch has {expected.dtype}"
    tolerance = TOLERANCE.get(expected.dtype, 0) * max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance, err_msg=what)


def check(
    forward: Callable,
    backward: Callable | None,
    torch_forward: Callable,
    inputs: Sequence[np.ndarray],
    *,
    seed: int = 0,
    on: Sequence[str] = ("numpy", *DEVICES),
) -> None:
    """Compare an operation with torch's, on NumPy arrays and on torch tensors of every device there is.

    forward(*inputs) -> array; backward(grad_out, *inputs) -> tuple of gradients, one per floating input (None
    to compare the forward pass only); torch_forward(*tensors) -> tensor. A random gradient is sent back. On
    torch tensors, autograd through `forward` is compared as well. No input may be changed in place.
    """
    wanted, wanted_grads, grad_out = _torch_answer(torch_forward, inputs, seed, bool(backward))
    for place in on:
        if place == "numpy":
            mine, grad = list(inputs), grad_out.copy()
        else:
            mine, grad = [_tensor(a, place) for a in inputs], _tensor(grad_out, place)
        before = [_copy(a) for a in (*mine, grad)]
        got = forward(*mine)
        assert isinstance(got, torch.Tensor) == (place != "numpy"), f"on {place}: got {type(got).__name__}"
        assert_close(got, wanted, f"forward ({place})")
        if backward:
            _compare_all(backward(grad, *mine), wanted_grads, f"backward ({place})")
        for i, (a, b) in enumerate(zip((*mine, grad), before, strict=True)):
            what = f"grad_out ({place})" if i == len(mine) else f"input {i} ({place})"
            np.testing.assert_array_equal(_copy(a), b, err_msg=f"{what} was changed in place")
        if backward and place != "numpy":
            leaves = [t.requires_grad_() for t in mine if t.is_floating_point()]
            grads = torch.autograd.grad(forward(*mine), leaves, grad)
            _compare_all(grads, wanted_grads, f"autograd through forward ({place})")


def _torch_answer(torch_forward: Callable, inputs: Sequence[np.ndarray], seed: int, gradients: bool):
    """torch's output, its gradients, and the gradient (array) that was sent back."""
    tensors = [_tensor(a, "cpu") for a in inputs]
    leaves = [t.requires_grad_() for t in tensors if gradients and t.is_floating_point()]
    wanted = torch_forward(*tensors)
    grad_out = np.random.default_rng(seed).standard_normal(wanted.shape)
    grad_out = np.asarray(grad_out, dtype=wanted.detach().numpy().dtype)
    grads = torch.autograd.grad(wanted, leaves, _tensor(grad_out, "cpu")) if gradients else ()
    return wanted, grads, grad_out


def _tensor(a: np.ndarray, device: str) -> torch.Tensor:
    return torch.from_numpy(a.copy()).to(device)


def _copy(a) -> np.ndarray:
    return a.detach().cpu().numpy().copy() if isinstance(a, torch.Tensor) else a.copy()


def _compare_all(got, wanted, what: str) -> None:
    got = got if isinstance(got, tuple) else (got,)
    assert len(got) == len(wanted), f"{what}: {len(got)} gradients, torch has {len(wanted)}"
    for i, (g, w) in enumerate(zip(got, wanted, strict=True)):
        assert_close(g, w, f"{what}, gradient {i}")
