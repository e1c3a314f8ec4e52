"""Inference functions: how a spec parameter gets its value from the job, its parent or the environment.

Names and meanings are those of NVIDIA TAO's skill configurations; which key uses which function is said in SKILL.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tao_skill import pretrained
from tao_skill.io.encryption import PUBLIC_KEY
from tao_skill.model import Model
from tao_skill.outcome import Selection
from tao_skill.spec.tree import lookup

LABEL_MAP: Final = "dataset.label_map"
NUM_CLASSES: Final = "dataset.num_classes"
KEY_VARIABLE: Final = "TAO_SKILL_ENCRYPTION_KEY"
VALIDATION_DATA: Final = "dataset.val_dataset.data_path"
HELD_OUT: Final = 0.2
"""Share of the training sequences that a search holds out where it is given no validation data."""


@dataclass(frozen=True, kw_only=True)
class Parent:
    """The job that this one builds on.

    Attributes:
        id, action, results_dir, artifacts: of the nearest job, itself or one it was built on, that makes a model.
        spec: its checked spec, completed by those it was built on.
        metric: what its search was after, if it was one and was told.
    """

    id: str
    action: str
    results_dir: Path
    artifacts: Mapping[str, Path]
    spec: Mapping[str, Any]
    metric: str | None = None


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All an inference function may look at.

    Attributes:
        job_dir: folder of the job that is to be. metric: what the best checkpoint is chosen by.
        base_experiment: name of pretrained weights in the registry. given: keys that the request sets itself.
        is_search: whether the run is an AutoML search.
        spec: what it sets them to, with the files that stand for folders.
        confine: looks at the key and the path of a file before it is read.
    """

    model: Model
    action: str
    job_dir: Path
    parent: Parent | None
    metric: str
    environment: Mapping[str, str]
    base_experiment: str | None = None
    given: Collection[str] = ()
    is_search: bool = False
    spec: Mapping[str, Any] = field(default_factory=dict)
    confine: Callable[[str, str], None] = lambda key, path: None


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """A value, and why it is this one."""

    value: Any
    reason: str


Function = Callable[[Inputs], Inferred | None]


def _key(inputs: Inputs) -> Inferred:
    if given := inputs.environment.get(KEY_VARIABLE):
        return Inferred(value=given, reason=f"from {KEY_VARIABLE}")
    return Inferred(value=PUBLIC_KEY, reason="TAO's default key, which is public: files are stored plainly")


def _output_dir(inputs: Inputs) -> Inferred:
    return Inferred(value=str(inputs.job_dir), reason="the job's own folder")


def _parent_model(inputs: Inputs) -> Inferred | None:
    if inputs.parent is None:
        return None
    chosen = _selection(inputs, inputs.parent)
    return Inferred(value=str(chosen.path), reason=f"{chosen.reason}, of job {inputs.parent.id}")


def _selection(inputs: Inputs, parent: Parent) -> Selection:
    metric = parent.metric or inputs.metric
    return inputs.model.select_result(parent.action, parent.results_dir, metric, parent.artifacts)


def _of_parents_data(fact: str) -> Function:
    """A number that the parent's model was trained with."""

    def look(inputs: Inputs) -> Inferred | None:
        if inputs.parent is None:
            return None
        facts = _selection(inputs, inputs.parent).facts
        if fact not in facts:
            return None
        return Inferred(value=facts[fact], reason=f"as in the data of job {inputs.parent.id}")

    return look


def _results_folder_given(inputs: Inputs) -> tuple[Path, str] | None:
    """Where the request has the action write, as `action.task_results_dir` reads it, and how it says so."""
    for key, below in ((f"{inputs.action}.results_dir", ""), ("results_dir", inputs.action)):
        if key in inputs.given:
            return Path(str(lookup(inputs.spec, key)), below).absolute(), f"in {'/'.join(filter(None, (key, below)))}"
    return None


def _output_file(name: str) -> Function:
    """A file in the folder that the request names for results, or in the job's own."""

    def place(inputs: Inputs) -> Inferred:
        folder, reason = _results_folder_given(inputs) or (inputs.job_dir, "in the job's own folder")
        return Inferred(value=str(folder / name), reason=reason)

    return place


def _overwrite_own_onnx_file(inputs: Inputs) -> Inferred | None:
    """Only in the job's own folder is the file certainly nobody else's."""
    if f"{inputs.action}.onnx_file" in inputs.given or _results_folder_given(inputs):
        return None
    return Inferred(value=True, reason="the file is the job's own, left by an earlier attempt if it is there")


def _ptm_if_no_resume_model(inputs: Inputs) -> Inferred | None:
    if inputs.base_experiment is not None:
        return _registered(inputs, inputs.base_experiment)
    if chosen := _parent_model(inputs):
        return Inferred(value=chosen.value, reason=f"{chosen.reason}; used unless the job resumes")
    return None


def _registered(inputs: Inputs, name: str) -> Inferred:
    path = pretrained.find(
        name, inputs.environment, lambda folder: inputs.model.select_result("train", folder, inputs.metric).path
    )
    reason = f"--base-experiment {name} of {pretrained.registry(inputs.environment)}; used unless the job resumes"
    return Inferred(value=str(path), reason=reason)


def _hold_out_for_search(inputs: Inputs) -> Inferred | None:
    if not inputs.is_search or VALIDATION_DATA in inputs.given:
        return None
    reason = f"a search validates, and {VALIDATION_DATA} is not given: so much of each class of the training set"
    return Inferred(value=HELD_OUT, reason=reason)


def _resume_model(inputs: Inputs) -> Inferred | None:
    latest = inputs.model.latest_result(inputs.job_dir / inputs.action)
    return Inferred(value=str(latest), reason="the job's own latest checkpoint") if latest else None


def _class_names(inputs: Inputs) -> Inferred | None:
    """Unless another number of classes is given, or was the parent's."""
    found = inputs.model.classes_beside_data(inputs.spec, inputs.confine)
    spec = inputs.spec if NUM_CLASSES in inputs.given else inputs.parent.spec if inputs.parent else {}
    if found is None or lookup(spec, NUM_CLASSES) not in (None, len(found[1])):
        return None
    return Inferred(value=dict(found[1]), reason=f"{found[0].name} lies beside the training data")


def _class_count(inputs: Inputs) -> Inferred | None:
    if LABEL_MAP in inputs.given or (found := inputs.model.classes_beside_data(inputs.spec, inputs.confine)) is None:
        return None
    return Inferred(value=len(found[1]), reason=f"as many as {found[0].name} beside the training data names")


FUNCTIONS: Final[Mapping[str, Function]] = MappingProxyType(
    {
        "key": _key,
        "output_dir": _output_dir,
        "parent_model": _parent_model,
        "parent_sequence_length": _of_parents_data("sequence_length"),
        "parent_num_persons": _of_parents_data("num_persons"),
        "create_onnx_file": _output_file("model.onnx"),
        "overwrite_own_onnx_file": _overwrite_own_onnx_file,
        "create_inference_result_file_pose": _output_file("results.txt"),
        "ptm_if_no_resume_model": _ptm_if_no_resume_model,
        "resume_model": _resume_model,
        "hold_out_for_search": _hold_out_for_search,
        "class_names": _class_names,
        "class_count": _class_count,
    }
)
