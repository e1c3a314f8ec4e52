"""Inference functions of this model, by their names in SKILL.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tao_skill.inference import Function, Inferred, Inputs
from tao_skill.model import RESULTS_DIR
from tao_skill.models.pose_classification.data import label_map
from tao_skill.spec.tree import lookup

LABEL_MAP: Final = "dataset.label_map"
NUM_CLASSES: Final = "dataset.num_classes"
VALIDATION_DATA: Final = "dataset.val_dataset.data_path"
HELD_OUT: Final = 0.2
"""Fraction of the training sequences that a search without validation data holds out."""


def _parent_fact(fact: str) -> Function:
    """A property of the training data of the parent's model."""

    def infer(inputs: Inputs) -> Inferred | None:
        if inputs.parent is None:
            return None
        facts = inputs.parent.select().facts
        if fact not in facts:
            return None
        return Inferred(value=facts[fact], reason=f"as in the data of job {inputs.parent.id}")

    return infer


def _given_results_dir(inputs: Inputs) -> tuple[Path, str] | None:
    """The output folder that the request sets, by the rule of `task_results_dir`, and the reason."""
    for key, subfolder in ((f"{inputs.action}.{RESULTS_DIR}", ""), (RESULTS_DIR, inputs.action)):
        if key in inputs.given:
            path = Path(str(lookup(inputs.spec, key)), subfolder).absolute()
            return path, f"in {'/'.join(filter(None, (key, subfolder)))}"
    return None


def _output_file(name: str) -> Function:
    """A file in the output folder that the request sets, else in the job's folder."""

    def infer(inputs: Inputs) -> Inferred:
        folder, reason = _given_results_dir(inputs) or (inputs.job_dir, "in the job's own folder")
        return Inferred(value=str(folder / name), reason=reason)

    return infer


def _overwrite_own_onnx_file(inputs: Inputs) -> Inferred | None:
    """Only a file in the job's own folder certainly belongs to this job."""
    if f"{inputs.action}.onnx_file" in inputs.given or _given_results_dir(inputs):
        return None
    return Inferred(value=True, reason="if the file exists, an earlier attempt of the job wrote it")


def _hold_out_for_search(inputs: Inputs) -> Inferred | None:
    if not inputs.is_search or VALIDATION_DATA in inputs.given:
        return None
    reason = f"a search validates, and {VALIDATION_DATA} is not given: this fraction of each class is held out"
    return Inferred(value=HELD_OUT, reason=reason)


def _class_names(inputs: Inputs) -> Inferred | None:
    """The label map beside the training data, unless the given or the parent's number of classes differs."""
    label_file = label_map.of_training_data(inputs.spec, inputs.confine)
    spec = inputs.spec if NUM_CLASSES in inputs.given else inputs.parent.spec if inputs.parent else {}
    if label_file is None or lookup(spec, NUM_CLASSES) not in (None, len(label_file[1])):
        return None
    path, ids = label_file
    return Inferred(value=dict(ids), reason=f"from {path.name} beside the training data")


def _class_count(inputs: Inputs) -> Inferred | None:
    if LABEL_MAP in inputs.given:
        return None
    if (label_file := label_map.of_training_data(inputs.spec, inputs.confine)) is None:
        return None
    path, ids = label_file
    return Inferred(value=len(ids), reason=f"number of names in {path.name} beside the training data")


FUNCTIONS: Final[Mapping[str, Function]] = MappingProxyType(
    {
        "parent_sequence_length": _parent_fact("sequence_length"),
        "parent_num_persons": _parent_fact("num_persons"),
        "create_onnx_file": _output_file("model.onnx"),
        "overwrite_own_onnx_file": _overwrite_own_onnx_file,
        "create_inference_result_file_pose": _output_file("results.txt"),
        "hold_out_for_search": _hold_out_for_search,
        "class_names": _class_names,
        "class_count": _class_count,
    }
)
