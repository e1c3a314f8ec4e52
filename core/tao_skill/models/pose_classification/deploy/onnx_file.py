"""ONNX files: tensor names, metadata, safe reading, running in onnxruntime."""

from __future__ import annotations

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
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.network.layout_file import layout_of
from tao_skill.models.pose_classification.network.layouts import LAYOUTS
from tao_skill.models.pose_classification.trained_facts import OWN_LENGTH, Difference, TrainedFacts, fix_of

if TYPE_CHECKING:
    from google.protobuf.message import Message
    from onnx import ModelProto, TensorProto

INPUT: Final = "input"
OUTPUT: Final = "fc_pred"
"""Tensor names of NVIDIA TAO's PoseClassificationNet export."""

_GPU: Final = "CUDAExecutionProvider"
_EXPORTED: Final = "use a complete .onnx file written by the export action"
_COMPLETE: Final = "export the model again, or copy the complete file"


def metadata(config: ExperimentConfig) -> dict[str, str]:
    """The metadata of an exported file."""
    own = {"precision": config.export.precision, "producer": f"tao-skill {__version__}"}
    return TrainedFacts.of(config).text() | own


def is_resampled(model: ModelProto, path: Path) -> bool:
    """Whether the training sequences were resampled to the length of the input.

    Raises:
        BadData: the metadata is damaged.
    """
    return model_facts(model, path).resample_frames not in (None, OWN_LENGTH)


def model_facts(model: ModelProto, path: Path) -> TrainedFacts:
    """The metadata of a model that is not open in a session.

    Raises:
        BadData: it is damaged.
    """
    return TrainedFacts.read({entry.key: str(entry.value) for entry in model.metadata_props}, path)


def load(path: Path, key: str | None) -> ModelProto:
    """The model of an ONNX file, decrypted if it is encrypted at rest; no other file is read.

    Raises:
        BadData: the file does not exist, is damaged or has weights in other files, or the key is wrong or missing.
    """
    import onnx
    from google.protobuf.message import DecodeError

    if not path.is_file():
        raise BadData(f"ONNX file {path} does not exist", fix="give the path of an .onnx file", path=str(path))
    try:
        model = onnx.load_model_from_string(encryption.read(path, key))
    except DecodeError as error:
        raise BadData(f"{path} cannot be read as ONNX: {error}", fix=_COMPLETE, path=str(path)) from error
    if invalid := next((message for message in _messages(model) if not _is_utf8(message)), None):
        what = f"{path} cannot be read as ONNX: a {invalid.DESCRIPTOR.name} has text that is not UTF-8"
        raise BadData(what, fix=_COMPLETE, path=str(path))
    messages = (message for message in _messages(model) if message.DESCRIPTOR.full_name == "onnx.TensorProto")
    tensors = (cast("TensorProto", message) for message in messages)
    if external := next((tensor for tensor in tensors if tensor.external_data or tensor.data_location), None):
        code = "import onnx, sys; onnx.save(onnx.load(sys.argv[1]), 'whole.onnx')"
        raise BadData(
            f"{path} has the weight {external.name!r:.80} in another file, which was not read",
            fix=f'if you trust both files, merge them: python -c "{code}" {shlex.quote(str(path))}',
            path=str(path),
        )
    return model


def _messages(message: Message) -> Iterator[Message]:
    """A message and all messages inside: weights, constants, subgraphs and functions."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for item in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(item)


def _is_utf8(message: Message) -> bool:
    """Whether all text of a message is UTF-8."""
    texts = [value for field, value in message.ListFields() if field.type == field.TYPE_STRING]
    several = (value if not isinstance(value, str | bytes) else [value] for value in texts)
    return all(isinstance(text, str) for values in several for text in values)  # protobuf returns other text as bytes


def scores(
    session: Any, x_NCTVM: NDArray[np.float32], classes: int, path: Path, *, threads: int = 1
) -> NDArray[np.float32]:
    """Run a model: (n, C, T, V, M) -> (n, classes); NaN for sequences with values that are not finite.

    On a CPU each of `threads` runs one sequence at a time, or one batch if the model fixes its batch size: activations
    then stay in the cache, and memory does not grow with n.

    Raises:
        BadData: onnxruntime fails, or the output has another shape or type.
    """
    size = len(x_NCTVM) if _GPU in session.get_providers() else fixed_batch(session) or 1
    parts = [x_NCTVM[start : start + size] for start in range(0, len(x_NCTVM), size)]
    with ThreadPoolExecutor(threads) as pool:
        found_NK = np.concatenate(list(pool.map(lambda part: _run(session, part, classes, path), parts)))
    found_NK[~np.isfinite(x_NCTVM).all(axis=(1, 2, 3, 4))] = np.nan  # a ReLU turns NaN into 0
    return found_NK


def fixed_batch(session: Any) -> int | None:
    """The fixed batch size of a model; None if the batch is dynamic."""
    size = session.get_inputs()[0].shape[0]
    return size if isinstance(size, int) and size > 0 else None


def _run(session: Any, x_NCTVM: NDArray[np.float32], classes: int, path: Path) -> NDArray[np.float32]:
    try:
        (found,) = session.run([OUTPUT], {INPUT: x_NCTVM})
    except Exception as error:  # the errors of onnxruntime have no common base class
        raise _not_run(path, error) from error
    if getattr(found, "shape", None) != (len(x_NCTVM), classes) or found.dtype != np.float32:
        what = f"{path} returns {getattr(found, 'shape', 'no array')}, not float32 scores of {classes} classes"
        raise BadData(what, fix=_EXPORTED, path=str(path))
    result: NDArray[np.float32] = found
    return result


def _not_run(path: Path, error: Exception) -> BadData:
    return BadData(
        f"{path} cannot be run by onnxruntime: {' '.join(str(error).split())[:200]}", fix=_EXPORTED, path=str(path)
    )


def open_session(data: bytes, path: Path, *, gpu: int | None = None, threads: int = 1) -> Any:
    """An onnxruntime session, on a GPU if `gpu` is given and this onnxruntime supports it.

    Args:
        data: the model as bytes, so that no other file is read. threads: threads that share an operator.

    Raises:
        BadData: onnxruntime cannot run the model.
    """
    import onnxruntime

    providers: list[Any] = ["CPUExecutionProvider"]
    if gpu is not None and _GPU in onnxruntime.get_available_providers():
        providers.insert(0, (_GPU, {"device_id": gpu}))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised anyway
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(data, options, providers=providers)
    except Exception as error:  # the errors of onnxruntime have no common base class
        raise _not_run(path, error) from error


def check_fits(session: Any, config: ExperimentConfig, path: Path) -> None:
    """Check that an ONNX model fits the spec.

    Raises:
        BadData: its tensors or its metadata differ from the spec; the message names both values.
    """
    names = [value.name for value in session.get_inputs()], [value.name for value in session.get_outputs()]
    if names != ([INPUT], [OUTPUT]) or len(session.get_inputs()[0].shape) != 5:
        raise BadData(
            f"{path} has the inputs {names[0]} and the outputs {names[1]}, accepted: {INPUT!r} of 5 dimensions and "
            f"{OUTPUT!r}",
            fix=_EXPORTED,
            path=str(path),
        )
    stated = facts(session, path)
    differences = stated.differences(TrainedFacts.of(config)) if stated.states_any() else _of_shapes(session, config)
    if differences:
        raise BadData(
            f"{path} does not fit the spec: {'; '.join(map(str, differences))}",
            fix=fix_of(differences),
            path=str(path),
        )


def facts(session: Any, path: Path) -> TrainedFacts:
    """The metadata of a model.

    Raises:
        BadData: it is damaged.
    """
    return TrainedFacts.read(session.get_modelmeta().custom_metadata_map, path)


def _of_shapes(session: Any, config: ExperimentConfig) -> list[Difference]:
    """Differences of a model without metadata, by the shapes of its input and output."""
    _, channels, _, joints, _ = session.get_inputs()[0].shape
    *_, classes = session.get_outputs()[0].shape or [None]
    layout = config.model.graph_layout
    layouts = "|".join(name for name, layout in LAYOUTS.items() if layout.joints == joints) or f"of {joints} joints"
    sizes = (
        ("model.input_channels", channels, channels, config.model.input_channels),
        ("model.graph_layout", joints, layouts, layout_of(layout).joints),
        ("dataset.num_classes", classes, classes, config.dataset.num_classes),
    )
    in_spec = {"model.graph_layout": layout}
    return [
        Difference(key=key, in_file=str(named), in_spec=in_spec.get(key, str(want)))
        for key, have, named, want in sizes
        if have != want
    ]
