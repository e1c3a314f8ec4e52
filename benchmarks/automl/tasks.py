"""Real trainings that cost a few milliseconds an epoch: multilayer perceptrons on scikit-learn's handwritten digits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from tao_skill.automl.space.dimension import Dimension
from tao_skill.automl.space.space import Space

EPOCHS = 27
"""A full training."""

DECAYS = (15, 22)
"""Epochs after which the learning rate decays."""

TAO_DEFAULT = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "dropout": 0.5, "lr_decay": 0.1}
"""The defaults of the packaged train schema."""

SPACE = Space(
    dimensions=(
        Dimension(key="lr", kind="float", low=1e-4, high=1.0, log=True),
        Dimension(key="momentum", kind="float", low=0.5, high=0.99),
        Dimension(key="weight_decay", kind="float", low=1e-6, high=1e-2, log=True),
        Dimension(key="dropout", kind="float", low=0.0, high=0.8),
        Dimension(key="lr_decay", kind="float", low=0.03, high=0.9, log=True),
    )
)
"""The ranges of the packaged train schema."""

Array = NDArray[np.float32]
Metrics = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Task:
    """A training set of the digits, and the layers that learn it; what is left of the digits validates.

    Attributes:
        default: the user's own values, far from the best, as untuned ones are.
    """

    name: str
    images: int
    hidden: tuple[int, ...]
    batch: int
    default: Mapping[str, float]

    def split(self) -> tuple[Array, Array, Array, Array]:
        """Training and validation pixels (N, 64) from 0 to 1, and one-hot classes (N, 10); the same at every call."""
        pixels, classes = load_digits(return_X_y=True)
        order = np.random.default_rng(0).permutation(len(pixels))
        x, y = (pixels[order] / 16).astype(np.float32), np.eye(10, dtype=np.float32)[classes[order]]
        return x[: self.images], y[: self.images], x[self.images :], y[self.images :]


TASKS = (
    Task(name="digits 500", images=500, hidden=(48,), batch=25, default={**TAO_DEFAULT, "lr": 0.002}),
    Task(name="digits 150", images=150, hidden=(32, 32), batch=10, default=TAO_DEFAULT),
)


@dataclass
class Training:
    """A network that can be trained on from where it stopped: SGD with momentum, dropout after each hidden layer.

    Attributes:
        history: metrics of each epoch; not finite once it diverged.
    """

    data: tuple[Array, Array, Array, Array]
    task: Task
    values: Mapping[str, Any]
    seed: int
    history: list[Metrics] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)
        sizes = (self.data[0].shape[1], *self.task.hidden, self.data[1].shape[1])
        pairs = itertools.pairwise(sizes)
        self.weights = [self.rng.normal(0, math.sqrt(2 / a), (a, b)).astype(np.float32) for a, b in pairs]
        self.biases = [np.zeros(b, np.float32) for b in sizes[1:]]
        self.speeds = [np.zeros_like(one) for one in (*self.weights, *self.biases)]

    @property
    def diverged(self) -> bool:
        """Whether its numbers are no numbers any more."""
        return bool(self.history) and not math.isfinite(self.history[-1]["val_loss"])

    def epoch(self) -> Metrics:
        """Train one epoch and validate."""
        x, y, x_val, y_val = self.data
        lr = self.values["lr"] * self.values["lr_decay"] ** sum(len(self.history) >= at for at in DECAYS)
        order = self.rng.permutation(len(x))
        with np.errstate(all="ignore"):
            for start in range(0, len(x), self.task.batch):
                chosen = order[start : start + self.task.batch]
                self._step(x[chosen], y[chosen], np.float32(lr))
            self.history.append(_metrics(self._scores(x_val)[-1], y_val))
        return self.history[-1]

    def _scores(self, x: Array, keep: float = 1.0) -> list[Array]:
        """Input, what each hidden layer puts out, and the log-probabilities."""
        layers = [x]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = np.maximum(layers[-1] @ weight + bias, 0)
            if keep < 1:
                hidden *= (self.rng.random(hidden.shape, np.float32) < keep) / np.float32(keep)
            layers.append(hidden)
        logits = layers[-1] @ self.weights[-1] + self.biases[-1]
        logits -= logits.max(1, keepdims=True)
        return [*layers, logits - np.log(np.exp(logits).sum(1, keepdims=True))]

    def _step(self, x: Array, y: Array, lr: np.float32) -> None:
        keep = 1 - self.values["dropout"]
        *layers, log_p = self._scores(x, keep)
        slope = (np.exp(log_p) - y) / np.float32(len(x))
        of_weights, of_biases = [], []
        for at in reversed(range(len(self.weights))):
            of_weights.insert(0, layers[at].T @ slope)
            of_biases.insert(0, slope.sum(0))
            slope = (slope @ self.weights[at].T) * (layers[at] > 0) / np.float32(keep)
        decay, momentum = np.float32(self.values["weight_decay"]), np.float32(self.values["momentum"])
        parameters = (*self.weights, *self.biases)
        for parameter, speed, gradient in zip(parameters, self.speeds, (*of_weights, *of_biases), strict=True):
            speed *= momentum
            speed += gradient + decay * parameter
            parameter -= lr * speed


def _metrics(log_p: Array, y: Array) -> Metrics:
    loss = float(-(log_p * y).sum(1).mean())
    accuracy = float((log_p.argmax(1) == y.argmax(1)).mean())
    return {"val_acc": accuracy if math.isfinite(loss) else math.nan, "val_loss": loss}
