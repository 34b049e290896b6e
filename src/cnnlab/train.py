"""Training and evaluating a classifier: a plain loop, and around it what keeps a long run from being lost.

The loop itself is :func:`_train_epoch`. The rest is bookkeeping: a history of plain numbers, a progress bar,
checkpoints from which a run continues exactly, and errors that say what to change.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from cnnlab.data import Batches, ImageData
from cnnlab.i18n import text

OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {"lr": 0.1}),
    "momentum": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "adam": (torch.optim.Adam, {"lr": 0.001}),
    "adamw": (torch.optim.AdamW, {"lr": 0.001, "weight_decay": 0.01}),
}
WARM_UP = 0.2  # part of a one-cycle run in which the learning rate rises


class TrainingDiverged(FloatingPointError):
    """The loss became NaN or infinite. ``error.history`` holds the run up to there."""

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


@dataclass
class History:
    """What a run of :func:`fit` measured, as plain numbers.

    Attributes
    ----------
    epoch : list of float
        Epochs done at each entry of the lists below: 1, 2, ... (and a last broken one for ``epochs=0.6``).
    train_loss, train_accuracy : list of float
        Mean over the samples of the epoch, measured in training mode while the weights were still changing.
    test_loss, test_accuracy : list of float
        Measured on every test sample at the end of the epoch; empty without test data.
    seconds : list of float
        Wall time of each epoch, evaluation included.
    step_loss, step_lr : list of float
        Loss and learning rate of every step.
    stopped : str
        ``"finished"``, or ``"interrupted"`` after Ctrl-C or the notebook's stop button.
    """

    epoch: list[float] = field(default_factory=list)
    train_loss: list[float] = field(default_factory=list)
    train_accuracy: list[float] = field(default_factory=list)
    test_loss: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    step_loss: list[float] = field(default_factory=list)
    step_lr: list[float] = field(default_factory=list)
    stopped: str = "finished"

    def __repr__(self) -> str:
        return f"History({self.summary()})"

    def summary(self) -> str:
        """The last epoch in one line."""
        names = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")
        last = [f"{name}={values[-1]:.4f}" for name in names if (values := getattr(self, name))]
        return ", ".join([f"epoch={self.epoch[-1] if self.epoch else 0:g}", *last])

    def add_epoch(
        self,
        epoch: float,
        train_loss: float,
        train_accuracy: float,
        result: Evaluation | None,
        seconds: float,
    ) -> None:
        """Enter what one epoch gave; `result` is the evaluation of the test data, if there is any."""
        self.train_loss.append(train_loss)
        self.train_accuracy.append(train_accuracy)
        if result is not None:
            self.test_loss.append(result.loss)
            self.test_accuracy.append(result.accuracy)
        self.seconds.append(seconds)
        self.epoch.append(epoch)

    def forget_broken_epoch(self, steps_per_epoch: int) -> None:
        """Cut all lists back to whole epochs, after a run was stopped in the middle of one."""
        for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy", "seconds"):
            del getattr(self, name)[len(self.epoch) :]
        steps = round(self.epoch[-1] * steps_per_epoch) if self.epoch else 0
        del self.step_loss[steps:], self.step_lr[steps:]

    def to_dict(self) -> dict[str, Any]:
        """A dictionary of lists that ``json`` can write."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> History:
        """The history that :meth:`to_dict` was called on."""
        return cls(**values)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How a model does on a data set; every sample counts once.

    Attributes
    ----------
    loss : float
        Mean cross entropy.
    accuracy : float
        Part of the samples that were classified correctly, 0-1.
    probabilities : ndarray of float32, shape (N, K)
        Softmax of the outputs.
    labels, predictions : ndarray of int64, shape (N,)
    """

    loss: float
    accuracy: float
    probabilities: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray

    def __repr__(self) -> str:
        return f"Evaluation(loss={self.loss:.4f}, accuracy={self.accuracy:.4f}, samples={len(self.labels)})"

    def mistakes(self) -> np.ndarray:
        """Indices of the samples that were classified wrongly, the most confident mistake first."""
        wrong = np.flatnonzero(self.predictions != self.labels)
        return wrong[np.argsort(-self.probabilities[wrong, self.predictions[wrong]], kind="stable")]

    def confusion(self) -> np.ndarray:
        """Counts, shape (K, K): row the true class, column the predicted one."""
        K = self.probabilities.shape[1]
        return np.bincount(self.labels * K + self.predictions, minlength=K * K).reshape(K, K)


def choose_device() -> torch.device:
    """The fastest device there is: ``cuda``, else ``mps``, else ``cpu``."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def set_seed(seed: int) -> None:
    """Start the random numbers of Python, NumPy and torch (all devices) from `seed`."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def fit(
    model: nn.Module,
    train: Any,
    test: Any = None,
    *,
    epochs: float,
    batch_size: int = 128,
    optimizer: Any = "adam",
    lr: float | None = None,
    schedule: Any = None,
    shift: int = 0,
    label_smoothing: float = 0.0,
    device: str | torch.device | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike | None = None,
    resume: bool = True,
    progress: bool = True,
) -> History:
    """Train `model` as a classifier with cross entropy.

    Parameters
    ----------
    model : nn.Module
        Maps images (N, C, H, W) to logits (N, K). It is moved to `device` and left there in evaluation mode.
    train, test : ImageData, Batches or DataLoader
        An ``ImageData`` is cut into ``Batches``, for training shuffled, of `batch_size` and with `shift`;
        ``Batches`` and a ``DataLoader`` bring their own, and those two arguments are not looked at.
    epochs : float
        Passes through `train`; 0.6 stops after that part of the first pass.
    optimizer : str, callable or torch.optim.Optimizer
        ``"sgd"``, ``"momentum"`` (SGD with momentum 0.9), ``"adam"``, ``"adamw"``; or a function that makes
        an optimizer from the parameters, such as ``lambda p: torch.optim.RMSprop(p, lr=0.01)``; or one made
        already from this model's parameters.
    lr : float, optional
        Learning rate, for an optimizer given by name; default 0.1, 0.05, 0.001, 0.001 in the order above.
    schedule : None, "one-cycle" or callable
        None keeps the learning rate. ``"one-cycle"`` raises it linearly from 0 to `lr` during the first fifth
        of all steps and lowers it linearly to 0 during the rest. A function gets the part of the run that is
        done, 0-1, and returns a factor for the learning rate.
    shift : int
        See ``Batches``: largest random shift of the training images in pixels.
    label_smoothing : float
        See ``torch.nn.functional.cross_entropy``; for the training loss only.
    device : str or torch.device, optional
        Default :func:`choose_device`.
    seed : int
        Everything random in the run (order, shifts, dropout) follows from `seed` and the number of the epoch.
        The random numbers outside the run go on afterwards as if `fit` had not been called. The weights that
        the model starts with are made before, so call :func:`set_seed` before making the model.
    checkpoint : path, optional
        File that is written after each epoch, always whole. The best epoch so far (by test accuracy, without
        test data by training loss) is kept beside it: ``run.pt`` and ``run.best.pt``.
    resume : bool
        Go on from `checkpoint` if that file exists: the weights become, on the CPU bit for bit, those of a
        run without interruption. False starts anew and overwrites it.
    progress : bool
        Whether to show a progress bar.

    Returns
    -------
    History
        Also after Ctrl-C or the notebook's stop button: then one line says so, ``history.stopped`` is
        ``"interrupted"``, the model keeps the weights of that moment, and the checkpoint those of the last
        whole epoch. The next cells can go on with both.

    Raises
    ------
    TrainingDiverged
        A ``FloatingPointError``: the loss became NaN or infinite. The step that would have followed from it
        is not taken, and no checkpoint is written from it.
    ValueError
        If an argument makes no sense, or the checkpoint was made with other settings.
    """
    if not (math.isfinite(epochs) and epochs > 0):
        raise ValueError(f"epochs must be a number above 0, got {epochs}")
    device = torch.device(device) if device is not None else choose_device()
    loader = _loader(train, batch_size, shuffle=True, seed=seed, device=device, shift=shift)
    if len(loader) == 0:
        raise ValueError("there are no training batches: the training data is empty")
    total_steps = max(1, round(epochs * len(loader)))
    model.to(device)
    if device.type != "mps":
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # same numbers, faster layout
    updater = _make_optimizer(optimizer, model, lr)
    settings = {}
    if checkpoint is not None:
        settings = _settings(model, loader, updater, epochs, schedule, label_smoothing, seed)
    scheduler = torch.optim.lr_scheduler.LambdaLR(updater, _make_schedule(schedule, total_steps))
    run = _Run(model, updater, scheduler, settings, History(), checkpoint)
    run.begin(resume)
    history = run.history
    with _own_random_numbers(device), _progress_bar(total_steps, len(history.step_loss), progress) as bar:
        try:
            while (done := len(history.step_loss)) < total_steps:
                start = time.perf_counter()
                _restart_random_numbers(loader, seed, epoch=len(history.epoch))
                batches = islice(loader, total_steps - done)
                train_loss, train_accuracy = _train_epoch(run, batches, device, label_smoothing, bar)
                result = None if test is None else evaluate(model, test, device=device)
                history.add_epoch(
                    len(history.step_loss) / len(loader),
                    train_loss,
                    train_accuracy,
                    result,
                    time.perf_counter() - start,
                )
                history.stopped = "finished" if len(history.step_loss) >= total_steps else "interrupted"
                bar.set_postfix_str(history.summary())
                run.save()
        except KeyboardInterrupt:
            history.stopped = "interrupted"
            history.forget_broken_epoch(len(loader))
            print(text("train.interrupted", epochs=len(history.epoch), kept=_kept(checkpoint)).rstrip())
        finally:
            model.eval()
    return history


def _train_epoch(
    run: _Run, batches: Iterable, device: torch.device, label_smoothing: float, bar: Any
) -> tuple[float, float]:
    """Train once on each of `batches`; return the mean loss and the accuracy over all their samples."""
    model, optimizer, scheduler, history = run.model, run.optimizer, run.scheduler, run.history
    total_loss, correct, seen = 0.0, 0, 0
    model.train()
    for images, labels in batches:
        images, labels = images.to(device), labels.to(device)  # (N, C, H, W), (N,)
        logits = model(images)  # (N, K)
        loss = F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
        if not math.isfinite(loss.item()):
            raise _diverged(run, loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

        history.step_loss.append(loss.item())
        history.step_lr.append(optimizer.param_groups[0]["lr"])
        scheduler.step()
        total_loss += loss.item() * len(labels)
        correct += int((logits.argmax(dim=1) == labels).sum())
        seen += len(labels)
        bar.update()
    return total_loss / seen, correct / seen


def evaluate(
    model: nn.Module, data: Any, *, batch_size: int = 250, device: str | torch.device | None = None
) -> Evaluation:
    """Run `model` in evaluation mode on every sample of `data`, without gradients.

    Parameters
    ----------
    model : nn.Module
        Maps images (N, C, H, W) to logits (N, K). It comes back in the mode that it was in.
    data : ImageData, Batches or DataLoader
        Labels and predictions come back in the order in which it gives the samples.
    batch_size : int
        Samples at a time, where `data` is an `ImageData`.
    device : optional
        Default: where the model's parameters are.

    Raises
    ------
    ValueError
        If `data` is empty.
    """
    if device is None:
        device = next((p.device for p in model.parameters()), torch.device("cpu"))
    loader = _loader(data, batch_size, shuffle=False, seed=0, device=device, shift=0)
    if len(loader) == 0:
        raise ValueError("there is nothing to evaluate: the data is empty")
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad():
            pairs = [(model(images.to(device)), labels.to(device)) for images, labels in loader]
    finally:
        for module, mode in modes.items():
            module.training = mode
    logits = torch.cat([logits for logits, _ in pairs])  # (N, K)
    labels = torch.cat([labels for _, labels in pairs])  # (N,)
    predictions = logits.argmax(dim=1)  # (N,)
    return Evaluation(
        loss=F.cross_entropy(logits, labels).item(),
        accuracy=(predictions == labels).sum().item() / len(labels),
        probabilities=logits.softmax(dim=1).cpu().numpy(),
        labels=labels.cpu().numpy(),
        predictions=predictions.cpu().numpy(),
    )


def load_checkpoint(path: str | os.PathLike, model: nn.Module) -> History:
    """Put the weights of a checkpoint that :func:`fit` wrote into `model`, and return the run's history.

    Nothing in the file is executed (``torch.load`` with ``weights_only=True``).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not a whole checkpoint, or is one of another model.
    """
    state = _read_checkpoint(path)
    shapes = _shapes(model)
    if state["settings"]["model"] != shapes:
        raise ValueError(_difference(path, {"model": state["settings"]["model"]}, {"model": shapes}))
    model.load_state_dict(state["model"])
    return History.from_dict(state["history"])


@dataclass
class _Run:
    """All that changes during a run, so that it can be written down and taken up again."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.LambdaLR
    settings: dict[str, Any]
    history: History
    checkpoint: str | os.PathLike | None

    def begin(self, resume: bool) -> None:
        """Take up the run that the checkpoint holds, or write the first one, so that there always is one."""
        if self.checkpoint is None:
            return
        if resume and Path(self.checkpoint).exists():
            self.load()
        else:
            best_path(self.checkpoint).unlink(missing_ok=True)
            self.save()

    def save(self) -> None:
        """Write the checkpoint, and before it the best one if the last epoch was the best so far."""
        if self.checkpoint is None:
            return
        state = {
            "settings": self.settings,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": {"last_epoch": self.scheduler.last_epoch},
            "history": self.history.to_dict(),
        }
        scores = self.history.test_accuracy or [-loss for loss in self.history.train_loss]
        if scores and scores[-1] > max(scores[:-1], default=-math.inf):
            _write_whole(state, best_path(self.checkpoint))
        _write_whole(state, Path(self.checkpoint))

    def load(self) -> None:
        """Take up the run that the checkpoint holds, if it is one with the same settings."""
        assert self.checkpoint is not None
        state = _read_checkpoint(self.checkpoint)
        before, now = dict(state["settings"]), dict(self.settings)
        if (
            now["schedule"] == "None"
            and before["epochs"] <= now["epochs"]
            and float(before["epochs"]).is_integer()
        ):
            before["epochs"] = now["epochs"]  # without a schedule, a run may be made longer
        if before != now:
            raise ValueError(_difference(self.checkpoint, before, now))
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.last_epoch = state["scheduler"]["last_epoch"]
        self.history = History.from_dict(state["history"])


def best_path(checkpoint: str | os.PathLike) -> Path:
    """Where :func:`fit` keeps the best epoch of a run: ``run.best.pt`` for ``run.pt``."""
    path = Path(checkpoint)
    return path.with_name(f"{path.stem}.best{path.suffix}")


def _write_whole(state: dict[str, Any], path: Path) -> None:
    """Write beside the target first, so that the file that is there stays whole until the new one is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_checkpoint(path: str | os.PathLike) -> dict[str, Any]:
    if not Path(path).exists():
        raise FileNotFoundError(f"there is no checkpoint {os.fspath(path)!r}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        whole = {"settings", "model", "optimizer", "scheduler", "history"} <= set(state)
    except Exception as error:  # torch raises a different type for every way in which a file can be broken
        raise ValueError(text("train.bad_checkpoint", file=path)) from error
    if not whole:
        raise ValueError(text("train.bad_checkpoint", file=path))
    return state


def _difference(path: Any, before: dict[str, Any], now: dict[str, Any]) -> str:
    names = [name for name in now if before.get(name) != now[name]]
    lines = [f"{name}: {_short(before.get(name))} -> {_short(now[name])}" for name in names]
    return text("train.other_settings", file=path, settings="; ".join(lines))


def _short(value: Any) -> str:
    shown = str(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def _shapes(model: nn.Module) -> str:
    """The model as its checkpoint sees it: the name and shape of every saved tensor."""
    return ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in model.state_dict().items())


def _settings(
    model: nn.Module,
    loader: Any,
    optimizer: torch.optim.Optimizer,
    epochs: float,
    schedule: Any,
    label_smoothing: float,
    seed: int,
) -> dict[str, Any]:
    """What has to be the same for a run to continue, as plain values under names that the reader knows."""
    settings = {
        "model": _shapes(model),
        "data": _fingerprint(loader),
        "batch_size": loader.batch_size,
        "shift": getattr(loader, "shift", 0),
        "optimizer": type(optimizer).__name__,
        "epochs": epochs,
        "schedule": getattr(schedule, "__qualname__", str(schedule)),
        "label_smoothing": label_smoothing,
        "seed": seed,
    }
    for name in ("lr", "momentum", "betas", "alpha", "eps", "weight_decay", "nesterov", "dampening"):
        if name in optimizer.defaults:
            settings[name] = str([group[name] for group in optimizer.param_groups])
    return settings


def _fingerprint(loader: Any) -> str:
    """Name and contents of the data in one short string; of a DataLoader's data only the type and size."""
    if isinstance(loader, Batches):
        data = loader.data
        contents = zlib.crc32(data.labels.tobytes(), zlib.crc32(data.images.tobytes()))
        return f"{data.name} {len(data)} {contents:08x}"
    return f"{type(loader.dataset).__name__} {len(loader.dataset)}"


def _loader(data: Any, batch_size: int, *, shuffle: bool, seed: int, device: Any, shift: int) -> Any:
    """`data` as something to iterate over in batches."""
    if isinstance(data, ImageData):
        return Batches(data, batch_size, shuffle=shuffle, seed=seed, device=device, shift=shift)
    if isinstance(data, (Batches, torch.utils.data.DataLoader)):
        return data
    raise TypeError(f"data must be ImageData, Batches or a DataLoader, got {type(data).__name__}")


def _make_optimizer(optimizer: Any, model: nn.Module, lr: float | None) -> torch.optim.Optimizer:
    if isinstance(optimizer, str):
        if optimizer not in OPTIMIZERS:
            raise ValueError(f"unknown optimizer {optimizer!r}; known optimizers: {', '.join(OPTIMIZERS)}")
        kind, options = OPTIMIZERS[optimizer]
        options = options if lr is None else {**options, "lr": lr}
        try:
            return kind(model.parameters(), **options, fused=True)  # one pass over all weights
        except (RuntimeError, TypeError):  # not on this device, or not in this torch
            return kind(model.parameters(), **options)
    if lr is not None:
        raise ValueError("lr is for an optimizer given by name; this one brings its own learning rate")
    made = optimizer if isinstance(optimizer, torch.optim.Optimizer) else optimizer(model.parameters())
    if not isinstance(made, torch.optim.Optimizer):
        raise TypeError(f"optimizer must give a torch.optim.Optimizer, got {type(made).__name__}")
    held = {id(p) for group in made.param_groups for p in group["params"]}
    if not held <= {id(p) for p in model.parameters()}:
        raise ValueError("the optimizer holds parameters of another model")
    return made


def one_cycle(done: float) -> float:
    """Factor for the learning rate when the part `done` (0-1) of the steps is over: up to 1, then down to 0.

    Source: L. Smith, N. Topin, Super-Convergence, 2018 (the triangular form).
    """
    return done / WARM_UP if done < WARM_UP else (1 - done) / (1 - WARM_UP)


def _make_schedule(schedule: Any, total_steps: int) -> Callable[[int], float]:
    if schedule is None:
        return lambda step: 1.0
    if isinstance(schedule, str):
        if schedule not in SCHEDULES:
            raise ValueError(f"unknown schedule {schedule!r}; known schedules: {', '.join(SCHEDULES)}")
        schedule = SCHEDULES[schedule]
    if not callable(schedule):
        raise TypeError(f"schedule must be None, a name or a function, got {type(schedule).__name__}")
    return lambda step: schedule(min(1.0, (step + 0.5) / total_steps))


SCHEDULES = {"one-cycle": one_cycle}


def _diverged(run: _Run, loss: float) -> TrainingDiverged:
    lr = run.optimizer.param_groups[0]["lr"]
    message = text(
        "train.diverged",
        loss=loss,
        step=len(run.history.step_loss) + 1,
        lr=f"{lr:g}",
        smaller=f"{lr / 10:g}",
        kept=_kept(run.checkpoint),
    )
    return TrainingDiverged(message.rstrip(), run.history)


def _kept(checkpoint: Any) -> str:
    return "" if checkpoint is None else text("train.kept", file=checkpoint)


def _restart_random_numbers(loader: Any, seed: int, epoch: int) -> None:
    """Let all that is random in an epoch follow from `seed` and its number, so that it can be repeated."""
    epoch_seed = seed + 1_000_003 * epoch
    set_seed(epoch_seed)
    if isinstance(loader, Batches):
        loader.epoch = epoch
    for owner in (loader, getattr(loader, "sampler", None)):
        generator = getattr(owner, "generator", None)
        if generator is not None:
            generator.manual_seed(epoch_seed)


@contextlib.contextmanager
def _own_random_numbers(device: torch.device) -> Iterator[None]:
    """Give Python, NumPy and torch their random numbers back as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextlib.contextmanager
def _progress_bar(total: int, done: int, shown: bool) -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # without widgets, a bar of text
        from tqdm.auto import tqdm
    with tqdm(total=total, initial=done, disable=not shown, unit="step") as bar:
        yield bar
