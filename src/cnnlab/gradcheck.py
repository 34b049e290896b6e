"""Gradients by trying out: move each number a little and see how much the result moves (chapter 07).

Slow and slightly inexact, but it needs nothing except the forward pass: the judge of every backward pass.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["GradientError", "check_gradients", "numerical_gradient"]

Array = NDArray[Any]


class GradientError(AssertionError):
    """A backward pass whose gradient is not the one of its forward pass."""


def numerical_gradient(
    function: Callable[[NDArray[np.float64]], Any], x: NDArray[np.float64], *, eps: float = 1e-6
) -> NDArray[np.float64]:
    """The gradient of a number that depends on an array, by central differences.

    For every element: ``(function(x + eps) - function(x - eps)) / (2 * eps)``, two calls each. Where the
    function has a kink (ReLU at 0, two equal pixels under max pooling) the result lies between the slopes of
    both sides.

    Parameters
    ----------
    function : callable
        Takes an array like `x`, gives one number.
    x : array of float64, any shape
        Where to take the gradient; unchanged.
    eps : float
        The step: smaller is more exact until rounding takes over, about 1e-6 for values near 1.

    Returns
    -------
    array of float64, the shape of x

    Raises
    ------
    TypeError
        If `x` is no NumPy array of float64: a step of 1e-6 drowns in float32's rounding.
    ValueError
        If `eps` is not positive, or `function` gives something else than one number.
    """
    _require_float64(x, "x")
    if not eps > 0:
        raise ValueError(f"eps must be positive, got {eps}")
    moved = x.copy()
    grad = np.empty_like(x)
    for place in np.ndindex(x.shape):
        moved[place] = x[place] + eps
        above = _number(function(moved))
        moved[place] = x[place] - eps
        below = _number(function(moved))
        moved[place] = x[place]
        grad[place] = (above - below) / (2 * eps)
    return grad


def check_gradients(
    forward: Callable[..., Any],
    backward: Callable[..., Any],
    *inputs: Array,
    seed: int = 0,
    eps: float = 1e-6,
    tolerance: float = 1e-6,
) -> float:
    """Compare a backward pass with numerical gradients of its forward pass.

    The loss is ``sum(grad_out * forward(*inputs))`` with a random `grad_out`, so that every output counts
    differently.

    Parameters
    ----------
    forward : callable
        ``forward(*inputs)`` gives the output, an array of any shape.
    backward : callable
        ``backward(grad_out, *inputs)`` gives one gradient for each floating input, in their order: a tuple,
        or the array alone if there is only one.
    *inputs : arrays
        Of float64; arrays of integers (class numbers) get no gradient. Unchanged.
    seed : int
        For `grad_out`.
    eps : float
        See `numerical_gradient`.
    tolerance : float
        Largest relative error allowed: difference / largest absolute value in that numerical gradient.

    Returns
    -------
    float
        The largest relative error found; about 1e-9 when all is well.

    Raises
    ------
    GradientError
        An AssertionError: a gradient is missing, has the wrong shape or a wrong value. The message names the
        gradient and, where it is furthest off, the index, the value got and the value wanted.
    TypeError
        If an input is neither an array of float64 nor of integers, or none is of float64.

    Examples
    --------
    >>> check_gradients(ops.relu, ops.relu_backward, x)
    >>> def backward(grad_out, x, weight, bias):
    ...     return ops.conv2d_backward(grad_out, x, weight)
    >>> check_gradients(ops.conv2d, backward, x, weight, bias)
    """
    variables = _variables(inputs)
    names = _names(forward, len(inputs))
    out = np.asarray(forward(*(a.copy() for a in inputs)))
    grad_out = np.random.default_rng(seed).standard_normal(out.shape)
    grads = backward(grad_out.copy(), *(a.copy() for a in inputs))
    grads = grads if isinstance(grads, (tuple, list)) else (grads,)
    if len(grads) != len(variables):
        wanted = ", ".join(names[i] for i in variables)
        raise GradientError(f"backward must give {len(variables)} gradients ({wanted}), got {len(grads)}")
    worst = 0.0
    for i, grad in zip(variables, grads, strict=True):

        def loss(moved: Array, i: int = i) -> float:
            return float(np.sum(grad_out * forward(*inputs[:i], moved, *inputs[i + 1 :])))

        wanted_grad = numerical_gradient(loss, inputs[i], eps=eps)
        worst = max(worst, _compare(grad, wanted_grad, names[i], tolerance))
    return worst


def _compare(got: Any, wanted: NDArray[np.float64], name: str, tolerance: float) -> float:
    """The relative error of one gradient, if it is small enough."""
    if not isinstance(got, (np.ndarray, np.generic)):
        raise GradientError(f"gradient of {name}: must be an array, got {type(got).__name__}")
    got = np.asarray(got)
    if got.shape != wanted.shape:
        raise GradientError(f"gradient of {name}: must have shape {wanted.shape}, got {got.shape}")
    if wanted.size == 0:
        return 0.0
    errors = np.abs(got - wanted) / (np.abs(wanted).max() or 1.0)
    errors = np.where(np.isnan(errors), np.inf, errors)
    place = np.unravel_index(np.argmax(errors), errors.shape)
    error = float(errors[place])
    if error > tolerance:
        index = tuple(int(i) for i in place)
        raise GradientError(
            f"gradient of {name} is wrong at index {index}: got {got[place]:.9g}, wanted {wanted[place]:.9g} "
            f"(relative error {error:.1e}, allowed {tolerance:.1e})"
        )
    return error


def _variables(inputs: tuple[Array, ...]) -> list[int]:
    """Which inputs have a gradient: those that do not hold integers."""
    variables = []
    for i, a in enumerate(inputs):
        if not (isinstance(a, np.ndarray) and a.dtype.kind in "iu"):
            _require_float64(a, f"input {i}")
            variables.append(i)
    if not variables:
        raise TypeError("there must be at least one input of float64, got none")
    return variables


def _names(forward: Callable[..., Any], count: int) -> list[str]:
    """What `forward` calls its inputs, as far as that can be known."""
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        names = [p.name for p in inspect.signature(forward).parameters.values() if p.kind in positional]
    except (TypeError, ValueError):  # not every compiled function tells
        names = []
    return [names[i] if i < len(names) else f"input {i}" for i in range(count)]


def _require_float64(x: Any, name: str) -> None:
    if not isinstance(x, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array of float64, got {type(x).__name__}")
    if x.dtype != np.float64:
        raise TypeError(f"{name} must be a NumPy array of float64, got one of {x.dtype}")


def _number(value: Any) -> float:
    if np.shape(value) != ():
        raise ValueError(f"the function must give one number, got an array of shape {np.shape(value)}")
    return float(value)
