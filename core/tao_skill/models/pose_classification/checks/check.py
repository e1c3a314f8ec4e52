"""Check a spec against its data before a job exists. Imports no torch; reads array headers and label files only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from tao_skill.errors import Problem
from tao_skill.models.pose_classification.checks import conversion, data_files, deployment, network, training
from tao_skill.models.pose_classification.config import ON_MODEL, ExperimentConfig, Gpus
from tao_skill.models.pose_classification.training.devices import requested_gpus, used_gpus
from tao_skill.outcome import Advice


def check(config: ExperimentConfig, action: str) -> Advice:
    """Report everything that would fail (problems) or give poor results (warnings) with this spec on this data.

    Remote data are skipped; the job repeats the check on its local copies.
    """
    problems = list(data_files.missing_files(config, action)) or list(_problems(config, action))
    if problems or action not in _PROBLEMS:
        return Advice(problems=problems)
    return Advice(
        problems=problems,
        warnings=[*_gpu_warnings(config, action), *_warnings(config, action)],
        direct=list(training.direct_warnings(config)) if action == "train" else [],
        gpus=used_gpus(config, action),
    )


def _problems(config: ExperimentConfig, action: str) -> Iterator[Problem]:
    """The problems of an action; of several with the same key and fix, the first."""
    if action not in _PROBLEMS:
        return
    if action in ON_MODEL and (faults := list(network.network_problems(config.model))):
        yield from faults
        return
    first: dict[tuple[str, str], Problem] = {}
    for problem in (*data_files.label_map_problems(config.dataset), *_PROBLEMS[action](config)):
        first.setdefault((problem.key, problem.fix), problem)
    yield from first.values()


def _warnings(config: ExperimentConfig, action: str) -> Iterator[str]:
    if action in ON_MODEL and config.dataset.label_map is None:
        yield from data_files.class_name_warnings(config.dataset, action)
    if action in _WARNINGS:
        yield from _WARNINGS[action](config)


def _gpu_warnings(config: ExperimentConfig, action: str) -> Iterator[str]:
    """GPUs that are requested but not used, and a num_gpus that contradicts gpu_ids."""
    task, default = getattr(config, action), Gpus()
    if not isinstance(task, Gpus):
        return
    requested, used = requested_gpus(task.num_gpus, task.gpu_ids), used_gpus(config, action)
    keys = f"{action}.num_gpus={task.num_gpus} and {action}.gpu_ids={task.gpu_ids}"
    if action != "train" and len(requested) > 1:
        yield f"{action} uses one GPU, number {used[0]}, of the {len(requested)} that {keys} request"
    both_set = task.num_gpus != default.num_gpus and task.gpu_ids != default.gpu_ids
    if action == "train" and both_set and task.num_gpus != len(set(task.gpu_ids)):
        yield f"{keys} do not agree: the larger is used, GPUs {used}"


def _test_set_problems(action: str) -> Callable[[ExperimentConfig], Iterator[Problem]]:
    def problems(config: ExperimentConfig) -> Iterator[Problem]:
        files = getattr(config, action).test_dataset
        key = f"{action}.test_dataset.data_path"
        yield from data_files.sequence_problems(config, key, files.data_path, label_path=files.label_path)

    return problems


_PROBLEMS: Final[Mapping[str, Callable[[ExperimentConfig], Iterator[Problem]]]] = MappingProxyType(
    {
        "train": training.train_problems,
        "evaluate": _test_set_problems("evaluate"),
        "inference": _test_set_problems("inference"),
        "export": deployment.export_problems,
        "dataset_convert": conversion.dataset_convert_problems,
        "gen_trt_engine": deployment.gen_trt_engine_problems,
    }
)

_WARNINGS: Final[Mapping[str, Callable[[ExperimentConfig], Iterator[str]]]] = MappingProxyType(
    {"train": training.train_warnings, "gen_trt_engine": deployment.gen_trt_engine_warnings}
)
