"""How long the course's own loop needs for 98, 99 and 99.5 % on MNIST, against one epoch of the usual loop.

    python tests/benchmarks/bench_training.py [--seeds 3] [--threads 0] [--only 98 99 99.5]

The measure is one epoch of the usual loop: `ConvMLP`, Adam, batches of 128, a ``DataLoader`` over
torchvision's MNIST with ``ToTensor``, training only. The course's runs are timed with their evaluation on all
10,000 test images. Everything happens in one process, one after the other; each
network does a few steps before its clock starts.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from cnnlab.data import ImageData, data_folder, mnist
from cnnlab.models import ConvMLP, FastNet
from cnnlab.train import fit, set_seed

COMMON = {
    "optimizer": "adamw",
    "lr": 0.02,
    "schedule": "one-cycle",
    "label_smoothing": 0.05,
    "progress": False,
}
# Accuracy to reach, part of the measure's time, depth of `FastNet`, arguments of `fit`.
TARGETS = [
    (0.98, 1 / 15, 3, {"epochs": 0.15, "batch_size": 64}),
    (0.99, 1 / 7, 3, {"epochs": 0.5, "batch_size": 64}),
    (0.995, 1 / 2, 4, {"epochs": 1.6, "batch_size": 128, "shift": 1}),
]


def usual_epoch(steps: int | None = None) -> float:
    """Seconds of one epoch of the usual loop, or of its first `steps` steps."""
    dataset = datasets.MNIST(data_folder(), train=True, transform=transforms.ToTensor())
    loader = DataLoader(dataset, batch_size=128, shuffle=True)
    set_seed(0)
    model = ConvMLP()
    optimizer = torch.optim.Adam(model.parameters())
    start = time.perf_counter()
    running_loss, correct = 0.0, 0.0
    model.train()
    for step, (x, y) in enumerate(loader):
        if step == steps:
            break
        h = model(x)
        loss = F.cross_entropy(h, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        correct += (h.argmax(dim=1) == y).float().sum().item()
    return time.perf_counter() - start


def course_run(
    train: ImageData, test: ImageData, depth: int, seed: int, options: dict
) -> tuple[float, float]:
    """Seconds and test accuracy of one run of `fit`."""
    set_seed(seed)
    model = FastNet(depth=depth)
    start = time.perf_counter()
    history = fit(model, train, test, seed=seed, device="cpu", **COMMON, **options)
    return time.perf_counter() - start, history.test_accuracy[-1]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: as torch chooses")
    parser.add_argument("--only", type=float, nargs="*", help="targets in percent")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    train, test = mnist()

    usual_epoch(steps=5)
    usual = usual_epoch()
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads; usual loop, one epoch {usual:.1f} s\n"
    )
    print("| accuracy | time | run | reached (median; all) | seconds (median) | ratio | met |")
    print("|---|---|---|---|---|---|---|")
    for accuracy, part, depth, options in TARGETS:
        if args.only and round(accuracy * 100, 1) not in args.only:
            continue
        course_run(train[:1000], test[:500], depth, 0, options | {"epochs": 2})
        seconds, reached = zip(
            *(course_run(train, test, depth, seed, options) for seed in range(args.seeds)), strict=True
        )
        ratio = statistics.median(seconds) / usual
        run = ", ".join(f"{name}={value}" for name, value in ({"depth": depth} | options).items())
        met = statistics.median(reached) >= accuracy and ratio <= part
        print(
            f"| {accuracy:.1%} | 1/{1 / part:.0f} | {run} "
            f"| {statistics.median(reached):.2%}; {' '.join(f'{a:.2%}' for a in reached)} "
            f"| {statistics.median(seconds):.2f} | 1/{1 / ratio:.1f} | {'yes' if met else 'NO'} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
