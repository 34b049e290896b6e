"""Data sets, the repair of MNIST's files, and mini-batches. The only network used is this machine's own."""

from __future__ import annotations

import gzip
import hashlib
import os
import socket
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
import torchvision
from torch.utils.data import DataLoader

import cnnlab.data
from cnnlab import i18n
from cnnlab.data import (
    Batches,
    DataUnavailable,
    ImageData,
    as_torch_dataset,
    data_folder,
    digits,
    handwritten,
    mnist,
    shift_images,
)

pytestmark = pytest.mark.usefixtures("english")


DIGITS_SHA256 = "de77a57d67c2b949670a7cf0384f375dea4496a1381113ae82360db7fc84ce03"


def numbered(N: int) -> ImageData:
    """Image n is filled with the value n and has the label n % 10."""
    images = np.tile(np.arange(N, dtype=np.uint8)[:, None, None, None], (1, 1, 28, 28))
    return ImageData("numbered", images, np.arange(N) % 10)


# ImageData


def test_image_data_indexing_slicing_and_taking():
    data = numbered(25)
    image, label = data[13]
    assert image.shape == (1, 28, 28) and image[0, 0, 0] == 13 and label == 3
    assert len(data[5:9]) == 4 and data[5:9].labels.tolist() == [5, 6, 7, 8]
    assert data.take([3, 1]).labels.tolist() == [3, 1]
    assert len(data.take(data.labels == 2)) == 3
    assert repr(data) == "ImageData('numbered', images (25, 1, 28, 28), labels (25,))"


def test_per_class_takes_the_first_of_each_in_their_order():
    chosen = numbered(25).per_class(2)
    assert chosen.images[:, 0, 0, 0].tolist() == list(range(20))
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        numbered(3).per_class(0)


@pytest.mark.parametrize(
    ("images", "labels", "error", "message"),
    [
        (np.zeros((2, 1, 28, 28)), np.zeros(2, int), TypeError, "got float64 and int64"),
        (np.zeros((2, 1, 28, 28), np.uint8), np.zeros(2, np.uint8), TypeError, "got uint8 and uint8"),
        (np.zeros((2, 28, 28), np.uint8), np.zeros(2, int), ValueError, r"got \(2, 28, 28\)"),
        (np.zeros((2, 1, 28, 28), np.uint8), np.zeros(3, int), ValueError, r"shape \(2,\), got \(3,\)"),
    ],
)
def test_image_data_refuses_other_arrays(images, labels, error, message):
    with pytest.raises(error, match=message):
        ImageData("wrong", images, labels)


# digits


def test_digits_are_the_real_ones_with_other_writers_for_the_test():
    train, test = digits()
    assert (len(train), len(test)) == (1437, 360)
    assert train.images.shape == (1437, 1, 28, 28) and train.images.dtype == np.uint8
    assert train.labels[:5].tolist() == [0, 1, 2, 3, 4] and test.labels.dtype == np.int64
    border = np.ones((28, 28), dtype=bool)
    border[4:24, 4:24] = False
    assert not train.images[:, 0, border].any()
    assert train.images.max() == 255


def test_digits_are_the_same_to_the_bit_everywhere():
    train, test = digits()
    both = np.concatenate([train.images, test.images])
    assert hashlib.sha256(both.tobytes()).hexdigest() == DIGITS_SHA256


def test_enlarging_digits_is_bilinear():
    from sklearn.datasets import load_digits

    small = torch.tensor(load_digits().images[:50])[:, None]  # (50, 1, 8, 8)
    want = torch.nn.functional.interpolate(small, size=(20, 20), mode="bilinear") * 255 / 16
    got = torch.tensor(digits()[0].images[:50, :, 4:24, 4:24].astype(float))
    assert (got - want).abs().max() <= 0.5 + 1e-9


# MNIST: a small one with the same file names, on a server of our own


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes() + array.tobytes()


@pytest.fixture
def small_mnist(monkeypatch, tmp_path):
    """Four small files in MNIST's format: their contents; and sizes and checksums are known to cnnlab."""
    rng = np.random.default_rng(0)
    files = {
        "train-images-idx3-ubyte": idx(rng.integers(0, 256, (30, 28, 28), dtype=np.uint8)),
        "train-labels-idx1-ubyte": idx(rng.integers(0, 10, 30, dtype=np.uint8)),
        "t10k-images-idx3-ubyte": idx(rng.integers(0, 256, (20, 28, 28), dtype=np.uint8)),
        "t10k-labels-idx1-ubyte": idx(rng.integers(0, 10, 20, dtype=np.uint8)),
    }
    archives = {f"{name}.gz": gzip.compress(content) for name, content in files.items()}
    sums = {name: (len(c), hashlib.md5(c).hexdigest()) for name, c in files.items()}
    monkeypatch.setattr(cnnlab.data, "MNIST_FILES", sums)
    monkeypatch.setattr(cnnlab.data, "NETWORK_TIMEOUT", 0.5)
    resources = [(name, hashlib.md5(c).hexdigest()) for name, c in archives.items()]
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [])
    monkeypatch.setenv("CNNLAB_DATA", str(tmp_path / "data"))
    (tmp_path / "www").mkdir()
    for name, content in archives.items():
        (tmp_path / "www" / name).write_bytes(content)
    return files


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class CutShort(Quiet):
    """Promises the whole file, sends half of it and hangs up."""

    def copyfile(self, source, outputfile):
        content = source.read()
        outputfile.write(content[: len(content) // 2])


class Flipped(Quiet):
    """Sends every file with its last byte changed."""

    def copyfile(self, source, outputfile):
        content = source.read()
        outputfile.write(content[:-1] + bytes([content[-1] ^ 1]))


class Stalling(Quiet):
    """Answers, sends a few bytes and then nothing."""

    def copyfile(self, source, outputfile):
        outputfile.write(source.read()[:10])
        outputfile.flush()
        time.sleep(0.8)


class Forbidden(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_error(403)

    do_GET = do_HEAD

    def log_message(self, *args):
        pass


@pytest.fixture
def serve(monkeypatch, tmp_path):
    """A function that starts a server with a handler and makes it the next of torchvision's mirrors."""
    servers = []

    def start(handler) -> str:
        kind = handler if handler is Forbidden else partial(handler, directory=tmp_path / "www")
        server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
        server.daemon_threads = True
        thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.02))
        thread.start()
        servers.append((server, thread))
        return add_mirror(server.server_address[1])

    def add_mirror(port: int) -> str:
        mirror = f"http://127.0.0.1:{port}/"
        monkeypatch.setattr(
            torchvision.datasets.MNIST, "mirrors", [*torchvision.datasets.MNIST.mirrors, mirror]
        )
        return mirror

    start.add_mirror = add_mirror
    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def raw_folder():
    return data_folder() / "MNIST" / "raw"


def leftovers() -> list[str]:
    """Everything below the data folder that is not one of the four files."""
    found = (data_folder() / "MNIST").rglob("*")
    return [p.name for p in found if p.is_file() and p.name not in cnnlab.data.MNIST_FILES] + [
        p.name for p in found if p.name.startswith(".download")
    ]


def test_download_gives_the_images_and_torchvision_reads_the_folder(small_mnist, serve):
    serve(Quiet)
    train, test = mnist()
    assert (len(train), len(test)) == (30, 20)
    assert train.images.tobytes() == small_mnist["train-images-idx3-ubyte"][16:]
    assert test.labels.tolist() == list(small_mnist["t10k-labels-idx1-ubyte"][8:])
    assert train.images.flags.writeable and leftovers() == []
    again = torchvision.datasets.MNIST(data_folder(), train=False)
    assert np.array_equal(again.data.numpy(), test.images[:, 0])


def test_no_network_is_used_when_the_files_are_whole(small_mnist, serve, monkeypatch):
    serve(Quiet)
    mnist()
    monkeypatch.setattr(cnnlab.data, "_fetch", None)
    assert len(mnist(download=False)[0]) == 30


def test_without_download_the_missing_files_are_named(small_mnist):
    with pytest.raises(DataUnavailable, match="not complete .*t10k-labels-idx1-ubyte"):
        mnist(download=False)


@pytest.mark.parametrize("harm", ["cut", "flip"])
def test_a_damaged_file_is_named_and_only_it_is_fetched_again(small_mnist, serve, capsys, harm):
    serve(Quiet)
    mnist()
    path = raw_folder() / "t10k-images-idx3-ubyte"
    content = small_mnist[path.name]
    path.write_bytes(content[:1000] if harm == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    others = {p: p.stat().st_mtime_ns for p in raw_folder().iterdir() if p != path}
    capsys.readouterr()
    mnist()
    assert capsys.readouterr().out.strip().endswith("t10k-images-idx3-ubyte")
    assert path.read_bytes() == content
    assert all(p.stat().st_mtime_ns == then for p, then in others.items())


def test_a_damaged_file_that_cannot_be_repaired_is_not_used(small_mnist, serve, capsys):
    serve(Quiet)
    mnist()
    (raw_folder() / "train-images-idx3-ubyte").write_bytes(b"half")
    torchvision.datasets.MNIST.mirrors = []
    capsys.readouterr()
    train, _ = handwritten()
    assert train.name == "digits"
    assert "train-images-idx3-ubyte" in capsys.readouterr().out


@pytest.mark.parametrize("handler", [CutShort, Flipped, Stalling, Forbidden])
def test_a_bad_server_leaves_nothing_behind(small_mnist, serve, handler):
    mirror = serve(handler)
    with pytest.raises(DataUnavailable) as caught:
        mnist()
    assert mirror in str(caught.value) and "\n" not in str(caught.value)
    assert leftovers() == [] and list(raw_folder().iterdir()) == []


@pytest.mark.parametrize("handler", [CutShort, Flipped, Stalling, Forbidden])
def test_after_a_bad_mirror_the_next_one_is_asked(small_mnist, serve, handler):
    serve(handler)
    serve(Quiet)
    assert len(mnist()[0]) == 30


def test_a_server_that_never_answers_is_given_up(small_mnist, serve):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        serve.add_mirror(deaf.getsockname()[1])
        with pytest.raises(DataUnavailable, match="timed out|no answer"):
            mnist()


def test_a_name_lookup_that_hangs_is_given_up(small_mnist, serve, monkeypatch):
    serve.add_mirror(1)
    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: release.wait(20) and [])
    try:
        with pytest.raises(DataUnavailable, match="no answer"):
            mnist()
    finally:
        release.set()


def test_a_refused_connection_falls_back_to_digits_in_one_line_of_the_readers_language(
    small_mnist, serve, capsys
):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    serve.add_mirror(port)
    for lang, word in [("ja", "手書き数字"), ("ko", "손글씨 숫자"), ("en", "handwritten digits")]:
        i18n.set_language(lang)
        train, test = handwritten()
        assert (train.name, len(train), len(test)) == ("digits", 1437, 360)
        out, err = capsys.readouterr()
        assert word in out and out.count("\n") == 1 and err == ""


def test_handwritten_is_mnist_when_it_can_be_had(small_mnist, serve, capsys):
    serve(Quiet)
    assert handwritten()[0].name == "mnist"
    assert capsys.readouterr().out == ""


def test_a_folder_that_cannot_be_written_is_named(small_mnist, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CNNLAB_DATA", str(tmp_path / "file"))
    with pytest.raises(DataUnavailable, match="cannot be written"):
        mnist()


def test_whole_files_in_a_read_only_folder_are_enough(small_mnist, serve):
    serve(Quiet)
    mnist()
    folders = [raw_folder(), raw_folder().parent, data_folder()]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert len(mnist()[0]) == 30
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_several_downloads_at_once(small_mnist, serve):
    serve(Quiet)
    results = []
    threads = [threading.Thread(target=lambda: results.append(len(mnist()[0]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [30] * 4 and leftovers() == []


def test_what_a_killed_download_left_is_removed_later(small_mnist, serve):
    serve(Quiet)
    old = data_folder() / "MNIST" / ".download-old"
    new = data_folder() / "MNIST" / ".download-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (0, 0))
    mnist()
    assert not old.exists() and new.exists()


def test_socket_timeout_is_put_back(small_mnist, serve):
    serve(Flipped)
    before = socket.getdefaulttimeout()
    with pytest.raises(DataUnavailable, match="File not found or corrupted|checksum"):
        mnist()
    assert socket.getdefaulttimeout() == before


def test_data_folder_without_the_variable_is_a_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("CNNLAB_DATA", "")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_folder() == tmp_path / "cnnlab"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert data_folder().parts[-3:] == ("Library", "Caches", "cnnlab")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert data_folder() == tmp_path / "local" / "cnnlab"


def test_importing_data_imports_no_torch():
    code = "import sys, cnnlab.data; assert not {'torch', 'sklearn', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# Batches


def test_batches_hold_every_sample_once_and_the_last_is_smaller():
    batches = Batches(numbered(25), 10)
    got = list(batches)
    assert len(batches) == len(got) == 3
    assert [len(labels) for _, labels in got] == [10, 10, 5]
    images = torch.cat([images for images, _ in got])
    assert images.dtype == torch.float32 and images.shape == (25, 1, 28, 28)
    assert torch.equal(images[:, 0, 0, 0], torch.arange(25) / 255)
    assert torch.cat([labels for _, labels in got]).dtype == torch.int64


def test_batches_are_what_a_dataloader_gives():
    train, _ = digits()
    loader = DataLoader(as_torch_dataset(train[:70]), batch_size=32)
    for (images, labels), (want_images, want_labels) in zip(Batches(train[:70], 32), loader, strict=True):
        assert torch.equal(images, want_images) and torch.equal(labels, want_labels)


def test_shuffling_changes_by_epoch_and_follows_from_the_seed():
    def order(batches):
        return torch.cat([labels for _, labels in batches]).tolist()

    data = ImageData("count", np.zeros((50, 1, 28, 28), np.uint8), np.arange(50))
    batches = Batches(data, 8, shuffle=True, seed=3)
    first, second = order(batches), order(batches)
    assert sorted(first) == sorted(second) == list(range(50)) and first != second
    assert batches.epoch == 2
    batches.epoch = 1
    assert order(batches) == second
    assert order(Batches(data, 8, shuffle=True, seed=3)) == first
    assert order(Batches(data, 8, shuffle=True, seed=4)) != first


def test_shuffling_leaves_the_global_random_numbers_alone():
    torch.manual_seed(0)
    want = torch.rand(3)
    torch.manual_seed(0)
    list(Batches(numbered(30), 8, shuffle=True, shift=1))
    assert torch.equal(torch.rand(3), want)


def test_shift_images_moves_each_image_as_a_whole():
    images = torch.zeros(200, 2, 6, 9)
    images[:, :, 3, 4] = 1
    moved = shift_images(images, 2, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    places = (moved == 1).nonzero().reshape(200, 2, 4)[:, :, 2:]  # (N, C, 2): row and column of the one
    assert torch.equal(places[:, 0], places[:, 1])
    seen = {tuple(place) for place in (places[:, 0] - torch.tensor([3, 4])).tolist()}
    assert seen == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}


def test_shift_brings_in_zeros_at_the_border():
    moved = shift_images(torch.ones(100, 1, 5, 7), 1, torch.Generator().manual_seed(0))
    sums = set(moved.sum(dim=(1, 2, 3)).tolist())
    assert sums == {35.0, 28.0, 30.0, 24.0}


def test_batches_with_shift_can_be_repeated():
    train, _ = digits()
    one, two = Batches(train[:40], 16, shift=2, seed=1), Batches(train[:40], 16, shift=2, seed=1)
    for (images, _), (again, _) in zip(one, two, strict=True):
        assert torch.equal(images, again)
    assert not torch.equal(next(iter(one))[0], next(iter(Batches(train[:40], 16)))[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"shift": -1}, "at least 0 pixels, got -1"),
    ],
)
def test_batches_refuse_senseless_sizes(options, message):
    with pytest.raises(ValueError, match=message):
        Batches(numbered(3), **options)


def test_empty_data_has_no_batches():
    empty = Batches(numbered(3)[:0])
    assert len(empty) == 0


def test_torch_dataset_has_a_length_and_pairs():
    dataset = as_torch_dataset(numbered(25))
    image, label = dataset[7]
    assert len(dataset) == 25 and image.shape == (1, 28, 28) and label == 7
    assert image[0, 0, 0].item() == pytest.approx(7 / 255)
