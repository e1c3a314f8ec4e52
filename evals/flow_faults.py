"""Twelve faults: for each the call that meets it, and the preparation of the fault."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import numpy as np
from flow_client import Call

WITHOUT_SCIPY: Final = """\
import importlib.machinery
import sys

HIDDEN = {"scipy", "sklearn", "scikit-learn"}


class WithoutSciPy(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in HIDDEN else super().find_spec(name, path, target)

    @classmethod
    def find_distributions(cls, *context):
        return (found for found in super().find_distributions(*context) if found.name not in HIDDEN)


sys.meta_path[sys.meta_path.index(importlib.machinery.PathFinder)] = WithoutSciPy
"""
"""A sitecustomize.py that hides SciPy and packages that require it, as if they were not installed."""

SMALL: Final = "small"
"""Mount point of a disk of 100 KiB, large enough for the record of a job but not for its results."""

_MOUNTED: Final = 'mount -t tmpfs -o size=100k none "$1" && shift && exec "$@"'


@dataclass(frozen=True, kw_only=True)
class Server:
    """The start of a server: a command that wraps it, additional options, and additional environment variables."""

    wrapper: Sequence[str] = ()
    options: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault.

    Attributes:
        call: prepares the fault and returns the call that meets it. earlier_call: a call of another client before.
        server: the server of the fault, None for the common server, or the reason why it cannot be started.
        meanwhile: a task that runs during the call.
    """

    call: Callable[[Path], Call]
    earlier_call: Callable[[Path], Call] | None = None
    server: Callable[[Path], Server | str | None] = lambda root: None
    meanwhile: Callable[[Path], Any] | None = None


def training(root: Path, *overrides: str, **arguments: Any) -> Call:
    """A direct training of one epoch on the sample."""
    data = root / "data"
    files = [
        f"{split}_{name}={data / f'{split}_{file}'}"
        for split in ("train", "val")
        for name, file in (("data", "data.npy"), ("labels", "label.pkl"))
    ]
    pairs = [*files, "lr=0.02", "batch_size=6", "num_workers=0", "epochs=1", *overrides]
    defaults = {"action": "train", "automl": "off", "overrides": pairs, "wait_s": 50}
    return Call(tool="run_action", arguments=defaults | arguments)


def conversion(root: Path, *overrides: str, **arguments: Any) -> Call:
    """The conversion of the recording to sequences."""
    pairs = [f"dataset_convert.data={root / 'recording.json'}", *overrides]
    defaults = {"action": "dataset_convert", "overrides": pairs, "wait_s": 50}
    return Call(tool="run_action", arguments=defaults | arguments)


def _evaluation(parent: str) -> Call:
    return Call(tool="run_action", arguments={"action": "evaluate", "parent": parent, "wait_s": 50})


def _label_outside(root: Path) -> Call:
    names, ids = pickle.loads((root / "data" / "train_label.pkl").read_bytes())
    path = root / "data" / "more_label.pkl"
    path.write_bytes(pickle.dumps([names, [6, *ids[1:]]], protocol=2))
    return training(root, f"train_labels={path}")


def _not_finite(root: Path) -> Call:
    data_NCTVM = np.load(root / "data" / "train_data.npy")
    data_NCTVM[1, :, 2, 5] = np.nan
    path = root / "data" / "holes.npy"
    np.save(path, data_NCTVM)
    return training(root, f"train_data={path}")


def _search(root: Path, **arguments: Any) -> Call:
    return training(root, automl="on", trials=2, max_epochs=1, **arguments)


async def _kill(root: Path) -> None:
    """Send SIGKILL to the training with the key `night` after its first checkpoint."""
    while True:
        for path in (root / "results").glob("train-*/job.json"):
            job = json.loads(path.read_text("utf-8"))
            if job["key"] == "night" and job["state"] == "RUNNING" and any(path.parent.rglob("pc_model_latest.pth")):
                os.kill(job["attempts"][-1]["pid"], signal.SIGKILL)
                return
        await anyio.sleep(0.02)


def _without_scipy(root: Path) -> Server:
    folder = root / "without_scipy"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(WITHOUT_SCIPY, "utf-8")
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return Server(environment={"PYTHONPATH": path})


def _small_disk(root: Path) -> Server | str:
    folder = root / SMALL
    folder.mkdir(exist_ok=True)
    namespace = ["unshare", "--map-root-user", "--mount"]
    mount = [*namespace, "mount", "-t", "tmpfs", "none", str(folder)]
    if not shutil.which("unshare"):
        return "unshare is not installed"
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        return "mounting a disk is not permitted on this machine"
    return Server(
        wrapper=[*namespace, "sh", "-c", _MOUNTED, "sh", str(folder)], options=["--results-root", str(folder)]
    )


FAULTS: Final[Mapping[str, Fault]] = {
    "wrong parent": Fault(call=lambda root: _evaluation("latest:dataset_convert")),
    "wrong layout": Fault(call=lambda root: training(root, "graph_layout=openpose")),
    "label out of range": Fault(call=_label_outside),
    "typo in a key": Fault(call=lambda root: conversion(root, "dataset_convert.sequence_lenght=12")),
    "missing file": Fault(call=lambda root: conversion(root, f"dataset_convert.data={root / 'recordnig.json'}")),
    "killed worker": Fault(call=lambda root: training(root, "epochs=12", key="night"), meanwhile=_kill),
    "full results root": Fault(call=conversion, server=_small_disk),
    "busy key": Fault(
        call=lambda root: conversion(root, "dataset_convert.sequence_length=12", key="mine"),
        earlier_call=lambda root: conversion(root, key="mine"),
    ),
    "missing extra": Fault(call=lambda root: _search(root, sampler="gp"), server=_without_scipy),
    "bad range": Fault(call=lambda root: _search(root, search=["lr=0.1:0.001"])),
    "NaN data": Fault(call=_not_finite),
    "unwritable path": Fault(call=lambda root: conversion(root, f"results_dir={root / 'recording.json'}/out")),
}
