"""Selection of the devices of a run. Imports no torch at module level."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tao_skill.errors import BadRequest, MissingDependency
from tao_skill.models.pose_classification.config import ExperimentConfig, Gpus
from tao_skill.ranks import LOCAL_WORLD_SIZE
from tao_skill.status import StatusLog

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Devices:
    """Accelerator and devices for Lightning, and a sentence about them for the log."""

    accelerator: str
    devices: int | list[int]
    note: str

    @property
    def processes(self) -> int:
        """Processes on this machine: one per device."""
        return self.devices if isinstance(self.devices, int) else len(self.devices)


def requested_gpus(num_gpus: int, gpu_ids: Sequence[int]) -> list[int]:
    """Indices of the requested GPUs: the larger of num_gpus and gpu_ids is used, as in TAO; duplicates count once."""
    unique_ids = list(dict.fromkeys(gpu_ids))
    return unique_ids if len(unique_ids) >= num_gpus else list(range(num_gpus))


def used_gpus(config: ExperimentConfig, action: str) -> list[int]:
    """Indices of the GPUs that an action uses on a machine with GPUs; only train uses more than one."""
    task = getattr(config, action)
    if (gpu_id := getattr(task, "gpu_id", None)) is not None:
        return [gpu_id]
    if not isinstance(task, Gpus):
        return []
    return requested_gpus(task.num_gpus, task.gpu_ids)[: None if action == "train" else 1]


def plan_devices(
    num_gpus: int, gpu_ids: Sequence[int], available: int, environment: Mapping[str, str] = os.environ
) -> Devices:
    """The requested GPUs; the CPU if the machine has no GPU.

    On the CPU, the number of processes is LOCAL_WORLD_SIZE, which torchrun sets.

    Args:
        available: number of GPUs of this machine.

    Raises:
        MissingDependency: the machine has GPUs, but not all requested ones.
    """
    requested = requested_gpus(num_gpus, gpu_ids)
    if available == 0:
        processes = int(environment.get(LOCAL_WORLD_SIZE, 1))
        where = "on the CPU" if processes == 1 else f"on the CPU in {processes} processes"
        note = f"no GPU found: running {where} instead of GPUs {requested}"
        return Devices(accelerator="cpu", devices=processes, note=note)
    if missing := [index for index in requested if index >= available]:
        raise MissingDependency(
            f"GPUs {missing} do not exist; this machine has {available}",
            fix=f"set num_gpus and gpu_ids within 0..{available - 1}",
        )
    return Devices(accelerator="gpu", devices=requested, note=f"running on GPUs {requested}")


def one_device(devices: Devices, status: StatusLog) -> torch.device:
    """The device of an action that uses only one: the first GPU, or the CPU; logged to the status."""
    import torch

    first = devices.devices[0] if isinstance(devices.devices, list) else 0
    status.write("RUNNING", f"{devices.note[0].upper()}{devices.note[1:]}; a single device is used.")
    return torch.device("cpu" if devices.accelerator == "cpu" else f"cuda:{first}")


def train_processes(config: ExperimentConfig) -> int:
    """Number of training processes on this machine: one per device.

    Raises:
        MissingDependency: the machine has GPUs, but not all requested ones.
    """
    import torch

    return plan_devices(config.train.num_gpus, config.train.gpu_ids, torch.cuda.device_count()).processes


def check_nodes(action: str, num_nodes: int, environment: Mapping[str, str] = os.environ) -> None:
    """Check that a launcher started this process if there are several nodes.

    Raises:
        MissingDependency: launcher variables are missing, so the process would wait for other nodes forever.
    """
    if num_nodes > 1 and "MASTER_ADDR" not in environment:
        raise MissingDependency(
            f"{action}.num_nodes is {num_nodes}, but no launcher started the nodes (MASTER_ADDR is not set)",
            fix=f"set {action}.num_nodes=1, or start every node with torchrun",
            path=f"{action}.num_nodes",
        )


def check_processes(action: str, devices: Devices, num_nodes: int, environment: Mapping[str, str] = os.environ) -> None:
    """Check that the launcher started the number of processes that the spec requires.

    Raises:
        BadRequest: the numbers differ, so some processes would wait for others forever.
    """
    required = devices.processes * num_nodes
    started = int(environment.get("WORLD_SIZE") or required)
    if started != required:
        raise BadRequest(
            f"the launcher started {started} processes, but {action}.num_nodes is {num_nodes} with "
            f"{devices.processes} processes per node, which requires {required}",
            fix=f"set {action}.num_nodes to the number of machines and {action}.num_gpus to the processes on each",
            path=f"{action}.num_nodes",
        )
