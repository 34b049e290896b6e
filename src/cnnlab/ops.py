"""The operations of a CNN, forward and backward side by side (chapters 02-07).

Names and arguments are those of `torch.nn.functional`. Every function takes NumPy arrays or torch tensors of
any device and gives back the same kind; nothing is changed in place.

Sizes: N images, C channels of H x W pixels; OC filters of KH x KW; outputs of OH x OW; padding PH, PW;
stride SH, SW; dilation DH, DW.

The code below is the lesson: gather the windows (`im2col`), then one product. NumPy floats take the same
steps block by block in `cnnlab.blocked`, which is faster and needs far less memory.
"""

from math import prod
from typing import Any, TypeAlias

from array_api_compat import array_namespace, is_numpy_array

from cnnlab import blocked
from cnnlab.shapes import conv_output_size, pair, single

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "col2im",
    "col2im_matrix",
    "conv2d",
    "conv2d_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "im2col",
    "im2col_matrix",
    "linear",
    "linear_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "relu",
    "relu_backward",
    "softmax",
]

Array: TypeAlias = Any  # a NumPy array or a torch tensor
IntPair: TypeAlias = int | tuple[int, int]


# --- windows -------------------------------------------------------------------------------------------


def im2col(
    x: Array, kernel_size: IntPair, *, stride: IntPair = 1, padding: IntPair = 0, dilation: IntPair = 1
) -> Array:
    """Gather what every window sees: ``cols[n, c, i, j, p, q]`` is pixel (i, j) of the window at (p, q).

    Parameters
    ----------
    x : array, (N, C, H, W)
    kernel_size, stride, padding, dilation : int or (int, int)
        In pixels; the padding is zero.

    Returns
    -------
    array, (N, C, KH, KW, OH, OW)

    Raises
    ------
    TypeError, ValueError
        If `x` is not a 4-D array, or the window does not fit into the padded image.
    """
    return _windows(_images(x), kernel_size, stride, padding, dilation)


def col2im(
    cols: Array,
    input_size: tuple[int, int],
    *,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
) -> Array:
    """Add every window's pixels back to where `im2col` took them: its transpose, not its inverse.

    Parameters
    ----------
    cols : array, (N, C, KH, KW, OH, OW)
    input_size : (H, W)
    stride, padding, dilation : int or (int, int)
        As given to `im2col`.

    Returns
    -------
    array, (N, C, H, W)

    Raises
    ------
    TypeError, ValueError
        If `cols` is not 6-D, or is not what `im2col` makes of images of `input_size`.
    """
    xp = _namespace(cols, "cols", ndim=6)
    N, C, KH, KW, OH, OW = cols.shape
    H, W = pair(input_size, "input_size")
    SH, SW = pair(stride, "stride")
    PH, PW = pair(padding, "padding", minimum=0)
    DH, DW = pair(dilation, "dilation")
    expected = conv_output_size(H, KH, SH, PH, DH), conv_output_size(W, KW, SW, PW, DW)
    if expected != (OH, OW):
        raise ValueError(
            f"cols has {OH} x {OW} windows, images of {H} x {W} give {expected[0]} x {expected[1]}"
        )
    x = xp.zeros((N, C, H + 2 * PH, W + 2 * PW), dtype=cols.dtype, device=_device(cols))
    for i in range(KH):
        for j in range(KW):
            x[:, :, _steps(i * DH, OH, SH), _steps(j * DW, OW, SW)] += cols[:, :, i, j]
    return x[:, :, PH : PH + H, PW : PW + W]  # (N, C, H, W)


def im2col_matrix(
    x: Array, kernel_size: IntPair, *, stride: IntPair = 1, padding: IntPair = 0, dilation: IntPair = 1
) -> Array:
    """`im2col` as a matrix with one row per window: ``(N*OH*OW, C*KH*KW)``."""
    cols = im2col(x, kernel_size, stride=stride, padding=padding, dilation=dilation)
    N, C, KH, KW, OH, OW = cols.shape
    xp = array_namespace(cols)
    rows = xp.permute_dims(cols, (0, 4, 5, 1, 2, 3))  # (N, OH, OW, C, KH, KW)
    return xp.reshape(rows, (N * OH * OW, C * KH * KW))


def col2im_matrix(
    matrix: Array,
    input_shape: tuple[int, int, int, int],
    kernel_size: IntPair,
    *,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
) -> Array:
    """The transpose of `im2col_matrix`: ``(N*OH*OW, C*KH*KW)`` back to images of `input_shape` (N, C, H, W).

    Errors as for `col2im`.
    """
    xp = _namespace(matrix, "matrix", ndim=2)
    if len(input_shape) != 4:
        raise ValueError(f"input_shape must be (N, C, H, W), got {tuple(input_shape)}")
    N, C, H, W = input_shape
    KH, KW = pair(kernel_size, "kernel_size")
    (SH, SW), (PH, PW) = pair(stride, "stride"), pair(padding, "padding", minimum=0)
    DH, DW = pair(dilation, "dilation")
    OH, OW = conv_output_size(H, KH, SH, PH, DH), conv_output_size(W, KW, SW, PW, DW)
    _require_shape(matrix, "matrix", (N * OH * OW, C * KH * KW))
    rows = xp.reshape(matrix, (N, OH, OW, C, KH, KW))
    cols = xp.permute_dims(rows, (0, 3, 4, 5, 1, 2))  # (N, C, KH, KW, OH, OW)
    return col2im(cols, (H, W), stride=stride, padding=padding, dilation=dilation)


# --- convolution ---------------------------------------------------------------------------------------


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    groups: int = 1,
) -> Array:
    """Slide every filter over every image (`torch.nn.functional.conv2d`; a cross-correlation, chapter 02).

    Parameters
    ----------
    x : array, (N, C, H, W)
    weight : array, (OC, C / groups, KH, KW)
        The filters, of x's dtype.
    bias : array, (OC,), optional
    stride, padding, dilation : int or (int, int)
        In pixels; the padding is zero.
    groups : int
        Channels and filters are split into so many groups that do not see each other.

    Returns
    -------
    array, (N, OC, OH, OW)

    Raises
    ------
    TypeError
        If an argument is no array, or the dtypes differ.
    ValueError
        If the shapes do not go together, or the filter is larger than the padded image.
    """
    _check_convolution(x, weight, bias, groups)
    if groups > 1:
        xp = array_namespace(x)
        halves = zip(_split(x, 1, groups), _split(weight, 0, groups), strict=True)
        parts = [conv2d(*half, stride=stride, padding=padding, dilation=dilation) for half in halves]
        out = xp.concat(parts, axis=1)  # (N, OC, OH, OW)
        return out if bias is None else out + xp.reshape(bias, (-1, 1, 1))
    if _is_fast(x):
        return blocked.conv2d(x, weight, bias, stride=stride, padding=padding, dilation=dilation)
    cols = im2col(x, weight.shape[2:], stride=stride, padding=padding, dilation=dilation)
    xp = array_namespace(x)
    out = xp.tensordot(cols, weight, axes=((1, 2, 3), (1, 2, 3)))  # (N, OH, OW, OC)
    if bias is not None:
        out = out + bias
    return xp.permute_dims(out, (0, 3, 1, 2))  # (N, OC, OH, OW)


def conv2d_backward(
    grad_out: Array,
    x: Array,
    weight: Array,
    *,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    """Gradients of `conv2d` (chapter 07).

    Parameters
    ----------
    grad_out : array, (N, OC, OH, OW)
        Gradient of the loss with respect to the output.
    x, weight, stride, padding, dilation, groups
        As given to `conv2d`.

    Returns
    -------
    grad_x : array, (N, C, H, W)
    grad_weight : array, (OC, C / groups, KH, KW)
    grad_bias : array, (OC,)

    Raises
    ------
    TypeError, ValueError
        As `conv2d`; also if `grad_out` has not the output's shape.
    """
    _check_convolution(x, weight, None, groups)
    size = _window_count(x, weight.shape[2:], stride, padding, dilation)
    _require_like(grad_out, "grad_out", x, (x.shape[0], weight.shape[0], *size))
    options: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation}
    xp = array_namespace(x)
    if groups > 1:
        thirds = zip(
            _split(grad_out, 1, groups), _split(x, 1, groups), _split(weight, 0, groups), strict=True
        )
        parts = [conv2d_backward(*third, **options) for third in thirds]
        grad_x, grad_weight, grad_bias = zip(*parts, strict=True)
        return xp.concat(grad_x, axis=1), xp.concat(grad_weight, axis=0), xp.concat(grad_bias, axis=0)
    if _is_fast(x):
        return blocked.conv2d_backward(grad_out, x, weight, **options)
    cols = im2col(x, weight.shape[2:], **options)
    grad_bias = xp.sum(grad_out, axis=(0, 2, 3))  # (OC,)
    grad_weight = xp.tensordot(grad_out, cols, axes=((0, 2, 3), (0, 4, 5)))  # (OC, C, KH, KW)
    grad_cols = xp.tensordot(grad_out, weight, axes=((1,), (0,)))  # (N, OH, OW, C, KH, KW)
    grad_cols = xp.permute_dims(grad_cols, (0, 3, 4, 5, 1, 2))  # (N, C, KH, KW, OH, OW)
    return col2im(grad_cols, x.shape[2:], **options), grad_weight, grad_bias


# --- pooling -------------------------------------------------------------------------------------------


def max_pool2d(
    x: Array, kernel_size: IntPair, *, stride: IntPair | None = None, padding: IntPair = 0
) -> Array:
    """The largest value of every window (`torch.nn.functional.max_pool2d`, chapter 05).

    Parameters
    ----------
    x : array, (N, C, H, W)
    kernel_size : int or (int, int)
    stride : int or (int, int), optional
        Default: the window's own size, so that windows do not overlap.
    padding : int or (int, int)
        At most half the window; padded pixels are never the largest.

    Returns
    -------
    array, (N, C, OH, OW)

    Raises
    ------
    TypeError, ValueError
        If `x` is not a 4-D array, the window does not fit, or the padding is too wide.
    """
    kernel_size, stride, padding = _pooling(x, kernel_size, stride, padding)
    if _is_fast(x):
        return blocked.max_pool2d(x, kernel_size, stride=stride, padding=padding)
    xp = array_namespace(x)
    windows, won = _contest(x, kernel_size, stride, padding)  # (N, C, KH*KW, OH, OW)
    return xp.sum(xp.where(won, windows, xp.zeros_like(windows)), axis=2, dtype=x.dtype)  # (N, C, OH, OW)


def max_pool2d_backward(
    grad_out: Array, x: Array, kernel_size: IntPair, *, stride: IntPair | None = None, padding: IntPair = 0
) -> Array:
    """Send each output's gradient to the pixel that won; of equal pixels the first one wins, as in torch.

    Parameters
    ----------
    grad_out : array, (N, C, OH, OW)
    x, kernel_size, stride, padding
        As given to `max_pool2d`.

    Returns
    -------
    array, (N, C, H, W)

    Raises
    ------
    TypeError, ValueError
        As `max_pool2d`; also if `grad_out` has not the output's shape.
    """
    kernel_size, stride, padding = _pooling(x, kernel_size, stride, padding)
    size = _window_count(x, kernel_size, stride, padding)
    _require_like(grad_out, "grad_out", x, (*x.shape[:2], *size))
    if _is_fast(x):
        return blocked.max_pool2d_backward(grad_out, x, kernel_size, stride=stride, padding=padding)
    xp = array_namespace(x)
    windows, won = _contest(x, kernel_size, stride, padding)  # (N, C, KH*KW, OH, OW)
    grad = xp.where(won, grad_out[:, :, None], xp.zeros_like(windows))  # (N, C, KH*KW, OH, OW)
    grad = xp.reshape(grad, (*x.shape[:2], *kernel_size, *size))  # (N, C, KH, KW, OH, OW)
    return col2im(grad, x.shape[2:], stride=stride, padding=padding)


def avg_pool2d(
    x: Array, kernel_size: IntPair, *, stride: IntPair | None = None, padding: IntPair = 0
) -> Array:
    """The mean of every window, padded zeros included (`torch.nn.functional.avg_pool2d`, chapter 05).

    Parameters, result and errors as for `max_pool2d`.
    """
    kernel_size, stride, padding = _pooling(x, kernel_size, stride, padding)
    cols = im2col(x, kernel_size, stride=stride, padding=padding)  # (N, C, KH, KW, OH, OW)
    return array_namespace(x).mean(cols, axis=(2, 3))  # (N, C, OH, OW)


def avg_pool2d_backward(
    grad_out: Array, x: Array, kernel_size: IntPair, *, stride: IntPair | None = None, padding: IntPair = 0
) -> Array:
    """Spread each output's gradient evenly over its window.

    Parameters, result and errors as for `max_pool2d_backward`.
    """
    kernel_size, stride, padding = _pooling(x, kernel_size, stride, padding)
    size = _window_count(x, kernel_size, stride, padding)
    _require_like(grad_out, "grad_out", x, (*x.shape[:2], *size))
    share = (grad_out / prod(kernel_size))[:, :, None, None]  # (N, C, 1, 1, OH, OW)
    cols = array_namespace(x).broadcast_to(share, (*x.shape[:2], *kernel_size, *size))
    return col2im(cols, x.shape[2:], stride=stride, padding=padding)


# --- the other layers ----------------------------------------------------------------------------------


def relu(x: Array) -> Array:
    """Negative values become 0; any shape (`torch.nn.functional.relu`)."""
    xp = _namespace(x, "x")
    return xp.where(x <= 0, xp.zeros_like(x), x)  # so NaN stays NaN


def relu_backward(grad_out: Array, x: Array) -> Array:
    """The gradient passes where `x` was positive; at 0 it is 0, as in torch."""
    _require_like(grad_out, "grad_out", x, x.shape)
    xp = array_namespace(x)
    return xp.where(x <= 0, xp.zeros_like(grad_out), grad_out)


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """A fully connected layer (`torch.nn.functional.linear`).

    Parameters
    ----------
    x : array, (N, D)
    weight : array, (K, D)
    bias : array, (K,), optional

    Returns
    -------
    array, (N, K)

    Raises
    ------
    TypeError, ValueError
        If dtypes or shapes do not go together.
    """
    _check_linear(x, weight)
    if bias is not None:
        _require_like(bias, "bias", x, (weight.shape[0],))
    out = x @ weight.T  # (N, K)
    return out if bias is None else out + bias


def linear_backward(grad_out: Array, x: Array, weight: Array) -> tuple[Array, Array, Array]:
    """Gradients of `linear`: ``grad_x`` (N, D), ``grad_weight`` (K, D), ``grad_bias`` (K,)."""
    _check_linear(x, weight)
    _require_like(grad_out, "grad_out", x, (x.shape[0], weight.shape[0]))
    return grad_out @ weight, grad_out.T @ x, array_namespace(x).sum(grad_out, axis=0)


def softmax(logits: Array) -> Array:
    """Scores (N, K) to probabilities (N, K) that sum to 1 in each row (`torch.softmax`, dim 1)."""
    xp = _namespace(logits, "logits", ndim=2)
    shifted = logits - xp.max(logits, axis=1, keepdims=True)  # (N, K), at most 0: exp cannot overflow
    exp = xp.exp(shifted)
    return exp / xp.sum(exp, axis=1, keepdims=True)


def cross_entropy(logits: Array, target: Array) -> Array:
    """Mean of ``-log(probability of the right class)`` (`torch.nn.functional.cross_entropy`).

    Parameters
    ----------
    logits : array, (N, K)
        Scores before softmax; N >= 1.
    target : integer array, (N,)
        The right class of each row, 0 to K - 1.

    Returns
    -------
    0-D array

    Raises
    ------
    TypeError, ValueError
        If shapes do not go together, `target` is not of integers, or a class is out of range.
    """
    xp = _check_target(logits, target)
    shifted = logits - xp.max(logits, axis=1, keepdims=True)  # (N, K)
    log_sum = xp.log(xp.sum(xp.exp(shifted), axis=1))  # (N,)
    right = xp.sum(xp.where(_one_hot(logits, target), shifted, xp.zeros_like(shifted)), axis=1)  # (N,)
    return xp.mean(log_sum - right)


def cross_entropy_backward(logits: Array, target: Array) -> Array:
    """Gradient of `cross_entropy` with respect to the scores: ``(softmax - one-hot) / N``, (N, K)."""
    xp = _check_target(logits, target)
    hit = xp.astype(_one_hot(logits, target), logits.dtype)  # (N, K)
    return (softmax(logits) - hit) / logits.shape[0]


# --- helpers: pieces of the above, then checks ---------------------------------------------------------


def _steps(start: int, count: int, step: int) -> slice:
    """`count` indices from `start`, `step` apart."""
    return slice(start, start + step * (count - 1) + 1, step)


def _pad(x: Array, padding: tuple[int, int], value: float = 0) -> Array:
    """x framed by PH rows and PW columns of `value`: (N, C, H+2*PH, W+2*PW)."""
    PH, PW = padding
    if PH == PW == 0:
        return x
    N, C, H, W = x.shape
    xp = array_namespace(x)
    padded = xp.full((N, C, H + 2 * PH, W + 2 * PW), value, dtype=x.dtype, device=_device(x))
    padded[:, :, PH : PH + H, PW : PW + W] = x
    return padded


def _windows(
    x: Array,
    kernel_size: IntPair,
    stride: IntPair,
    padding: IntPair,
    dilation: IntPair = 1,
    fill: float = 0,
) -> Array:
    """What every window sees, padded pixels being `fill`: (N, C, KH, KW, OH, OW)."""
    OH, OW = _window_count(x, kernel_size, stride, padding, dilation)
    KH, KW = pair(kernel_size, "kernel_size")
    (SH, SW), (DH, DW) = pair(stride, "stride"), pair(dilation, "dilation")
    x = _pad(x, pair(padding, "padding", minimum=0), fill)
    pixels = [
        x[:, :, _steps(i * DH, OH, SH), _steps(j * DW, OW, SW)]  # (N, C, OH, OW)
        for i in range(KH)
        for j in range(KW)
    ]
    xp = array_namespace(x)
    return xp.reshape(xp.stack(pixels, axis=2), (*x.shape[:2], KH, KW, OH, OW))


def _contest(
    x: Array, kernel_size: tuple[int, int], stride: IntPair, padding: IntPair
) -> tuple[Array, Array]:
    """The pixels of every window, and booleans that are true at its first largest: (N, C, KH*KW, OH, OW)."""
    xp = array_namespace(x)
    windows = _windows(x, kernel_size, stride, padding, fill=_lowest(x))  # (N, C, KH, KW, OH, OW)
    windows = xp.reshape(windows, (*x.shape[:2], prod(kernel_size), *windows.shape[4:]))
    places = xp.reshape(xp.arange(prod(kernel_size), device=_device(x)), (-1, 1, 1))  # (KH*KW, 1, 1)
    return windows, places == xp.argmax(windows, axis=2, keepdims=True)


def _window_count(
    x: Array, kernel_size: IntPair, stride: IntPair, padding: IntPair, dilation: IntPair = 1
) -> tuple[int, int]:
    """(OH, OW) for images x."""
    KH, KW = pair(kernel_size, "kernel_size")
    (SH, SW), (PH, PW) = pair(stride, "stride"), pair(padding, "padding", minimum=0)
    DH, DW = pair(dilation, "dilation")
    return conv_output_size(x.shape[2], KH, SH, PH, DH), conv_output_size(x.shape[3], KW, SW, PW, DW)


def _split(x: Array, axis: int, groups: int) -> list[Array]:
    """x cut into `groups` equal parts along `axis` (0 or 1)."""
    size = x.shape[axis] // groups
    parts = [slice(g * size, (g + 1) * size) for g in range(groups)]
    return [x[part] if axis == 0 else x[:, part] for part in parts]


def _one_hot(logits: Array, target: Array) -> Array:
    """(N, K) booleans: true at the right class."""
    return array_namespace(logits).arange(logits.shape[1], device=_device(logits)) == target[:, None]


def _is_fast(x: Array) -> bool:
    return is_numpy_array(x) and x.dtype.kind == "f"


def _device(x: Array) -> Any:
    return None if is_numpy_array(x) else x.device


def _lowest(x: Array) -> float:
    """What loses against every value of x's dtype."""
    xp = array_namespace(x)
    return -float("inf") if xp.isdtype(x.dtype, "real floating") else xp.iinfo(x.dtype).min


def _namespace(x: Array, name: str, ndim: int | None = None) -> Any:
    try:
        xp = array_namespace(x)
    except TypeError:
        raise TypeError(f"{name} must be a NumPy array or a torch tensor, got {type(x).__name__}") from None
    if ndim is not None and x.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, got shape {tuple(x.shape)}")
    return xp


def _images(x: Array) -> Array:
    _namespace(x, "x")
    if x.ndim != 4:
        raise ValueError(f"x must have 4 dimensions (N, C, H, W), got shape {tuple(x.shape)}")
    return x


def _require_shape(x: Array, name: str, shape: tuple[int, ...]) -> None:
    if tuple(x.shape) != tuple(shape):
        raise ValueError(f"{name} must have shape {tuple(shape)}, got {tuple(x.shape)}")


def _require_like(x: Array, name: str, other: Array, shape: tuple[int, ...]) -> None:
    """The same library and dtype as `other`, and this shape."""
    if _namespace(x, name) is not _namespace(other, "x"):
        raise TypeError(
            f"{name} is a {type(x).__name__}, x a {type(other).__name__}; both must be of one kind"
        )
    if x.dtype != other.dtype:
        raise TypeError(f"{name} has dtype {x.dtype}, x has {other.dtype}; they must be the same")
    _require_shape(x, name, shape)


def _check_convolution(x: Array, weight: Array, bias: Array | None, groups: int) -> None:
    _images(x)
    _namespace(weight, "weight")
    if weight.ndim != 4:
        raise ValueError(f"weight must have 4 dimensions (OC, C, KH, KW), got shape {tuple(weight.shape)}")
    groups, C, OC = single(groups, "groups"), x.shape[1], weight.shape[0]
    if C == 0 or OC == 0:
        raise ValueError(f"channels and filters must be at least 1, got C={C} and OC={OC}")
    if C % groups or OC % groups:
        raise ValueError(f"groups={groups} must divide both the {C} channels of x and the {OC} filters")
    if weight.shape[1] != C // groups:
        raise ValueError(
            f"weight must see {C // groups} channels (x has {C}, groups={groups}), got {weight.shape[1]}: "
            f"x {tuple(x.shape)}, weight {tuple(weight.shape)}"
        )
    _require_like(weight, "weight", x, weight.shape)
    if bias is not None:
        _require_like(bias, "bias", x, (OC,))


def _pooling(
    x: Array, kernel_size: IntPair, stride: IntPair | None, padding: IntPair
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    _images(x)
    KH, KW = pair(kernel_size, "kernel_size")
    SH, SW = (KH, KW) if stride is None else pair(stride, "stride")
    PH, PW = pair(padding, "padding", minimum=0)
    if PH > KH // 2 or PW > KW // 2:
        raise ValueError(f"padding must be at most half the window {(KH, KW)}, got {(PH, PW)}")
    return (KH, KW), (SH, SW), (PH, PW)


def _check_linear(x: Array, weight: Array) -> None:
    _namespace(x, "x", ndim=2)
    _namespace(weight, "weight", ndim=2)
    _require_like(weight, "weight", x, (weight.shape[0], x.shape[1]))


def _check_target(logits: Array, target: Array) -> Any:
    xp = _namespace(logits, "logits", ndim=2)
    if _namespace(target, "target") is not xp or not xp.isdtype(target.dtype, "integral"):
        raise TypeError(f"target must be an integer {type(logits).__name__}, got {type(target).__name__} "
                        f"of {getattr(target, 'dtype', '?')}")  # fmt: skip
    N, K = logits.shape
    if N == 0 or K == 0:
        raise ValueError(f"logits must hold at least one row and one class, got shape {(N, K)}")
    _require_shape(target, "target", (N,))
    if bool(xp.any((target < 0) | (target >= K))):
        raise ValueError(f"classes must be 0 to {K - 1}, got {int(xp.min(target))} to {int(xp.max(target))}")
    return xp
