"""ONNX files: their names and metadata, reading them safely, running them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from tao_skill import __version__
from tao_skill.errors import BadData
from tao_skill.io import encryption
from tao_skill.io.strict_json import parse_json
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.network.graph import LAYOUTS

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from onnx import ModelProto, TensorProto

INPUT: Final = "input"
OUTPUT: Final = "fc_pred"
"""Tensor names of NVIDIA TAO's PoseClassificationNet export."""

NOT_RESAMPLED: Final = "none"

_GPU: Final = "CUDAExecutionProvider"
_WRITTEN: Final = "use a whole .onnx file written by the export action"
_WHOLE: Final = "export the model again, or copy the whole file"
_FACTS: Final = (
    "model_type",
    "center",
    "resample_frames",
    "graph_layout",
    "graph_strategy",
    "input_channels",
    "num_classes",
)


def metadata(config: ExperimentConfig) -> dict[str, str]:
    """What an exported file says of itself."""
    return {
        "model_type": config.model.model_type,
        "graph_layout": config.model.graph_layout,
        "graph_strategy": config.model.graph_strategy,
        "input_channels": str(config.model.input_channels),
        "num_classes": str(config.dataset.num_classes),
        "center": str(config.model.center).lower(),
        "resample_frames": str(config.dataset.resample_frames or NOT_RESAMPLED),
        "label_map": json.dumps(config.dataset.label_map),
        "model_name": config.model_name or "",
        "precision": config.export.precision,
        "producer": f"tao-skill {__version__}",
    }


def is_resampled(model: ModelProto) -> bool:
    """Whether the network was trained on sequences that were all brought to its length."""
    facts = {entry.key: str(entry.value) for entry in model.metadata_props}
    return facts.get("resample_frames", NOT_RESAMPLED) != NOT_RESAMPLED


def load(path: Path, key: str | None) -> ModelProto:
    """The model of an ONNX file, decrypted where it is encrypted at rest; nothing beside the file is read.

    Raises:
        BadData: it does not exist, is damaged or keeps weights in other files, or the key is wrong or missing.
    """
    import onnx
    from google.protobuf.message import DecodeError

    if not path.is_file():
        raise BadData(f"ONNX file {path} does not exist", fix="give the path of an .onnx file", path=str(path))
    try:
        model = onnx.load_model_from_string(encryption.read(path, key))
    except DecodeError as error:
        raise BadData(f"{path} cannot be read as ONNX: {error}", fix=_WHOLE, path=str(path)) from error
    if odd := next((one for one in _messages(model) if not _has_text(one)), None):
        what = f"{path} cannot be read as ONNX: a {odd.DESCRIPTOR.name} has a text that is no UTF-8"
        raise BadData(what, fix=_WHOLE, path=str(path))
    tensors = (cast("TensorProto", one) for one in _messages(model) if one.DESCRIPTOR.full_name == "onnx.TensorProto")
    if outside := next((one for one in tensors if one.external_data or one.data_location), None):
        code = "import onnx, sys; onnx.save(onnx.load(sys.argv[1]), 'whole.onnx')"
        raise BadData(
            f"{path} keeps the weight {outside.name!r:.80} in another file, which was not read",
            fix=f'if you trust both files, make one of them: python -c "{code}" {shlex.quote(str(path))}',
            path=str(path),
        )
    return model


def _messages(message: Message) -> Iterator[Message]:
    """All that a model is made of: weights, constants, inner graphs and functions."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(one)


def _has_text(message: Message) -> bool:
    """Whether every text of a message is UTF-8."""
    texts = [value for field, value in message.ListFields() if field.type == field.TYPE_STRING]
    several = (value if not isinstance(value, str | bytes) else [value] for value in texts)
    return all(isinstance(text, str) for values in several for text in values)  # protobuf gives others as bytes


def scores(
    session: Any, x_NCTVM: NDArray[np.float32], classes: int, path: Path, *, threads: int = 1
) -> NDArray[np.float32]:
    """Run a model: (n, C, T, V, M) -> (n, classes); NaN for sequences that hold values that are no numbers.

    On a CPU each of `threads` runs one sequence at a time, or one batch of a model that fixes it: what an operator
    leaves to the next then stays in the cache, and memory does not grow with n.

    Raises:
        BadData: it fails, or gives something else.
    """
    size = len(x_NCTVM) if _GPU in session.get_providers() else fixed_batch(session) or 1
    parts = [x_NCTVM[start : start + size] for start in range(0, len(x_NCTVM), size)]
    with ThreadPoolExecutor(threads) as pool:
        found_NK = np.concatenate(list(pool.map(lambda part: _run(session, part, classes, path), parts)))
    found_NK[~np.isfinite(x_NCTVM).all(axis=(1, 2, 3, 4))] = np.nan  # a ReLU makes 0 of what is no number
    return found_NK


def fixed_batch(session: Any) -> int | None:
    """Sequences that a model takes at once; None where any number will do."""
    size = session.get_inputs()[0].shape[0]
    return size if isinstance(size, int) and size > 0 else None


def _run(session: Any, x_NCTVM: NDArray[np.float32], classes: int, path: Path) -> NDArray[np.float32]:
    try:
        (found,) = session.run([OUTPUT], {INPUT: x_NCTVM})
    except Exception as error:  # onnxruntime raises bare subclasses of Exception of its own
        raise _not_run(path, error) from error
    if getattr(found, "shape", None) != (len(x_NCTVM), classes) or found.dtype != np.float32:
        what = f"{path} gives {getattr(found, 'shape', 'no array')}, not float32 scores of {classes} classes"
        raise BadData(what, fix=_WRITTEN, path=str(path))
    result: NDArray[np.float32] = found
    return result


def _not_run(path: Path, error: Exception) -> BadData:
    return BadData(
        f"{path} cannot be run by onnxruntime: {' '.join(str(error).split())[:200]}", fix=_WRITTEN, path=str(path)
    )


def open_session(data: bytes, path: Path, *, gpu: int | None = None, threads: int = 1) -> Any:
    """An onnxruntime session, on a GPU if one is given and this onnxruntime can use it; `threads` share an operator.

    The model is given as bytes, so that nothing beside it is read.

    Raises:
        BadData: the file is no ONNX model that onnxruntime can run.
    """
    import onnxruntime

    providers: list[Any] = ["CPUExecutionProvider"]
    if gpu is not None and _GPU in onnxruntime.get_available_providers():
        providers.insert(0, (_GPU, {"device_id": gpu}))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(data, options, providers=providers)
    except Exception as error:  # onnxruntime raises bare subclasses of Exception of its own
        raise _not_run(path, error) from error


def check_fits(session: Any, config: ExperimentConfig, path: Path) -> None:
    """Compare an ONNX model with the spec.

    Raises:
        BadData: it is of another layout, strategy, channel or class count; the message says both sides.
    """
    names = [one.name for one in session.get_inputs()], [one.name for one in session.get_outputs()]
    if names != ([INPUT], [OUTPUT]) or len(session.get_inputs()[0].shape) != 5:
        raise BadData(
            f"{path} has the inputs {names[0]} and outputs {names[1]}, not {INPUT!r} of 5 dimensions and {OUTPUT!r}",
            fix="use an .onnx file written by the export action",
            path=str(path),
        )
    if differences := list(_differences(session, config)):
        raise BadData(
            f"{path} does not fit the spec: {'; '.join(differences)}",
            fix="give its job as parent, or the model.*, dataset.num_classes and dataset.resample_frames of its "
            "training",
            path=str(path),
        )


def label_map(session: Any) -> Any:
    """Class id by name as the file says it, not checked; None if it says nothing."""
    text: str = session.get_modelmeta().custom_metadata_map.get("label_map", "null")
    try:
        return parse_json(text)
    except ValueError:
        return text


def _differences(session: Any, config: ExperimentConfig) -> list[str]:
    written = session.get_modelmeta().custom_metadata_map
    wanted = metadata(config)
    if known := [name for name in _FACTS if name in written]:
        return [
            f"its {name} is {written[name]}, the spec's {wanted[name]}"
            for name in known
            if written[name] != wanted[name]
        ]
    _, channels, _, joints, _ = session.get_inputs()[0].shape
    *_, classes = session.get_outputs()[0].shape or [None]
    sizes = {
        "channels": (channels, config.model.input_channels),
        "joints": (joints, LAYOUTS[config.model.graph_layout].joints),
        "classes": (classes, config.dataset.num_classes),
    }
    return [f"it has {have} {noun}, the spec {want}" for noun, (have, want) in sizes.items() if have != want]
