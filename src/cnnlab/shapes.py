"""Sizes only: how large an output is and how far a unit sees. Integers in, integers out."""

from collections.abc import Iterable
from operator import index

__all__ = ["conv_output_size", "pair", "receptive_field", "single"]


def pair(value: int | tuple[int, int], name: str = "value", *, minimum: int = 1) -> tuple[int, int]:
    """Read an int or a (height, width) pair, as torch's `stride=2` and `stride=(2, 1)`.

    Parameters
    ----------
    value : int or (int, int)
    name : str
        The argument's name, for the error message.
    minimum : int
        The smallest size allowed: 1 for sizes and steps, 0 for padding.

    Raises
    ------
    TypeError
        If `value` is neither an integer nor two integers.
    ValueError
        If a size is below `minimum`.
    """
    values = value if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2:
        raise TypeError(f"{name} must be an int or a pair (height, width), got {value!r}")
    try:
        height, width = (index(v) for v in values)
    except TypeError:
        raise TypeError(f"{name} must be an int or a pair of ints, got {value!r}") from None
    if min(height, width) < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value!r}")
    return height, width


def single(value: int, name: str = "value", *, minimum: int = 1) -> int:
    """Read one int of at least `minimum`, for arguments that are no pair.

    Parameters
    ----------
    value : int
    name : str
        The argument's name, for the error message.
    minimum : int
        The smallest value allowed.

    Raises
    ------
    TypeError
        If `value` is no integer.
    ValueError
        If it is below `minimum`.
    """
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, got {value!r}") from None
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {number}")
    return number


def conv_output_size(
    size: int, kernel_size: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> int:
    """How many positions a window finds along one axis; the rule for convolution and for pooling.

    ``floor((size + 2 * padding - dilation * (kernel_size - 1) - 1) / stride) + 1``, all in pixels
    (`torch.nn.Conv2d`, section "Shape").

    Raises
    ------
    TypeError
        If an argument is not an integer.
    ValueError
        If a size is not positive, or the filter is larger than the padded image.
    """
    size = single(size, "size")
    kernel_size = single(kernel_size, "kernel_size")
    stride = single(stride, "stride")
    padding = single(padding, "padding", minimum=0)
    dilation = single(dilation, "dilation")
    reach = dilation * (kernel_size - 1) + 1  # pixels from the window's first to its last element
    padded = size + 2 * padding
    if reach > padded:
        raise ValueError(
            f"the filter does not fit: it covers {reach} pixels (kernel_size={kernel_size}, "
            f"dilation={dilation}), the padded image has {padded} (size={size}, padding={padding})"
        )
    return (padded - reach) // stride + 1


def receptive_field(layers: Iterable[tuple[int, int] | tuple[int, int, int]]) -> int:
    """How many input pixels one output unit sees along one axis.

    Parameters
    ----------
    layers : iterable of (kernel_size, stride) or (kernel_size, stride, dilation)
        Convolutions and poolings from the input to the unit.

    Raises
    ------
    TypeError, ValueError
        If a layer is not a pair or triple of positive integers.
    """
    field, step = 1, 1  # pixels seen; pixels between two neighbouring units
    for layer in layers:
        if not isinstance(layer, (tuple, list)) or len(layer) not in (2, 3):
            raise ValueError(f"a layer is (kernel_size, stride) or (…, dilation), got {layer!r}")
        kernel_size = single(layer[0], "kernel_size")
        stride = single(layer[1], "stride")
        dilation = single(layer[2] if len(layer) == 3 else 1, "dilation")
        field += dilation * (kernel_size - 1) * step
        step *= stride
    return field
