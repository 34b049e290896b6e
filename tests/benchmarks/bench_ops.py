"""How fast the NumPy convolution is, beside torch's CPU convolution and DeZero, in one run.

    python tests/benchmarks/bench_ops.py [--turns 9] [--check]

The candidates take turns, so that a busy machine slows all of them; before each turn there is a short rest
and one call that does not count, so that no one meets the last one's threads still spinning. The table shows
the median time of each relative to torch's in the same run. Memory is the peak that one forward and backward
pass allocates (tracemalloc). `--check` ends with an error if a target is missed.
"""

import argparse
import math
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from cnnlab import ops

np.int = int  # DeZero 0.0.13 still uses the old name
import dezero  # noqa: E402
import dezero.functions as DF  # noqa: E402

# name: N, C, OC, H = W, KH = KW, stride, padding
CONVOLUTIONS = {
    "a": (100, 1, 16, 28, 5, 1, 0),
    "b": (32, 16, 32, 14, 3, 1, 1),
    "c": (8, 3, 64, 224, 11, 4, 2),
    "d": (8, 64, 192, 27, 5, 1, 2),
    "e": (8, 192, 384, 13, 3, 1, 1),
    "f": (4, 64, 64, 112, 3, 1, 1),
}
# name: N, C, H = W, window, stride
POOLINGS = {
    "28, 2/2": (32, 32, 28, 2, 2),
    "112, 2/2": (4, 64, 112, 2, 2),
    "55, 3/2": (8, 64, 55, 3, 2),
    "27, 3/2": (8, 192, 27, 3, 2),
}
TARGETS = {"forward": 1.5, "forward+backward": 1.25, "of DeZero": 0.6, "MB on (f)": 60, "pooling": 1.2}


def medians(candidates: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Median seconds of each candidate over all turns of three calls."""
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(turns):
        for name, call in candidates.items():
            time.sleep(0.05)
            call()
            for _ in range(3):
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_mb(call: Callable[[], object]) -> float:
    """Most memory allocated at one moment of the call, in MB (10**6 bytes)."""
    call()
    tracemalloc.start()
    call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / 1e6


def convolution_candidates(N, C, OC, H, K, S, P) -> tuple[dict, dict]:
    """Callables of the forward pass, and of forward and backward together."""
    rng = np.random.default_rng(0)
    x, weight, bias = (
        rng.standard_normal(shape).astype(np.float32) for shape in ((N, C, H, H), (OC, C, K, K), (OC,))
    )
    leaves = [torch.from_numpy(a).requires_grad_() for a in (x, weight, bias)]
    grad = rng.standard_normal(F.conv2d(*leaves, stride=S, padding=P).shape).astype(np.float32)
    torch_grad = torch.from_numpy(grad)

    def torch_forward():
        with torch.no_grad():
            return F.conv2d(*leaves, stride=S, padding=P)

    def torch_both():
        return torch.autograd.grad(F.conv2d(*leaves, stride=S, padding=P), leaves, torch_grad)

    def cnnlab_forward():
        return ops.conv2d(x, weight, bias, stride=S, padding=P)

    def cnnlab_both():
        return cnnlab_forward(), ops.conv2d_backward(grad, x, weight, stride=S, padding=P)

    def dezero_forward():
        with dezero.no_grad():
            return DF.conv2d(x, weight, bias, S, P)

    def dezero_both():
        variables = [dezero.Variable(a) for a in (x, weight, bias)]
        out = DF.conv2d(*variables, S, P)
        out.grad = dezero.Variable(grad)
        out.backward()
        return variables

    for mine, theirs in zip(cnnlab_both()[1], torch_both(), strict=True):
        np.testing.assert_allclose(mine, theirs.numpy(), rtol=0, atol=1e-4 * float(theirs.abs().max()))
    return (
        {"torch": torch_forward, "cnnlab": cnnlab_forward, "dezero": dezero_forward},
        {"torch": torch_both, "cnnlab": cnnlab_both, "dezero": dezero_both},
    )


def pooling_candidates(N, C, H, K, S) -> dict:
    x = np.random.default_rng(0).standard_normal((N, C, H, H)).astype(np.float32)
    leaf = torch.from_numpy(x).requires_grad_()
    grad = np.ones_like(F.max_pool2d(leaf, K, S).detach().numpy())
    torch_grad = torch.from_numpy(grad)

    def torch_both():
        return torch.autograd.grad(F.max_pool2d(leaf, K, S), leaf, torch_grad)

    def cnnlab_both():
        return ops.max_pool2d(x, K, stride=S), ops.max_pool2d_backward(grad, x, K, stride=S)

    def dezero_both():
        variable = dezero.Variable(x)
        out = DF.pooling(variable, K, S)
        out.grad = dezero.Variable(grad)
        out.backward()
        return variable

    return {"torch": torch_both, "cnnlab": cnnlab_both, "dezero": dezero_both}


def show_table(title: str, rows: dict[str, dict[str, float]]) -> tuple[float, float]:
    """Print times relative to torch; return cnnlab's geometric mean and its ratio to DeZero's."""
    print(f"\n{title}, torch = 1\n{'':>10} {'torch ms':>9} {'cnnlab':>7} {'dezero':>7}")
    for name, times in rows.items():
        ratios = " ".join(f"{times[who] / times['torch']:7.2f}" for who in ("cnnlab", "dezero"))
        print(f"{name:>10} {times['torch'] * 1e3:9.2f} {ratios}")
    means = {
        who: math.exp(statistics.fmean(math.log(t[who] / t["torch"]) for t in rows.values()))
        for who in ("cnnlab", "dezero")
    }
    print(f"{'geomean':>10} {'':9} {means['cnnlab']:7.2f} {means['dezero']:7.2f}")
    return means["cnnlab"], means["cnnlab"] / means["dezero"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--check", action="store_true", help="fail if a target is missed")
    args = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; numpy {np.__version__}")

    forward, both = {}, {}
    for name, sizes in CONVOLUTIONS.items():
        candidates = convolution_candidates(*sizes)
        forward[name], both[name] = (medians(c, args.turns) for c in candidates)
    candidates = convolution_candidates(*CONVOLUTIONS["f"])[1]
    memory = {name: peak_mb(candidates[name]) for name in ("cnnlab", "dezero")}
    pooling = {name: medians(pooling_candidates(*sizes), args.turns) for name, sizes in POOLINGS.items()}

    measured = {}
    measured["forward"], _ = show_table("convolution, forward", forward)
    measured["forward+backward"], measured["of DeZero"] = show_table("convolution, forward + backward", both)
    measured["pooling"], _ = show_table("max pooling, forward + backward", pooling)
    measured["MB on (f)"] = memory["cnnlab"]
    print(f"\nextra memory on (f): cnnlab {memory['cnnlab']:.0f} MB, dezero {memory['dezero']:.0f} MB\n")
    for name, target in TARGETS.items():
        verdict = "met" if measured[name] <= target else "MISSED"
        print(f"{name:>17}: {measured[name]:6.2f}  target {target:6.2f}  {verdict}")
    if args.check and any(measured[name] > target for name, target in TARGETS.items()):
        sys.exit("a target was missed")


if __name__ == "__main__":
    main()
