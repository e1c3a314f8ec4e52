"""Which devices a run uses. Importing it imports no torch."""

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
    """Lightning's accelerator and devices, and one sentence for the log."""

    accelerator: str
    devices: int | list[int]
    note: str

    @property
    def processes(self) -> int:
        """Processes on this machine: one a device."""
        return self.devices if isinstance(self.devices, int) else len(self.devices)


def requested_gpus(num_gpus: int, gpu_ids: Sequence[int]) -> list[int]:
    """Indices of the GPUs asked for: of num_gpus and gpu_ids the larger is used, as in TAO; one named twice is one."""
    named = list(dict.fromkeys(gpu_ids))
    return named if len(named) >= num_gpus else list(range(num_gpus))


def used_gpus(config: ExperimentConfig, action: str) -> list[int]:
    """Indices of the GPUs that an action uses where there are GPUs; only train uses more than one."""
    task = getattr(config, action)
    if (gpu_id := getattr(task, "gpu_id", None)) is not None:
        return [gpu_id]
    if not isinstance(task, Gpus):
        return []
    return requested_gpus(task.num_gpus, task.gpu_ids)[: None if action == "train" else 1]


def plan_devices(
    num_gpus: int, gpu_ids: Sequence[int], available: int, environment: Mapping[str, str] = os.environ
) -> Devices:
    """The `requested_gpus` that there are; the CPU where there is no GPU at all.

    There as many processes share the CPU as LOCAL_WORLD_SIZE says, which torchrun sets.

    Raises:
        MissingDependency: GPUs are present, but not those asked for.
    """
    wanted = requested_gpus(num_gpus, gpu_ids)
    if available == 0:
        processes = int(environment.get(LOCAL_WORLD_SIZE, 1))
        where = "on the CPU" if processes == 1 else f"on the CPU in {processes} processes"
        note = f"no GPU found: running {where} instead of GPUs {wanted}"
        return Devices(accelerator="cpu", devices=processes, note=note)
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


def train_processes(config: ExperimentConfig) -> int:
    """How many processes of this machine train: one a device.

    Raises:
        MissingDependency: GPUs are present, but not those asked for.
    """
    import torch

    return plan_devices(config.train.num_gpus, config.train.gpu_ids, torch.cuda.device_count()).processes


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


def check_processes(action: str, devices: Devices, num_nodes: int, environment: Mapping[str, str] = os.environ) -> None:
    """Refuse to train with fewer or more processes than a launcher has started.

    Raises:
        BadRequest: the numbers differ, so some processes would wait for others without end.
    """
    wanted = devices.processes * num_nodes
    started = int(environment.get("WORLD_SIZE") or wanted)
    if started != wanted:
        raise BadRequest(
            f"the launcher started {started} processes, but {action}.num_nodes={num_nodes} machines "
            f"with {devices.processes} each make {wanted}",
            fix=f"set {action}.num_nodes and {action}.num_gpus to the machines and the processes on each",
            path=f"{action}.num_nodes",
        )
