"""Handwritten digits for the course, and two ways to cut them into mini-batches.

Images are uint8 arrays of shape (N, 1, 28, 28) with values 0-255, labels are int64 arrays of shape (N,).
Importing this module imports neither torch nor scikit-learn; the functions that need them do.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import shutil
import socket
import sys
import tempfile
import threading
import time
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.i18n import text

if TYPE_CHECKING:
    import torch
    from torch.utils.data import Dataset

# Size in bytes and MD5 of MNIST's four files as torchvision unpacks them, below MNIST/raw/.
MNIST_FILES = {
    "train-images-idx3-ubyte": (47_040_016, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": (60_008, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": (7_840_016, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": (10_008, "27ae3e4e09519cfbb04c329615203637"),
}
NETWORK_TIMEOUT = 3.0  # seconds without a single byte before a mirror is given up
DIGITS_TRAIN_SIZE = 1_437  # scikit-learn's digits from here on are the test data


class DataUnavailable(RuntimeError):
    """MNIST is neither whole on disk nor to be had from the network; the message says why in one line."""


@dataclass(frozen=True, eq=False)
class ImageData:
    """Grayscale images and their labels.

    Parameters
    ----------
    name : str
        Name of the data set, for example ``"mnist"``.
    images : ndarray of uint8, shape (N, 1, H, W)
        Pixel values 0-255, ink bright on a dark background.
    labels : ndarray of int64, shape (N,)
        The class of each image, 0-9.

    Raises
    ------
    TypeError, ValueError
        If dtypes or shapes are not as above.

    Notes
    -----
    ``data[5]`` is the pair (image, label); ``data[:100]`` and ``data.take(indices)`` are ``ImageData`` again.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.labels.dtype != np.int64:
            raise TypeError(
                f"images must be uint8 and labels int64, got {self.images.dtype} and {self.labels.dtype}"
            )
        if self.images.ndim != 4 or self.images.shape[1] != 1:
            raise ValueError(f"images must have shape (N, 1, H, W), got {self.images.shape}")
        if self.labels.shape != self.images.shape[:1]:
            raise ValueError(f"labels must have shape ({len(self.images)},), got {self.labels.shape}")

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return ImageData(self.name, self.images[index], self.labels[index])
        return self.images[index], int(self.labels[index])

    def __repr__(self) -> str:
        return f"ImageData({self.name!r}, images {self.images.shape}, labels {self.labels.shape})"

    def take(self, indices: Any) -> ImageData:
        """The images with these indices (or where a boolean mask is true), in this order."""
        indices = np.asarray(indices)
        return ImageData(self.name, self.images[indices], self.labels[indices])

    def per_class(self, count: int) -> ImageData:
        """The first `count` images of every class, in their original order."""
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        chosen = [np.flatnonzero(self.labels == label)[:count] for label in np.unique(self.labels)]
        return self.take(np.sort(np.concatenate(chosen)))


def digits() -> tuple[ImageData, ImageData]:
    """scikit-learn's 1,797 real handwritten digits as (train, test), without any download.

    The 8x8 images with values 0-16 are enlarged bilinearly to 20x20, placed in the middle of 28x28 as in
    MNIST, and scaled to 0-255. The last 360 images are the test data. The 1,797 digits come from 14 sheets of
    one form. The cut lies inside the twelfth: its first 22 digits are training data, its other 108 test data.
    The last two sheets, 252 images, are wholly unseen in training.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998; ``load_digits``.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small = bunch.images.astype(np.int64)  # (1797, 8, 8)
    # Output pixel i lies at 0.4 * i - 0.3 of the small image. In tenths everything is an integer, so that the
    # result is the same to the bit on every machine.
    place = np.clip(4 * np.arange(20) - 3, 0, 70)
    left, part = np.minimum(place // 10, 6), place - 10 * np.minimum(place // 10, 6)
    enlarge = np.zeros((20, 8), dtype=np.int64)
    enlarge[np.arange(20), left] = 10 - part
    enlarge[np.arange(20), left + 1] = part
    large = enlarge @ small @ enlarge.T  # (1797, 20, 20), 0-1600
    images = np.zeros((len(small), 1, 28, 28), dtype=np.uint8)
    images[:, 0, 4:24, 4:24] = (large * 255 + 800) // 1600
    data = ImageData("digits", images, bunch.target.astype(np.int64))
    return data[:DIGITS_TRAIN_SIZE], data[DIGITS_TRAIN_SIZE:]


def data_folder() -> Path:
    """Where data sets lie: ``CNNLAB_DATA`` if that variable is set, else a cache folder of the user.

    MNIST is in torchvision's layout below it, so ``torchvision.datasets.MNIST(data_folder())`` finds it too.
    """
    if os.environ.get("CNNLAB_DATA"):
        return Path(os.environ["CNNLAB_DATA"]).expanduser()
    if sys.platform == "win32":
        cache = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        cache = "~/Library/Caches"
    else:
        cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "cnnlab"


def mnist(*, download: bool = True) -> tuple[ImageData, ImageData]:
    """MNIST as (train, test), 60,000 and 10,000 images.

    The files are looked for below :func:`data_folder`, which may be read-only when they are there. Size and
    MD5 of each are checked every time. One that is missing, cut short or damaged is named and fetched again
    from torchvision's mirrors, into a temporary folder first, and moved into place only when it is whole.

    Parameters
    ----------
    download : bool
        Whether missing files may be fetched (11.6 MB in all).

    Raises
    ------
    DataUnavailable
        If MNIST is not there and cannot be fetched. A network that does not answer costs a few seconds.

    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits.
    """
    root = data_folder()
    faults = _faults(root)
    if faults:
        damaged = [name for name, fault in faults.items() if fault != "missing"]
        if not download:
            raise DataUnavailable(text("data.incomplete", folder=root, files=", ".join(faults)))
        if damaged:
            print(text("data.repairing", folder=root, files=", ".join(damaged)))
        _fetch(root, list(faults))
        faults = _faults(root)
        if faults:
            raise DataUnavailable(text("data.incomplete", folder=root, files=", ".join(faults)))
    raw = root / "MNIST" / "raw"
    train, test = (
        ImageData(
            "mnist",
            _read_idx(raw / f"{part}-images-idx3-ubyte")[:, None],  # (N, 1, 28, 28)
            _read_idx(raw / f"{part}-labels-idx1-ubyte").astype(np.int64),
        )
        for part in ("train", "t10k")
    )
    return train, test


def handwritten() -> tuple[ImageData, ImageData]:
    """The digits a chapter uses: :func:`mnist` when on disk or reachable, else :func:`digits`.

    In the second case one printed line says so in the reader's language.
    """
    try:
        return mnist()
    except DataUnavailable as error:
        print(text("data.digits_instead", reason=error))
        return digits()


def _read_idx(path: Path) -> np.ndarray:
    """Read a file in MNIST's IDX format: two zeros, type 8 (uint8), rank, sizes (big-endian), values."""
    raw = np.fromfile(path, dtype=np.uint8)
    rank = int(raw[3])
    shape = raw[4 : 4 + 4 * rank].view(">i4")
    return raw[4 + 4 * rank :].reshape(shape)


def _fault(path: Path) -> str | None:
    """What is wrong with one of MNIST's files: "missing", "damaged", or None."""
    size, md5 = MNIST_FILES[path.name]
    try:
        if path.stat().st_size != size:
            return "damaged"
        whole = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == md5
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "damaged"
    return None if whole else "damaged"


def _faults(root: Path) -> dict[str, str]:
    found = {name: _fault(root / "MNIST" / "raw" / name) for name in MNIST_FILES}
    return {name: fault for name, fault in found.items() if fault}


def _fetch(root: Path, names: list[str]) -> None:
    """Download the named files of MNIST, check them, and only then move them into place.

    Several processes may do so at once: each has its own temporary folder, and all write the same bytes.
    """
    raw = root / "MNIST" / "raw"
    try:
        raw.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(raw.parent)
        temporary = Path(tempfile.mkdtemp(prefix=".download-", dir=raw.parent))
    except OSError as error:
        raise DataUnavailable(text("data.not_writable", folder=root, files=", ".join(names))) from error
    try:
        for name in names:
            _fetch_file(temporary, name)
        for name in names:
            _move(temporary / name, raw / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _fetch_file(folder: Path, name: str) -> None:
    """Fetch one file from the first of torchvision's mirrors that delivers it whole."""
    from torchvision.datasets import MNIST
    from torchvision.datasets.utils import download_and_extract_archive

    archive, md5 = next(pair for pair in MNIST.resources if pair[0] == f"{name}.gz")
    mirrors, problems = _answering(MNIST.mirrors, archive)
    for mirror in mirrors:
        try:
            with _socket_timeout(NETWORK_TIMEOUT):
                download_and_extract_archive(f"{mirror}{archive}", folder, filename=archive, md5=md5)
        except (OSError, RuntimeError, HTTPException, EOFError, zlib.error) as error:
            problems[mirror] = _one_line(error)
            continue
        if _fault(folder / name) is None:
            return
        problems[mirror] = "checksum"
    reason = "; ".join(f"{mirror}: {problem}" for mirror, problem in problems.items())
    raise DataUnavailable(text("data.unreachable", folder=folder.parents[1], reason=reason))


def _answering(mirrors: list[str], archive: str) -> tuple[list[str], dict[str, str]]:
    """Which mirrors answer a HEAD request in time, and what is wrong with the others.

    All are asked at the same time, in threads that are abandoned when they take too long: looking up a host
    name cannot be interrupted any other way.
    """
    answers: dict[str, str] = {}

    def ask(mirror: str) -> None:
        request = urllib.request.Request(f"{mirror}{archive}", method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=NETWORK_TIMEOUT):
                answers[mirror] = ""
        except (OSError, HTTPException) as error:
            answers[mirror] = _one_line(error)

    threads = [threading.Thread(target=ask, args=(mirror,), daemon=True) for mirror in mirrors]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + NETWORK_TIMEOUT + 0.5
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    seen = {mirror: answers.get(mirror, "no answer") for mirror in mirrors}
    return [m for m, problem in seen.items() if not problem], {m: p for m, p in seen.items() if p}


def _one_line(error: BaseException) -> str:
    reason = getattr(error, "strerror", None) or getattr(error, "reason", error)  # what urllib wraps
    reason = getattr(reason, "strerror", None) or reason
    return " ".join(str(reason).split()) or type(error).__name__


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """torchvision opens its connections without a time-out; give new sockets one meanwhile."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _move(source: Path, target: Path) -> None:
    try:
        os.replace(source, target)
    except PermissionError:  # Windows, when another process has the same file open: then it is there already
        if _fault(target):
            raise


def _remove_leftovers(folder: Path) -> None:
    """Remove what a download that was killed more than an hour ago has left behind."""
    for leftover in folder.glob(".download-*"):
        with contextlib.suppress(OSError):
            if time.time() - leftover.stat().st_mtime > 3600:
                shutil.rmtree(leftover, ignore_errors=True)


class Batches:
    """Mini-batches cut from images that lie in memory as one tensor.

    It is used like a ``DataLoader`` (``len``, ``for images, labels in batches``), but the images are not
    decoded one by one: a batch is one indexing operation.

    Parameters
    ----------
    data : ImageData
        The images and labels.
    batch_size : int
        Images per batch; the last batch has what is left.
    shuffle : bool
        Whether the order changes from epoch to epoch.
    seed : int
        Order and shifts of epoch number ``epoch`` follow from `seed` and ``epoch`` alone.
    device : str or torch.device
        Where the images are kept and delivered.
    shift : int
        Move every image by a random number of pixels, at most this many, in both directions. 0: not at all.

    Yields
    ------
    images : float32 tensor, shape (N, 1, H, W)
        Pixel values divided by 255, so 0-1, as ``torchvision.transforms.ToTensor`` gives them. There is no
        further normalization.
    labels : int64 tensor, shape (N,)

    Attributes
    ----------
    epoch : int
        Number of the next epoch, from 0; it goes up by one each time an iteration starts, and can be set.
    """

    def __init__(
        self,
        data: ImageData,
        batch_size: int = 128,
        *,
        shuffle: bool = False,
        seed: int = 0,
        device: str | torch.device = "cpu",
        shift: int = 0,
    ) -> None:
        import torch

        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if shift < 0:
            raise ValueError(f"shift must be at least 0 pixels, got {shift}")
        self.data, self.batch_size, self.shuffle = data, batch_size, shuffle
        self.seed, self.shift, self.epoch = seed, shift, 0
        self.images = torch.tensor(data.images, device=device)  # (N, 1, H, W), uint8
        self.labels = torch.tensor(data.labels, device=device)  # (N,)

    def __len__(self) -> int:
        return math.ceil(len(self.data) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        import torch

        random = torch.Generator().manual_seed(self.seed + 1_000_003 * self.epoch)
        self.epoch += 1
        N = len(self.data)
        order = torch.randperm(N, generator=random) if self.shuffle else torch.arange(N)
        for chosen in order.split(self.batch_size):
            chosen = chosen.to(self.images.device)
            images = self.images[chosen]  # (N, 1, H, W)
            if self.shift:
                images = shift_images(images, self.shift, random)
            yield images.float() / 255, self.labels[chosen]


def shift_images(images: torch.Tensor, most: int, random: torch.Generator | None = None) -> torch.Tensor:
    """Move each image by up to `most` pixels up or down and left or right; zeros come in at the border.

    Parameters
    ----------
    images : tensor, shape (N, C, H, W)
        Any dtype, any device.
    most : int
        Largest shift in pixels.
    random : torch.Generator, optional
        A generator on the CPU.

    Returns
    -------
    tensor, shape (N, C, H, W)
    """
    import torch

    N, _, H, W = images.shape
    padded = torch.nn.functional.pad(images, (most, most, most, most))  # (N, C, H+2*most, W+2*most)
    down, right = torch.randint(0, 2 * most + 1, (2, N, 1), generator=random).to(images.device)  # (N, 1) each
    rows = down + torch.arange(H, device=images.device)  # (N, H)
    cols = right + torch.arange(W, device=images.device)  # (N, W)
    sample = torch.arange(N, device=images.device)[:, None, None]
    moved = padded.movedim(1, -1)[sample, rows[:, :, None], cols[:, None, :]]  # (N, H, W, C)
    return moved.movedim(-1, 1)


def as_torch_dataset(data: ImageData) -> Dataset:
    """The same images as a torch ``Dataset`` that makes each one a PIL image and then a tensor.

    This is what ``torchvision.datasets.MNIST`` with ``transforms.ToTensor()`` does for every sample, and what
    most of a small network's epoch is spent on when a ``DataLoader`` reads from it.
    """
    from PIL import Image
    from torch.utils.data import Dataset
    from torchvision.transforms.functional import to_tensor

    class PILDataset(Dataset):
        def __len__(self) -> int:
            return len(data)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            image, label = data[index]
            return to_tensor(Image.fromarray(image[0])), label  # (1, H, W), int

    return PILDataset()
