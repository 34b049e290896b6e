"""Trains the network that reads drawn digits on the pages, and writes it into the package.

    CNNLAB_DATA=/folder/with/MNIST python book/train_digit_network.py

It has to be run again only if the network is to change, and takes some minutes. The result is
``digit_network.mjs`` beside the widgets: weights as whole numbers from -127 to 127 with one scale per filter,
so that a page stays small. What is drawn with a mouse or a finger differs from MNIST: training turns, shears,
scales and shifts the digits, makes their strokes thinner and thicker, and blurs some of them.
"""

from __future__ import annotations

import argparse
import base64
import json
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from cnnlab import data

TARGET = Path(__file__).parents[1] / "src/cnnlab/widgets/digit_network.mjs"
WIDTHS = (8, 16, 24)
HEADER = """\
/* The network that reads drawn digits: weights only, written by `python book/train_digit_network.py`.
 *
 * {parameters} parameters. {accuracy:.2%} of MNIST's {count} test images are right (seed {seed},
 * {epochs} epochs, measured with these very numbers: whole ones from -127 to 127 in base64, layer after
 * layer, times one scale per filter).
 */
"""


class Network(nn.Module):
    """Three convolutions, two poolings, one linear layer; batch normalization while it is trained."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c = WIDTHS
        self.convs = nn.ModuleList(
            [nn.Conv2d(1, a, 5, padding=2), nn.Conv2d(a, b, 3, padding=1), nn.Conv2d(b, c, 3)]
        )
        self.norms = nn.ModuleList([nn.BatchNorm2d(width) for width in WIDTHS])
        self.fc = nn.Linear(c * 5 * 5, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for conv, norm in zip(self.convs, self.norms):
            x = F.relu(norm(conv(x)))
            if conv is not self.convs[-1]:
                x = F.max_pool2d(x, 2)
        return self.fc(x.flatten(1))


def varied(x: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """The digits as other hands and other pens would have drawn them."""
    N = len(x)

    def between(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(N, generator=random)

    angle, shear = between(-0.26, 0.26), between(-0.2, 0.2)
    wide, high = between(0.82, 1.15), between(0.82, 1.15)
    cos, sin = angle.cos(), angle.sin()
    theta = torch.stack(
        [
            torch.stack([cos / wide, (shear - sin) / wide, between(-0.15, 0.15)], 1),
            torch.stack([sin / high, cos / high, between(-0.15, 0.15)], 1),
        ],
        1,
    )  # (N, 2, 3)
    x = F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)
    weight = between(-0.7, 0.9)[:, None, None, None]  # of the stroke: below 0 thinner, above 0 thicker
    thick, thin = F.max_pool2d(x, 3, 1, 1), -F.max_pool2d(-x, 3, 1, 1)
    x = torch.where(weight > 0, x + weight * (thick - x), x - weight * (thin - x))
    soft = between(-1, 1).clamp(min=0)[:, None, None, None]  # half of them stay sharp
    x = x + soft * (F.avg_pool2d(x, 3, 1, 1) - x)
    return (x * between(0.8, 1.25)[:, None, None, None]).clamp(0, 1)


def train(images: torch.Tensor, labels: torch.Tensor, epochs: int, seed: int) -> Network:
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    model = Network()
    batch = 128
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, steps, pct_start=0.2)
    start = time.perf_counter()
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(images), generator=random).split(batch)[: steps // epochs]:
            loss = F.cross_entropy(
                model(varied(images[chosen], random)), labels[chosen], label_smoothing=0.03
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(
            f"epoch {epoch + 1}: loss {total * epochs / steps:.4f}, {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return model.eval()


def folded(model: Network) -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight and bias of each layer, with the batch normalization inside them."""
    layers = []
    for conv, norm in zip(model.convs, model.norms):
        factor = norm.weight / (norm.running_var + norm.eps).sqrt()
        weight = conv.weight * factor[:, None, None, None]
        layers.append((weight, (conv.bias - norm.running_mean) * factor + norm.bias))
    layers.append((model.fc.weight, model.fc.bias))
    return [(weight.detach().numpy(), bias.detach().numpy()) for weight, bias in layers]


def packed(layers: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, object]:
    """The layers as they stand in the module."""
    names = ["conv1", "conv2", "conv3", "logits"]
    found: list[dict[str, object]] = []
    whole = []
    for name, (weight, bias) in zip(names, layers):
        flat = weight.reshape(len(weight), -1)
        scale = [float(f"{value:.4g}") for value in np.abs(flat).max(1) / 127]
        whole.append(np.clip(np.rint(flat / np.array(scale)[:, None]), -127, 127).astype(np.int8).ravel())
        rounded = [round(float(value), 4) for value in bias]
        found.append({"name": name, "shape": list(weight.shape), "scale": scale, "bias": rounded})
    return {"layers": found, "weights": base64.b64encode(np.concatenate(whole).tobytes()).decode()}


def unpacked(network: dict) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weight and bias of each layer from what stands in the module."""
    whole = torch.frombuffer(bytearray(base64.b64decode(network["weights"])), dtype=torch.int8)
    layers, start = [], 0
    for layer in network["layers"]:
        size = int(np.prod(layer["shape"]))
        scale = torch.tensor(layer["scale"], dtype=torch.float32)[:, None]
        weight = whole[start : start + size].float().reshape(len(scale), -1) * scale
        layers.append((weight.reshape(layer["shape"]), torch.tensor(layer["bias"], dtype=torch.float32)))
        start += size
    return layers


def logits(network: dict, x: torch.Tensor) -> torch.Tensor:
    """What the packed network says of images (N, 1, 28, 28) with values from 0 to 1: (N, 10)."""
    first, second, third, last = unpacked(network)
    x = F.max_pool2d(F.relu(F.conv2d(x, *first, padding=2)), 2)
    x = F.max_pool2d(F.relu(F.conv2d(x, *second, padding=1)), 2)
    return F.linear(F.relu(F.conv2d(x, *third)).flatten(1), *last)


def read(path: Path = TARGET) -> dict:
    """The network that stands in a module."""
    text = path.read_text(encoding="utf-8")
    return json.loads(text[text.index("export default ") + len("export default ") :].strip().rstrip(";"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    learn, test = data.mnist()
    images, seen = (torch.tensor(part.images).float() / 255 for part in (learn, test))  # (N, 1, 28, 28)
    model = train(images, torch.tensor(learn.labels), options.epochs, options.seed)
    with torch.no_grad():
        right = torch.tensor(test.labels)
        before = (model(seen).argmax(1) == right).double().mean().item()
        network = packed(folded(model))
        accuracy = (logits(network, seen).argmax(1) == right).double().mean().item()
    parameters = sum(weight.numel() + bias.numel() for weight, bias in unpacked(network))
    header = HEADER.format(
        parameters=f"{parameters:,}",
        accuracy=accuracy,
        count=f"{len(test):,}",
        seed=options.seed,
        epochs=options.epochs,
    )
    text = f"{header}export default {json.dumps(network, separators=(',', ':'))};\n"
    options.out.write_text(text, encoding="utf-8", newline="\n")
    print(f"seed {options.seed}, {parameters:,} parameters, {len(text):,} bytes in {options.out}")
    print(f"test accuracy {before:.2%} as trained, {accuracy:.2%} as written")


if __name__ == "__main__":
    main()
