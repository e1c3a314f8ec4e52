"""What progress.json says of a running job, in words and as a share."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any


def share(progress: Mapping[str, Any]) -> float:
    """How much is done, 0 to 1."""
    if "bytes_total" in progress:
        return float(progress["bytes"] / max(1, progress["bytes_total"]))
    inside = progress["batch"] / max(1, progress["batches"])
    return float((progress["epoch"] + inside) / progress["epochs"] if "epoch" in progress else inside)


def words(progress: Mapping[str, Any]) -> str:
    """`epoch 3/20  loss 0.4123  val_acc 0.9130  ETA 0:01:10`."""
    parts = [moving_file(progress)] if "bytes_total" in progress else []
    if "epoch" in progress:
        parts.append(f"epoch {progress['epoch'] + 1}/{progress['epochs']}")
    named = {"loss": progress.get("train_loss", progress.get("batch_loss")), "val_acc": progress.get("val_acc")}
    parts += [f"{name} {value:.4f}" for name, value in named.items() if value is not None]
    eta_s = progress["eta_s"]
    return "  ".join([*parts, *([f"ETA {timedelta(seconds=round(eta_s))}"] if eta_s is not None else [])])


def can_be_told(progress: Mapping[str, Any]) -> bool:
    """Whether it has what `share`, `words` and the count of epochs need."""
    try:
        told = share(progress), words(progress), progress.get("epochs_done", 0) >= 0
    except (ArithmeticError, LookupError, StopIteration, TypeError, ValueError):
        return False
    return bool(told)


def moving_file(progress: Mapping[str, Any]) -> str:
    """Which file is fetched or read, or where the results go, and how much that is."""
    doing = next(word for word in ("staging", "uploading", "converting") if word in progress)
    return f"{doing} {progress[doing]}  {progress['bytes_total'] / 2**20:.1f} MiB"
