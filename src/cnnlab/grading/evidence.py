"""An observation as bytes, on its way from the worker, where a student's code runs, to the grader."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import fields
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cnnlab.exercises.observation import LARGEST, Failure, Observation, Shape, Step

TENSORS = {"outputs": "both", "again": "again", "alone": "alone"}  # and whose shapes they have
HEADER = 200_000  # characters
STEPS = 40
SHAPES = 10
NUMBERS = 15_000_000  # of all tensors: less than a submission may write
# What it may take to compute all layers again. AlexNet without any stride or pooling stays below it.
WORK = 2e10  # multiplications
COLUMNS = 2e8  # numbers in the columns of `im2col` of one convolution


def to_bytes(seen: Observation) -> Iterator[bytes]:
    """One line of JSON, then the tensors one after another as little-endian float32.

    After `NUMBERS` numbers the tensors are left out.
    """
    tensors: list[Tensor | None] = [getattr(seen, name) for name in TENSORS]
    steps = []
    for step in seen.steps[:STEPS]:
        tensors += [step.input, step.output]
        steps.append(
            {f.name: getattr(step, f.name) for f in fields(Step) if f.name not in ("input", "output")}
        )
    counts = accumulate(0 if tensor is None else tensor.numel() for tensor in tensors)
    tensors = [tensor if count <= NUMBERS else None for tensor, count in zip(tensors, counts)]
    header = {
        "status": seen.status,
        "problem": seen.problem,
        "got": seen.got[:200],
        "failure": vars(seen.failure) if seen.failure else None,
        "steps": steps,
        "shapes": seen.shapes,
        "no_default": seen.no_default,
        "registered": seen.registered,
        "used": seen.used,
        "unreached": [name[:200] for name in seen.unreached[:STEPS]],
        "tensors": [None if tensor is None else list(tensor.shape) for tensor in tensors],
    }
    yield json.dumps(header).encode() + b"\n"
    for tensor in tensors:
        if tensor is not None:
            yield tensor.numpy().astype("<f4", copy=False).tobytes()


def from_bytes(data: bytes) -> Observation:
    """What `to_bytes` has written; nothing in it is trusted.

    Layers that would take more than `WORK` to compute again come without their numbers.

    Raises
    ------
    ValueError
        If it is anything else: a field too many, a wrong type, a length that does not fit.
    """
    line, newline, rest = data.partition(b"\n")
    if not newline or len(line) > HEADER:
        raise ValueError(f"wanted a line of JSON first, got {len(line)} bytes")
    try:
        header = json.loads(line)
        tensors = list(_tensors(header.pop("tensors"), rest))
        steps = header.pop("steps")
        failure, shapes = header.pop("failure"), header.pop("shapes")
        unreached = [str(name) for name in header.pop("unreached")]
        if len(tensors) != len(TENSORS) + 2 * len(steps) or len(steps) > STEPS or len(shapes) > SHAPES:
            raise ValueError(f"wanted two tensors for each of {len(steps)} layers")
        seen = Observation(
            failure=Failure(**_typed(failure, Failure(kind="", message=""))) if failure else None,
            shapes={str(name)[:20]: _shape(shape) for name, shape in shapes.items()},
            unreached=unreached,
            **_typed(header, Observation()),
        )
        for step, x, y in zip(steps, tensors[len(TENSORS) :: 2], tensors[len(TENSORS) + 1 :: 2]):
            sizes: dict[str, Any] = {n: _shape(v) if isinstance(v, list) else v for n, v in step.items()}
            seen.steps.append(_checked(Step(**sizes, input=x, output=y)))
    except (AttributeError, KeyError, RecursionError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"not an observation: {error!r:.200}") from error
    for (name, shape), tensor in zip(TENSORS.items(), tensors):
        if tensor is not None and tuple(tensor.shape) != seen.shapes.get(shape):
            raise ValueError(f"wanted {name} of shape {seen.shapes.get(shape)}, got {tuple(tensor.shape)}")
        setattr(seen, name, tensor)
    _spare(seen.steps)
    return seen


def _tensors(shapes: list, data: bytes) -> Iterator[Tensor | None]:
    start = 0
    for shape in shapes:
        if shape is None:
            yield None
            continue
        count = math.prod(_shape(shape))
        part = data[start : start + 4 * count]
        if not 0 < count <= LARGEST or len(part) != 4 * count:
            raise ValueError(f"wanted {count} numbers for a tensor of shape {shape}, got {len(part) / 4}")
        yield torch.from_numpy(np.frombuffer(part, "<f4").astype(np.float32)).view(_shape(shape))
        start += 4 * count
    if start != len(data):
        raise ValueError(f"wanted {start} bytes of numbers, got {len(data)}")


def _shape(value: Any) -> Shape:
    whole = isinstance(value, list) and len(value) <= 8
    if not whole or not all(type(n) is int and 0 <= n < 2**31 for n in value):
        raise ValueError(f"wanted a shape, got {value!r:.100}")
    return tuple(value)


def _typed(values: dict, like: Any) -> dict:
    """The values, each of the type that it has in `like`; a count is not negative."""
    for name, value in values.items():
        wanted = type(getattr(like, name))
        if type(value) is not wanted or (wanted is int and not 0 <= value < 2**53):
            raise ValueError(f"wanted {wanted.__name__} for {name}, got {value!r:.100}")
    return values


def _checked(step: Step) -> Step:
    """A layer whose fields have the right types, and whose numbers are as many as its sizes say."""
    _typed({"bias": step.bias, "groups": step.groups}, Step((), False, ()))
    pairs = (step.stride, step.padding, step.dilation)
    if not all(type(shape) is tuple for shape in (step.weight, *pairs, step.input_shape, step.output_shape)):
        raise ValueError(f"wanted the sizes of a layer, got {step!r:.200}")
    if len(step.weight) not in (2, 4) or any(len(pair) != 2 for pair in pairs):
        raise ValueError(f"wanted the sizes of a layer, got {step!r:.200}")
    if min(*step.stride, *step.dilation, step.groups, *step.weight) < 1:
        raise ValueError("wanted sizes of at least 1")
    for tensor, shape in ((step.input, step.input_shape), (step.output, step.output_shape)):
        if tensor is not None and (not shape or tuple(tensor.shape) != (1, *shape[1:])):
            raise ValueError(f"wanted the first of {shape}, got {tuple(tensor.shape)}")
    if step.convolves and len(step.output_shape) == 4 and 0 in step.output_shape[1:]:
        raise ValueError(f"wanted images, got {step.output_shape}")
    return step


def _spare(steps: list[Step]) -> None:
    """Take the numbers away from layers whose computation would keep the grader busy for long.

    The sizes of outputs may be invented, so they do not count here.
    """
    left = WORK
    for step in steps:
        positions: float = math.prod(step.input_shape[1:-1])
        if step.convolves:
            sides = zip(step.input_shape[2:], step.weight[2:], step.stride, step.padding, step.dilation)
            positions = math.prod(max(0, (n + 2 * p - d * (k - 1) - 1) // s + 1) for n, k, s, p, d in sides)
            if math.prod(step.input_shape[1:2]) * math.prod(step.weight[2:]) * positions > COLUMNS:
                positions = math.inf
        work = math.prod(step.weight) * positions
        if step.input is None:
            continue
        if work <= left:
            left -= work
        else:
            step.input = step.output = None
