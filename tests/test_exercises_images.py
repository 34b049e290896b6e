"""Every check of chapter 01: solutions pass, stubs are not answered, typical mistakes get their own hint."""

import numpy as np
import pytest
import torch

from cnnlab.exercises import images

pytestmark = pytest.mark.usefixtures("language")


def blend(a, b):
    return (a.astype(np.float32) + b.astype(np.float32)) / 2 / 255


def index_of(c, row, column, H, W):
    return c * H * W + row * W + column


def place_of(i, H, W):
    return i // (H * W), i % (H * W) // W, i % W


def to_batch(pictures):
    return np.stack([picture.transpose(2, 0, 1) for picture in pictures])


def stub(*args): ...


CHECKS = {
    "blend": images.check_blend,
    "index": lambda answers: images.check_index(*answers),
    "batch": images.check_batch,
    "parameters": lambda answers: images.check_parameters(*answers),
}


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("blend", blend),
        ("blend", lambda a, b: (a / 510 + b / 510).astype(np.float32)),
        ("blend", lambda a, b: torch.tensor((a / 2 + b / 2) / 255, dtype=torch.float32)),
        ("index", (index_of, place_of)),
        (
            "index",
            (
                lambda c, row, column, H, W: np.ravel_multi_index((c, row, column), (3, H, W)),
                lambda i, H, W: list(np.unravel_index(i, (3, H, W))),
            ),
        ),
        ("batch", to_batch),
        ("batch", lambda pictures: np.stack(pictures).transpose(0, 3, 1, 2)),
        ("batch", lambda pictures: torch.tensor(np.array(pictures)).permute(0, 3, 1, 2)),
        ("parameters", (153_650, 448)),
    ],
)
def test_solution_passes(name, answer):
    report = CHECKS[name](answer)
    assert report.status == "passed", report


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("blend", stub),
        ("blend", None),
        ("index", (stub, stub)),
        ("index", (index_of, stub)),
        ("batch", stub),
        ("parameters", (..., ...)),
        ("parameters", (153_650, ...)),
    ],
)
def test_stub_is_not_answered(name, answer):
    assert CHECKS[name](answer).status == "unanswered"


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("blend", lambda a, b: (a + b) / 2 / 255, "overflow"),
        ("blend", lambda a, b: (a + b) / 2, "overflow"),
        ("blend", lambda a, b: ((a + b) / np.float32(510)).astype(np.float32), "overflow"),
        ("blend", lambda a, b: blend(a, b) * 255, "not_scaled"),
        ("blend", lambda a, b: blend(a, b) * 2, "sum"),
        ("blend", lambda a, b: (a // 2 + b // 2) / 255, "rounded_down"),
        ("blend", lambda a, b: (a.astype(int) + b) // 2 / 255, "rounded_down"),
        ("blend", lambda a, b: (a.astype(int) + b) // 510, "all_zero"),
        ("blend", lambda a, b: a / 510 + b / 510, "not_float32"),
        ("blend", lambda a, b: blend(a, a), "value"),
        ("index", (lambda c, row, column, H, W: c * H * W + row * H + column, place_of), "height"),
        ("index", (lambda c, row, column, H, W: row * W + column, place_of), "no_channel"),
        ("index", (lambda c, row, column, H, W: c * H * W + column * H + row, place_of), "columns_first"),
        ("index", (lambda c, row, column, H, W: (row * W + column) * 3 + c, place_of), "channels_last"),
        ("index", (lambda *args: index_of(*args) + 1, place_of), "from_one"),
        ("index", (index_of, lambda i, H, W: (i // (H * W), i % W, i % (H * W) // W)), "swapped"),
        ("index", (index_of, lambda i, H, W: (0, i // W, i % W)), "no_channel_back"),
        ("index", (index_of, lambda i, H, W: (i // (H * W), i // W, i % W)), "rest"),
        (
            "index",
            (index_of, lambda i, H, W: (i // H // W, i % (H * W) // H, i % (H * W) % H)),
            "height_back",
        ),
        ("index", (index_of, lambda i, H, W: (i // W, i % W)), "two_numbers"),
        ("batch", lambda p: np.stack(p).reshape(len(p), 3, *p[0].shape[:2]), "reshaped"),
        ("batch", np.stack, "channels_last"),
        ("batch", lambda p: np.stack([picture.T for picture in p]), "height_and_width"),
        ("batch", lambda p: to_batch(p).transpose(1, 0, 2, 3), "batch_second"),
        ("batch", lambda p: np.concatenate([picture.transpose(2, 0, 1) for picture in p]), "no_new_axis"),
        ("batch", lambda p: to_batch(p) / 255, "scaled"),
        ("batch", lambda p: to_batch(p)[:1], "shape"),
        ("parameters", (153_600, 448), "linear_no_bias"),
        ("parameters", (153_601, 448), "linear_one_bias"),
        ("parameters", (51_250, 448), "linear_one_channel"),
        ("parameters", (51_200, 448), "linear_one_channel"),
        ("parameters", (3_122, 448), "linear_sum"),
        ("parameters", (153_650, 432), "convolution_no_bias"),
        ("parameters", (153_650, 433), "convolution_one_bias"),
        ("parameters", (153_650, 160), "convolution_one_channel"),
        ("parameters", (153_650, 144), "convolution_one_channel"),
        ("parameters", (153_650, 28), "convolution_one_filter"),
        ("parameters", (153_650, 449), "value"),
    ],
)
def test_mistake_gets_its_hint(name, answer, hint):
    report = CHECKS[name](answer)
    assert (report.status, report.hint) == ("failed", hint), report
    assert str(report)
