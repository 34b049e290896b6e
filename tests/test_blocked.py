"""The fast NumPy path gives what the short one gives, however the work is cut into blocks and shared out."""

import os
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from test_ops import CONVOLUTIONS, LAYOUTS, POOLINGS, convolutions, normal, poolings, whole
from threadpoolctl import threadpool_info

from cnnlab import blocked, ops


@pytest.fixture
def split(monkeypatch):
    """split(workers, block_bytes): from now on, share the work out like this."""

    def change(workers: int, block_bytes: int) -> None:
        monkeypatch.setattr(blocked, "_workers", lambda: workers)
        monkeypatch.setattr(blocked, "BLOCK_BYTES", block_bytes)
        blocked._pool.cache_clear()

    yield change
    blocked._pool.cache_clear()


def compare(function, *arrays, atol=1e-11, **options):
    """The operation on the fast path and on the short one."""
    fast = getattr(ops, function)(*arrays, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops, "_is_fast", lambda x: False)
        short = getattr(ops, function)(*arrays, **options)
    fast, short = (result if isinstance(result, tuple) else (result,) for result in (fast, short))
    for got, wanted in zip(fast, short, strict=True):
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
        assert_allclose(got, wanted, rtol=0, atol=atol)


def compare_convolution(shape, weight, options, dtype=np.float64, seed=0, atol=1e-11):
    x, bias = normal(*shape, dtype=dtype, seed=seed), normal(weight[0], dtype=dtype, seed=seed)
    weight = normal(*weight, dtype=dtype, seed=seed)
    compare("conv2d", x, weight, bias, **options, atol=atol)
    compare("conv2d", x, weight, **options, atol=atol)
    grad_out = normal(*ops.conv2d(x, weight, **options).shape, dtype=dtype, seed=seed + 1)
    compare("conv2d_backward", grad_out, x, weight, **options, atol=atol)


def compare_pooling(shape, kernel_size, options, seed=0):
    for x in (normal(*shape, seed=seed), whole(*shape, seed=seed)):
        compare("max_pool2d", x, kernel_size, **options, atol=0)
        grad_out = normal(*ops.max_pool2d(x, kernel_size, **options).shape, seed=seed + 1)
        compare("max_pool2d_backward", grad_out, x, kernel_size, **options)


# Blocks of one row, of a few rows, of one sample, of everything; fewer and more threads than blocks.
each_split = pytest.mark.parametrize("workers", [1, 2, 5])
each_size = pytest.mark.parametrize("block_bytes", [1, 2000, 20_000, 2**21])


@each_split
@each_size
def test_convolution_in_blocks(split, workers, block_bytes):
    split(workers, block_bytes)
    for shape, weight, options in CONVOLUTIONS.values():
        compare_convolution(shape, weight, options)


@each_split
@each_size
def test_pooling_in_blocks(split, workers, block_bytes):
    split(workers, block_bytes)
    for shape, kernel_size, options in POOLINGS.values():
        compare_pooling(shape, kernel_size, options)


@pytest.mark.parametrize(
    ("shape", "weight", "options"),
    [
        ((7, 3, 29, 31), (8, 3, 5, 3), {"padding": (2, 1)}),  # as a convolution back
        ((7, 3, 29, 31), (5, 3, 5, 3), {"stride": (2, 3), "padding": (2, 1)}),  # scattered back
        ((5, 2, 17, 40), (11, 2, 3, 5), {"padding": (1, 2)}),  # many filters: scattered back
        ((2, 16, 33, 28), (6, 16, 7, 3), {"dilation": (3, 2), "padding": (1, 3)}),
        ((3, 8, 40, 41), (8, 4, 3, 4), {"groups": 2, "stride": (3, 1)}),
        ((4, 64, 13, 11), (32, 64, 3, 3), {"padding": 1}),
    ],
)
@pytest.mark.parametrize("block_bytes", [10_000, 100_000, 2**21])
def test_larger_convolutions(split, shape, weight, options, block_bytes):
    split(2, block_bytes)
    compare_convolution(shape, weight, options, atol=1e-10)
    compare_convolution(shape, weight, options, np.float32, atol=1e-2)


@given(convolutions(), st.integers(1, 3), st.sampled_from([1, 500, 5000, 2**21]), st.integers(0, 99))
def test_any_convolution_in_blocks(convolution, workers, block_bytes, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocked, "_workers", lambda: workers)
        patch.setattr(blocked, "BLOCK_BYTES", block_bytes)
        compare_convolution(*convolution, seed=seed)


@given(poolings(), st.integers(1, 3), st.sampled_from([1, 500, 5000, 2**21]), st.integers(0, 99))
def test_any_pooling_in_blocks(pooling, workers, block_bytes, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocked, "_workers", lambda: workers)
        patch.setattr(blocked, "BLOCK_BYTES", block_bytes)
        compare_pooling(*pooling, seed=seed)


def test_blocks_that_see_padding_only(split):
    # With padding 6 and one output row per block, the first and last blocks see no row of the image.
    split(2, 1)
    compare_convolution((2, 3, 4, 5), (4, 3, 2, 3), {"padding": (6, 4)})
    compare_convolution((2, 3, 4, 5), (4, 3, 2, 3), {"padding": (6, 4), "stride": (3, 2), "dilation": (2, 1)})


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_arrays_that_are_not_contiguous(split, layout):
    split(2, 2000)
    x = layout()
    compare("conv2d", x, normal(4, 3, 2, 3), padding=1)
    grad_out = normal(10, 8, 4, 2).transpose(3, 2, 1, 0)  # (2, 4, 8, 10)
    compare("conv2d_backward", grad_out, x, normal(4, 3, 2, 3)[..., ::-1], padding=(1, 2))
    compare("max_pool2d", x, (2, 3), stride=1, atol=0)
    compare("max_pool2d_backward", normal(6, 6, 3, 2).transpose(3, 2, 0, 1), x, (2, 3), stride=1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.longdouble])
def test_every_floating_dtype(split, dtype):
    split(2, 2000)
    atol = {2: 0.1, 4: 1e-4}.get(np.dtype(dtype).itemsize, 1e-11)
    x, weight, bias = (normal(*shape).astype(dtype) for shape in ((2, 3, 7, 8), (4, 3, 3, 2), (4,)))
    compare("conv2d", x, weight, bias, padding=1, atol=atol)
    compare("conv2d_backward", normal(2, 4, 7, 9).astype(dtype), x, weight, padding=1, atol=atol)
    compare("max_pool2d", x, 2, atol=0)
    compare("max_pool2d_backward", normal(2, 3, 3, 4).astype(dtype), x, 2, atol=atol)


def test_nan_and_infinity_come_through():
    x = normal(1, 1, 6, 9)
    x[0, 0, 0, 0], x[0, 0, 3, 4], x[0, 0, 5, 8] = np.nan, np.inf, -np.inf
    out = ops.max_pool2d(x, (2, 3))
    assert np.isnan(out[0, 0, 0, 0]) and out[0, 0, 1, 1] == np.inf and np.isfinite(out).sum() == 7
    out = ops.conv2d(x[..., 1:5, 1:], np.ones((1, 1, 2, 2)))
    assert np.isinf(out).sum() == 4


# --- memory --------------------------------------------------------------------------------------------


def test_results_do_not_live_in_scratch_memory(split):
    split(1, 2**21)
    x, weight, bias, grad_out = normal(2, 3, 6, 7), normal(4, 3, 1, 1), normal(4), normal(2, 4, 6, 7)

    def results(x, grad_out):
        yield ops.conv2d(x, weight, bias)
        yield ops.conv2d(x, weight)
        yield from ops.conv2d_backward(grad_out, x, weight)
        yield ops.max_pool2d(x, 1)
        yield ops.max_pool2d(x, (2, 3))
        yield ops.max_pool2d_backward(grad_out[:, :3, :3, :2], x, (2, 3))

    first = list(results(x, grad_out))
    kept = [r.copy() for r in first]
    for other in results(x + 1, grad_out + 1):
        other[...] = 7  # neither a later call nor writing into its result may reach an earlier result
    for result, copy in zip(first, kept, strict=True):
        assert_array_equal(result, copy)
        assert not any(np.shares_memory(result, a) for a in (x, weight, bias, grad_out))
        assert result.flags.writeable


def test_extra_memory_of_a_large_layer():
    # Workload f of the benchmark: its columns alone would take 4*64*9*112*112*4 bytes = 116 MB.
    x, weight = normal(4, 64, 112, 112, dtype=np.float32), normal(64, 64, 3, 3, dtype=np.float32)
    grad_out = normal(4, 64, 112, 112, dtype=np.float32)
    tracemalloc.start()
    try:
        out = ops.conv2d(x, weight, padding=1)
        grads = ops.conv2d_backward(grad_out, x, weight, padding=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert out.nbytes + grads[0].nbytes < peak < 60e6


# --- threads -------------------------------------------------------------------------------------------


def blas_threads():
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_blas_has_its_threads_back_afterwards():
    ops.conv2d(normal(2, 3, 6, 7), normal(4, 3, 3, 2))
    before = blas_threads()
    seen = []
    blocked._share_out([lambda: seen.append(blas_threads())])
    assert set(seen[0]) == {1}
    assert blas_threads() == before


def test_two_threads_of_the_reader_at_once(split):
    split(3, 2000)
    before = blas_threads()
    problems = []

    def reader(seed):
        try:
            for turn in range(8):
                compare_convolution((3, 2, 15 + turn, 9), (4, 2, 3, 2), {"padding": (1, seed)}, seed=seed)
                x = whole(2, 3, 9 + turn, 11, seed=seed)
                wanted = blocked.max_pool2d(x, (3, 2), stride=(2, 1))
                assert_array_equal(blocked.max_pool2d(x, (3, 2), stride=(2, 1)), wanted)
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=reader, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not any(thread.is_alive() for thread in threads)
    assert problems == []
    assert blas_threads() == before
    with blocked._one_blas_thread():
        assert set(blas_threads()) == {1}


@pytest.mark.parametrize("leaves_first", ["main", "other"])
def test_blas_threads_are_back_after_calls_that_overlap(leaves_first):
    # threadpoolctl lets only the thread that was first change the number: here the main thread.
    with blocked._one_blas_thread():
        assert set(blas_threads()) == {1}
    before = blas_threads()
    entered, leave, left = threading.Event(), threading.Event(), threading.Event()

    def other():
        with blocked._one_blas_thread():
            entered.set()
            leave.wait(30)
        left.set()

    thread = threading.Thread(target=other)
    with blocked._one_blas_thread():
        thread.start()
        entered.wait(30)
        if leaves_first == "other":
            leave.set()
            left.wait(30)
        assert set(blas_threads()) == {1}
    leave.set()
    thread.join(30)
    assert blas_threads() == before
    with blocked._one_blas_thread():
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("broken", ["first", "last", "all"])
def test_an_error_in_a_worker_comes_through(split, workers, broken):
    split(workers, 2**21)
    before = blas_threads()
    running = []

    def work(block):
        running.append(block)
        try:
            time.sleep(0.001)
            if broken == "all" or block == {"first": 0, "last": 19}[broken]:
                raise ZeroDivisionError(f"block {block}")
        finally:
            running.remove(block)

    tasks = [partial(work, block) for block in range(20)]

    with ThreadPoolExecutor(1) as executor, pytest.raises(ZeroDivisionError, match="block"):
        executor.submit(blocked._share_out, tasks).result(timeout=60)
    assert running == []  # nobody writes into the arrays of a call that has ended
    assert blas_threads() == before
    compare_convolution((3, 2, 9, 8), (4, 2, 3, 2), {"padding": 1})  # and the next call is right


def test_every_block_is_worked_on_once(split):
    split(5, 2**21)
    done = []
    blocked._share_out([partial(done.append, block) for block in range(200)])
    assert sorted(done) == list(range(200))


FORK = """
import os, sys, threading
import numpy as np
from cnnlab import blocked, ops

blocked._workers = lambda: 3
blocked.BLOCK_BYTES = 2000
rng = np.random.default_rng(0)
x, weight = rng.standard_normal((4, 3, 20, 21)), rng.standard_normal((5, 3, 3, 2))
wanted = ops.conv2d(x, weight, padding=1)
grads = ops.conv2d_backward(wanted, x, weight, padding=1)
assert threading.active_count() > 1  # the parent has helper threads, which the child does not inherit
child = os.fork()
if child == 0:
    good = np.allclose(ops.conv2d(x, weight, padding=1), wanted)
    again = ops.conv2d_backward(wanted, x, weight, padding=1)
    good &= all(np.allclose(a, b) for a, b in zip(again, grads))
    os._exit(0 if good else 3)
_, status = os.waitpid(child, 0)
assert np.allclose(ops.conv2d(x, weight, padding=1), wanted)
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_process_gets_its_own_threads():
    if hasattr(os, "fork"):  # Windows has none
        done = subprocess.run([sys.executable, "-c", FORK], timeout=120, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_same_call_gives_the_same_bits(split):
    split(5, 2**14)
    x, weight = normal(13, 3, 17, 12), normal(4, 3, 3, 2)
    grad_out = normal(*ops.conv2d(x, weight).shape)
    first = ops.conv2d_backward(grad_out, x, weight)
    for _ in range(20):
        for again, once in zip(ops.conv2d_backward(grad_out, x, weight), first, strict=True):
            assert_array_equal(again, once)
