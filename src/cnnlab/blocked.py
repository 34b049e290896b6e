"""The fast NumPy path of `cnnlab.ops`: the same results, computed block by block.

`ops.conv2d` gathers the windows of the whole batch, KH*KW times the memory of the images, and all of it
travels between memory and processor. Here a block of samples, or of output rows of one sample, is gathered,
multiplied and forgotten while its columns (about 2 MB) still lie in the processor's cache. Blocks are shared
out to one Python thread per core; NumPy releases the interpreter's lock inside its loops and products, and
the BLAS library is held to one thread meanwhile, so that the two do not compete.

Arguments are those of `cnnlab.ops`, checked there: floating NumPy arrays, no groups. Sizes as there; further
B samples and R output rows in a block.
"""

import os
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache, partial
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from cnnlab.shapes import conv_output_size, pair

__all__ = ["conv2d", "conv2d_backward", "max_pool2d", "max_pool2d_backward"]

BLOCK_BYTES = 2 * 2**20  # columns of one block: they fit a core's cache; thinner products are slower

Array = NDArray[np.floating]
IntPair = int | tuple[int, int]
Block = tuple[slice, slice]  # samples, output rows
Task = Callable[[], None]


class Geometry(NamedTuple):
    """Where the windows lie: the sizes that forward and backward share."""

    N: int
    C: int
    H: int
    W: int
    KH: int
    KW: int
    OH: int
    OW: int
    SH: int
    SW: int
    PH: int
    PW: int
    DH: int
    DW: int

    @classmethod
    def of(
        cls, x: Array, kernel_size: IntPair, stride: IntPair, padding: IntPair, dilation: IntPair = 1
    ) -> "Geometry":
        N, C, H, W = x.shape
        (KH, KW), (SH, SW) = pair(kernel_size, "kernel_size"), pair(stride, "stride")
        (PH, PW), (DH, DW) = pair(padding, "padding", minimum=0), pair(dilation, "dilation")
        OH, OW = conv_output_size(H, KH, SH, PH, DH), conv_output_size(W, KW, SW, PW, DW)
        return cls(N, C, H, W, KH, KW, OH, OW, SH, SW, PH, PW, DH, DW)


# --- convolution ---------------------------------------------------------------------------------------


def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
) -> Array:
    """`cnnlab.ops.conv2d` without groups."""
    geo = Geometry.of(x, weight.shape[2:], stride, padding, dilation)
    out = np.empty((geo.N, weight.shape[0], geo.OH, geo.OW), x.dtype)
    _share_out(_convolution_tasks(x, weight, bias, geo, out))
    return out


def conv2d_backward(
    grad_out: Array,
    x: Array,
    weight: Array,
    *,
    stride: IntPair = 1,
    padding: IntPair = 0,
    dilation: IntPair = 1,
) -> tuple[Array, Array, Array]:
    """`cnnlab.ops.conv2d_backward` without groups."""
    geo = Geometry.of(x, weight.shape[2:], stride, padding, dilation)
    OC, C, KH, KW = weight.shape
    shares = _shares(_blocks(geo, x))
    grad_weights = np.zeros((len(shares), OC, C * KH * KW), x.dtype)
    grad_biases = np.zeros((len(shares), OC), x.dtype)
    tasks = _grad_weight_tasks(grad_out, x, geo, shares, grad_weights, grad_biases)
    grad_x = np.empty_like(x, order="C")
    PH, PW = geo.DH * (KH - 1) - geo.PH, geo.DW * (KW - 1) - geo.PW
    if geo.SH == geo.SW == 1 and min(PH, PW) >= 0 and OC <= C:
        # With stride 1, sending gradients back through a filter is a convolution with the filter turned
        # round; gathering OC channels then costs less than scattering C of them.
        turned = np.ascontiguousarray(weight[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))  # (C, OC, KH, KW)
        back = Geometry.of(grad_out, (KH, KW), 1, (PH, PW), dilation)
        tasks += _convolution_tasks(grad_out, turned, None, back, grad_x)
    else:
        tasks += _scatter_tasks(grad_out, weight, geo, grad_x)
    _share_out(tasks)
    return grad_x, grad_weights.sum(axis=0).reshape(weight.shape), grad_biases.sum(axis=0)


def _convolution_tasks(x: Array, weight: Array, bias: Array | None, geo: Geometry, out: Array) -> list[Task]:
    """Per block: ``weight @ cols + bias``, written where it belongs in `out` (N, OC, OH, OW)."""
    OC = weight.shape[0]
    matrix = weight.reshape(OC, -1)  # (OC, C*KH*KW)
    shift = 0 if bias is None else bias.reshape(OC, 1, 1)

    def work(n: slice, r: slice) -> None:
        cols = _columns(x, geo, n, r)  # (C*KH*KW, B*R*OW)
        product = _scratch("product", (OC, n.stop - n.start, r.stop - r.start, geo.OW), x.dtype)
        np.matmul(matrix, cols, out=product.reshape(OC, -1))
        np.add(product.transpose(1, 0, 2, 3), shift, out=out[n, :, r])  # (B, OC, R, OW)

    return [partial(work, *block) for block in _blocks(geo, x)]


def _grad_weight_tasks(
    grad_out: Array,
    x: Array,
    geo: Geometry,
    shares: list[list[Block]],
    grad_weights: Array,
    grad_biases: Array,
) -> list[Task]:
    """Per share: the sum over its blocks of ``grad_out @ cols.T`` (OC, C*KH*KW), and of grad_out (OC,).

    Shares are cut beforehand, not by who is free: floating-point sums depend on their order, and the same
    call shall give the same bits.
    """
    OC, K = grad_weights.shape[1:]

    def work(share: int) -> None:
        for n, r in shares[share]:
            cols = _columns(x, geo, n, r)  # (C*KH*KW, B*R*OW)
            grad = _rows(grad_out, n, r)  # (OC, B*R*OW)
            # np.dot, since np.matmul keeps the interpreter's lock when its result is small.
            grad_weights[share] += np.dot(grad, cols.T, out=_scratch("product", (OC, K), x.dtype))
            grad_biases[share] += grad.sum(axis=1)

    return [partial(work, share) for share in range(len(shares))]


def _scatter_tasks(grad_out: Array, weight: Array, geo: Geometry, grad_x: Array) -> list[Task]:
    """Per block: ``weight.T @ grad_out``, added to the pixels of `grad_x` that the windows came from."""
    OC, C, KH, KW = weight.shape
    matrix = weight.reshape(OC, -1).T  # (C*KH*KW, OC)

    def work(n: slice, r: slice) -> None:
        grad = _rows(grad_out, n, r)  # (OC, B*OH*OW)
        B = n.stop - n.start
        cols = _scratch("cols", (C, KH, KW, B, geo.OH, geo.OW), grad.dtype)
        np.matmul(matrix, grad, out=cols.reshape(C * KH * KW, -1))
        padded = _scratch("padded", (C, B, geo.H + 2 * geo.PH, geo.W + 2 * geo.PW), grad.dtype)
        padded.fill(0)
        for i, j, rows, columns in _taps(geo):
            padded[:, :, rows, columns] += cols[:, i, j]
        inner = padded[:, :, geo.PH : geo.PH + geo.H, geo.PW : geo.PW + geo.W]
        grad_x[n] = inner.transpose(1, 0, 2, 3)

    # Windows of neighbouring rows overlap, so blocks hold whole samples here.
    size = C * KH * KW * geo.OH * geo.OW * grad_out.itemsize
    return [partial(work, *block) for block in _sample_blocks(geo, size)]


# --- pooling -------------------------------------------------------------------------------------------


def max_pool2d(x: Array, kernel_size: IntPair, *, stride: IntPair, padding: IntPair = 0) -> Array:
    """`cnnlab.ops.max_pool2d`: the largest of each row of a window, then the largest of those."""
    geo = Geometry.of(x, kernel_size, stride, padding)
    out = np.empty((geo.N, geo.C, geo.OH, geo.OW), x.dtype)

    def work(n: slice, r: slice) -> None:
        pixels = _padded(x[n], geo, -np.inf)  # (B, C, H+2*PH, W+2*PW)
        rows = _scratch("rows", (*pixels.shape[:3], geo.OW), x.dtype)
        _maxima([pixels[..., taps] for taps in _columns_of_taps(geo)], rows)
        _maxima([rows[:, :, taps] for taps in _rows_of_taps(geo)], out[n])

    size = 4 * geo.C * geo.H * geo.W * x.itemsize  # pixels, and what is made of them
    _share_out([partial(work, *block) for block in _sample_blocks(geo, size)])
    return out


def max_pool2d_backward(
    grad_out: Array, x: Array, kernel_size: IntPair, *, stride: IntPair, padding: IntPair = 0
) -> Array:
    """`cnnlab.ops.max_pool2d_backward`: each gradient goes to the winning row, there to the winning pixel.

    The first of equal rows and the first of equal pixels wins: together the window's first maximum.
    """
    geo = Geometry.of(x, kernel_size, stride, padding)
    grad_x = np.empty_like(x)

    def work(n: slice, r: slice) -> None:
        pixels, grad = _padded(x[n], geo, -np.inf), grad_out[n]
        rows, row_grad, pixel = (
            _scratch(name, (*pixels.shape[:3], geo.OW), dtype)
            for name, dtype in (("rows", x.dtype), ("row_grad", x.dtype), ("pixel", _index_type(geo)))
        )
        largest, row = _scratch("largest", grad.shape, x.dtype), _scratch("row", grad.shape, _index_type(geo))
        _maxima([pixels[..., taps] for taps in _columns_of_taps(geo)], rows, pixel)
        _maxima([rows[:, :, taps] for taps in _rows_of_taps(geo)], largest, row)
        _to_winners(
            grad, row, row_grad, [row_grad[:, :, taps] for taps in _rows_of_taps(geo)], geo.SH < geo.KH
        )
        padded = _scratch("padded_grad", pixels.shape, x.dtype)
        _to_winners(
            row_grad, pixel, padded, [padded[..., taps] for taps in _columns_of_taps(geo)], geo.SW < geo.KW
        )
        grad_x[n] = padded[:, :, geo.PH : geo.PH + geo.H, geo.PW : geo.PW + geo.W]

    size = 4 * geo.C * geo.H * geo.W * x.itemsize  # pixels, and what is made of them
    _share_out([partial(work, *block) for block in _sample_blocks(geo, size)])
    return grad_x


def _maxima(taps: list[Array], out: Array, winner: NDArray[np.unsignedinteger] | None = None) -> None:
    """Largest of several equally shaped arrays, and which of them it was (the first, if several)."""
    np.copyto(out, taps[0])
    if winner is not None:
        winner.fill(0)
        better = _scratch("better", out.shape, np.bool_)
        place = _scratch("place", out.shape, winner.dtype)
    for k, tap in enumerate(taps[1:], start=1):
        if winner is not None:
            np.greater(tap, out, out=better)
            np.multiply(better, winner.dtype.type(k), out=place)  # k where it is better, else 0
            np.maximum(winner, place, out=winner)
        np.maximum(out, tap, out=out)


def _to_winners(
    grad: Array, winner: NDArray[np.unsignedinteger], target: Array, taps: list[Array], overlap: bool
) -> None:
    """The transpose of `_maxima`: clear `target`, then add each gradient to the view of it that won."""
    target.fill(0)
    won, share = _scratch("won", grad.shape, np.bool_), _scratch("share", grad.shape, grad.dtype)
    for k, tap in enumerate(taps):
        np.equal(winner, k, out=won)
        if overlap:
            tap += np.multiply(grad, won, out=share)
        else:
            np.multiply(grad, won, out=tap)


def _index_type(geo: Geometry) -> np.dtype:
    """The smallest unsigned type that counts the pixels along a window."""
    return np.min_scalar_type(max(geo.KH, geo.KW) - 1)


def _rows_of_taps(geo: Geometry) -> list[slice]:
    return [_steps(i, geo.OH, geo.SH) for i in range(geo.KH)]


def _columns_of_taps(geo: Geometry) -> list[slice]:
    return [_steps(j, geo.OW, geo.SW) for j in range(geo.KW)]


# --- windows of a block --------------------------------------------------------------------------------


def _columns(x: Array, geo: Geometry, n: slice, r: slice) -> Array:
    """im2col of output rows r of samples n: (C*KH*KW, B*R*OW), in this thread's scratch memory."""
    B, R = n.stop - n.start, r.stop - r.start
    top = r.start * geo.SH - geo.PH  # input rows that these windows see, padding included
    bottom = (r.stop - 1) * geo.SH - geo.PH + geo.DH * (geo.KH - 1) + 1
    pixels = _padded(x[n], geo, 0, top, bottom)  # (B, C, rows, W+2*PW)
    cols = _scratch("cols", (geo.C, geo.KH, geo.KW, B, R, geo.OW), x.dtype)
    sample, channel, row, column = pixels.strides
    # All windows as one view, so that the copy is one call: with a call per filter element, the threads would
    # wait for each other at every return to the interpreter.
    np.copyto(
        cols,
        as_strided(
            pixels,
            shape=cols.shape,
            strides=(channel, geo.DH * row, geo.DW * column, sample, geo.SH * row, geo.SW * column),
            writeable=False,
        ),
    )
    return cols.reshape(geo.C * geo.KH * geo.KW, B * R * geo.OW)


def _rows(grad_out: Array, n: slice, r: slice) -> Array:
    """Output rows r of samples n as a matrix with one row per filter: (OC, B*R*OW)."""
    part = grad_out[n, :, r].transpose(1, 0, 2, 3)  # (OC, B, R, OW)
    grad = _scratch("grad", part.shape, part.dtype)
    grad[...] = part
    return grad.reshape(part.shape[0], -1)


def _padded(x: Array, geo: Geometry, fill: float, top: int | None = None, bottom: int | None = None) -> Array:
    """Rows top to bottom of x (default: all), framed by `fill`: (B, C, bottom-top, W+2*PW)."""
    top = -geo.PH if top is None else top
    bottom = geo.H + geo.PH if bottom is None else bottom
    if geo.PW == 0 and top >= 0 and bottom <= geo.H:
        return x[:, :, top:bottom]
    padded = _scratch("padded", (*x.shape[:2], bottom - top, geo.W + 2 * geo.PW), x.dtype)
    padded.fill(fill)
    first = max(top, 0)
    last = max(first, min(bottom, geo.H))  # a block may see padding only
    padded[:, :, first - top : last - top, geo.PW : geo.PW + geo.W] = x[:, :, first:last]
    return padded


def _taps(geo: Geometry) -> Iterator[tuple[int, int, slice, slice]]:
    """For every filter element (i, j): the rows and columns of padded pixels that it meets."""
    for i in range(geo.KH):
        for j in range(geo.KW):
            yield i, j, _steps(i * geo.DH, geo.OH, geo.SH), _steps(j * geo.DW, geo.OW, geo.SW)


def _steps(start: int, count: int, step: int) -> slice:
    """`count` indices from `start`, `step` apart."""
    return slice(start, start + step * (count - 1) + 1, step)


# --- blocks, threads, memory ---------------------------------------------------------------------------


def _blocks(geo: Geometry, x: Array) -> list[Block]:
    """Cut a convolution into (samples, output rows) whose columns take about BLOCK_BYTES."""
    per_row = geo.C * geo.KH * geo.KW * geo.OW * x.itemsize
    if per_row * geo.OH <= BLOCK_BYTES:
        return _sample_blocks(geo, per_row * geo.OH)
    R = max(1, BLOCK_BYTES // per_row)
    R = -(-geo.OH // -(-geo.OH // R))  # equal parts
    rows = [slice(r, min(r + R, geo.OH)) for r in range(0, geo.OH, R)]
    return [(slice(n, n + 1), r) for n in range(geo.N) for r in rows]


def _sample_blocks(geo: Geometry, bytes_per_sample: int) -> list[Block]:
    """Cut the batch into equal groups of samples of at most about BLOCK_BYTES, as many for every thread."""
    groups = max(1, -(-geo.N * bytes_per_sample // BLOCK_BYTES))
    groups = -(-groups // _workers()) * _workers()
    B = max(1, -(-geo.N // groups))
    return [(slice(n, min(n + B, geo.N)), slice(0, geo.OH)) for n in range(0, geo.N, B)]


def _shares(blocks: list[Block]) -> list[list[Block]]:
    """The blocks dealt out to as many hands as there are threads."""
    return [blocks[first :: _workers()] for first in range(min(_workers(), len(blocks)))]


def _share_out(tasks: list[Task]) -> None:
    """Do every task, on all cores; the calling thread works, too."""
    waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)

    def worker() -> None:
        while True:
            try:
                task = waiting.get_nowait()
            except queue.Empty:
                return
            task()

    helpers = min(_workers(), len(tasks)) - 1
    with _one_blas_thread():
        futures = [_pool(os.getpid()).submit(worker) for _ in range(helpers)]
        try:
            worker()
        finally:
            wait(futures)  # even after an error: nobody works on when the call has ended
        for future in futures:
            future.result()


@cache
def _workers() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool(pid: int) -> ThreadPoolExecutor:
    """The helper threads; a forked process (another pid) has none of its parent's and gets its own."""
    return ThreadPoolExecutor(max(1, _workers() - 1), thread_name_prefix="cnnlab")


class _Memory(threading.local):
    """Each thread's buffers. Fresh large arrays would cost page faults in every call."""

    def __init__(self) -> None:
        self.buffers: dict[str, NDArray[np.uint8]] = {}


_memory = _Memory()


def _scratch(name: str, shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> NDArray:
    """An uninitialised array in this thread's buffer `name`, valid until the name is asked for again."""
    size = prod(shape) * np.dtype(dtype).itemsize
    buffer = _memory.buffers.get(name)
    if buffer is None or buffer.size < size:
        buffer = _memory.buffers[name] = np.empty(size, np.uint8)
    return buffer[:size].view(dtype).reshape(shape)


_blas_lock = threading.Lock()


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread, unless another call does so already.

    Who sets the limit takes it back: threadpoolctl lets only one thread change it.
    """
    if not _blas_lock.acquire(blocking=False):
        yield
        return
    try:
        with _blas().limit(limits=1):
            yield
    finally:
        _blas_lock.release()
