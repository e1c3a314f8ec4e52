"""Which devices a run uses. Importing it imports no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tao_skill.errors import MissingDependency
from tao_skill.status import StatusLog

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Devices:
    """Lightning's accelerator and devices, and one sentence for the log."""

    accelerator: str
    devices: int | list[int]
    note: str


def plan_devices(num_gpus: int, gpu_ids: Sequence[int], available: int) -> Devices:
    """Reconcile num_gpus with gpu_ids as TAO does: the one that implies more GPUs wins.

    Raises:
        MissingDependency: GPUs are present, but not those asked for.
    """
    wanted = list(gpu_ids) if len(gpu_ids) >= num_gpus else list(range(num_gpus))
    if available == 0:
        return Devices(accelerator="cpu", devices=1, note=f"no GPU found: running on the CPU instead of GPUs {wanted}")
    if missing := [index for index in wanted if index >= available]:
        raise MissingDependency(
            f"GPUs {missing} do not exist; this machine has {available}",
            fix=f"set num_gpus and gpu_ids within 0..{available - 1}",
        )
    return Devices(accelerator="gpu", devices=wanted, note=f"running on GPUs {wanted}")


def one_device(devices: Devices, status: StatusLog) -> torch.device:
    """The device of an action that uses one: the first GPU planned, or the CPU; it is said in the status."""
    import torch

    first = devices.devices[0] if isinstance(devices.devices, list) else 0
    status.write("RUNNING", f"{devices.note[0].upper()}{devices.note[1:]}; one device is used.")
    return torch.device("cpu" if devices.accelerator == "cpu" else f"cuda:{first}")


def check_nodes(action: str, num_nodes: int, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse several nodes unless a launcher has started this process as one of them.

    Raises:
        MissingDependency: no launcher variables, so waiting for other nodes would never end.
    """
    if num_nodes > 1 and "MASTER_ADDR" not in environment:
        raise MissingDependency(
            f"{action}.num_nodes is {num_nodes}, but no launcher started the nodes (MASTER_ADDR is not set)",
            fix=f"set {action}.num_nodes=1, or start every node with torchrun",
            path=f"{action}.num_nodes",
        )
