"""Inference functions of this model, by the names that SKILL.md uses."""

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
"""Share of the training sequences that a search holds out where it is given no validation data."""


def _of_parents_data(fact: str) -> Function:
    """A number that the parent's model was trained with."""

    def infer(inputs: Inputs) -> Inferred | None:
        if inputs.parent is None:
            return None
        facts = inputs.parent.select().facts
        if fact not in facts:
            return None
        return Inferred(value=facts[fact], reason=f"as in the data of job {inputs.parent.id}")

    return infer


def _given_results_dir(inputs: Inputs) -> tuple[Path, str] | None:
    """The folder that the request has the action write to, as `task_results_dir` reads it, and its name in words."""
    for key, below in ((f"{inputs.action}.{RESULTS_DIR}", ""), (RESULTS_DIR, inputs.action)):
        if key in inputs.given:
            return Path(str(lookup(inputs.spec, key)), below).absolute(), f"in {'/'.join(filter(None, (key, below)))}"
    return None


def _output_file(name: str) -> Function:
    """A file in the folder that the request names for results, or in the job's own."""

    def infer(inputs: Inputs) -> Inferred:
        folder, reason = _given_results_dir(inputs) or (inputs.job_dir, "in the job's own folder")
        return Inferred(value=str(folder / name), reason=reason)

    return infer


def _overwrite_own_onnx_file(inputs: Inputs) -> Inferred | None:
    """Only in the job's own folder is the file certainly nobody else's."""
    if f"{inputs.action}.onnx_file" in inputs.given or _given_results_dir(inputs):
        return None
    return Inferred(value=True, reason="the file is the job's own, left by an earlier attempt if it is there")


def _hold_out_for_search(inputs: Inputs) -> Inferred | None:
    if not inputs.is_search or VALIDATION_DATA in inputs.given:
        return None
    reason = f"a search validates, and {VALIDATION_DATA} is not given: so much of each class of the training set"
    return Inferred(value=HELD_OUT, reason=reason)


def _class_names(inputs: Inputs) -> Inferred | None:
    """Unless another number of classes is given, or was the parent's."""
    found = label_map.of_training_data(inputs.spec, inputs.confine)
    spec = inputs.spec if NUM_CLASSES in inputs.given else inputs.parent.spec if inputs.parent else {}
    if found is None or lookup(spec, NUM_CLASSES) not in (None, len(found[1])):
        return None
    path, ids = found
    return Inferred(value=dict(ids), reason=f"{path.name} lies beside the training data")


def _class_count(inputs: Inputs) -> Inferred | None:
    if LABEL_MAP in inputs.given or (found := label_map.of_training_data(inputs.spec, inputs.confine)) is None:
        return None
    path, ids = found
    return Inferred(value=len(ids), reason=f"as many as {path.name} beside the training data names")


FUNCTIONS: Final[Mapping[str, Function]] = MappingProxyType(
    {
        "parent_sequence_length": _of_parents_data("sequence_length"),
        "parent_num_persons": _of_parents_data("num_persons"),
        "create_onnx_file": _output_file("model.onnx"),
        "overwrite_own_onnx_file": _overwrite_own_onnx_file,
        "create_inference_result_file_pose": _output_file("results.txt"),
        "hold_out_for_search": _hold_out_for_search,
        "class_names": _class_names,
        "class_count": _class_count,
    }
)
