"""Progress of a running job, from progress.json: the fraction done and a text for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any


def fraction_done(progress: Mapping[str, Any]) -> float:
    """Return the fraction done, from 0 to 1."""
    if "bytes_total" in progress:
        return float(progress["bytes"] / max(1, progress["bytes_total"]))
    of_batches = progress["batch"] / max(1, progress["batches"])
    return float((progress["epoch"] + of_batches) / progress["epochs"] if "epoch" in progress else of_batches)


def progress_text(progress: Mapping[str, Any]) -> str:
    """Format progress, e.g. `epoch 3/20  loss 0.4123  val_acc 0.9130  ETA 0:01:10`."""
    parts = [transfer_text(progress)] if "bytes_total" in progress else []
    if "epoch" in progress:
        parts.append(f"epoch {progress['epoch'] + 1}/{progress['epochs']}")
    metrics = {"loss": progress.get("train_loss", progress.get("batch_loss")), "val_acc": progress.get("val_acc")}
    parts += [f"{name} {value:.4f}" for name, value in metrics.items() if value is not None]
    eta_s = progress["eta_s"]
    return "  ".join([*parts, *([f"ETA {timedelta(seconds=round(eta_s))}"] if eta_s is not None else [])])


def is_valid_progress(progress: Mapping[str, Any]) -> bool:
    """Whether progress has the fields that `fraction_done`, `progress_text` and the epoch count need."""
    try:
        _ = fraction_done(progress), progress_text(progress), progress.get("epochs_done", 0) >= 0
    except (ArithmeticError, LookupError, StopIteration, TypeError, ValueError):
        return False
    return True


def transfer_text(progress: Mapping[str, Any]) -> str:
    """Format a transfer: the operation, the file or upload target, and the total size."""
    operation = next(name for name in ("staging", "uploading", "converting") if name in progress)
    return f"{operation} {progress[operation]}  {progress['bytes_total'] / 2**20:.1f} MiB"
