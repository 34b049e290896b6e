"""What the drawing functions accept, and what they say when it is something else."""

import numpy as np


def as_array(value, name: str, ndim: int | tuple[int, ...]) -> np.ndarray:
    """`value` as a numeric NumPy array with one of the given numbers of axes; torch tensors are welcome.

    Raises
    ------
    TypeError
        If it does not hold real numbers.
    ValueError
        If it has another number of axes, or is empty.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise TypeError(f"{name} must be a rectangular array of numbers, got {value!r}") from error
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    wanted = (ndim,) if isinstance(ndim, int) else ndim
    if array.ndim not in wanted:
        axes = " or ".join(str(n) for n in wanted)
        raise ValueError(f"{name} must have {axes} axes, got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    return array


def as_shape(value, name: str, lengths: tuple[int, ...]) -> tuple[int, ...]:
    """`value` as a tuple of positive integers whose length is one of `lengths`."""
    try:
        shape = tuple(int(n) for n in value)
        exact = shape == tuple(value)
    except (TypeError, ValueError):
        exact, shape = False, ()
    if not exact or len(shape) not in lengths or min(shape) < 1:
        wanted = " or ".join(str(n) for n in lengths)
        raise ValueError(f"{name} must be {wanted} positive integers, got {value!r}")
    return shape


def as_images(value, name: str) -> np.ndarray:
    """(N, H, W) or (N, 1, H, W) as (N, H, W)."""
    array = as_array(value, name, (3, 4))
    if array.ndim == 3:
        return array
    if array.shape[1] != 1:
        raise ValueError(f"{name} must be (N, H, W) or (N, 1, H, W), got shape {array.shape}")
    return array[:, 0]  # (N, H, W)
