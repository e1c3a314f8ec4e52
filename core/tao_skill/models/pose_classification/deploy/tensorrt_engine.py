"""TensorRT: whether it is available, and class scores from an engine file.

Written for TensorRT 10 and 11 against the names and signatures of their Python bindings (10.16.1 and 11.4.0), and
tested with a fake of that API only: it has not run on a real TensorRT.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from tao_skill.errors import BadData, JobFailed, MissingDependency
from tao_skill.io import encryption

SUFFIX: Final = ".engine"
VERSIONS: Final = (10, 11)
INSTALL: Final = "pip install 'tao-skill[tensorrt]' on a machine with an NVIDIA GPU"


def require(gpu_id: int = 0) -> tuple[Any, torch.device]:
    """The tensorrt package and the GPU `gpu_id`, made the current device.

    Raises:
        MissingDependency: TensorRT or the GPU is missing, or TensorRT has another major version.
    """
    try:
        trt = importlib.import_module("tensorrt")
    except ImportError as error:
        raise MissingDependency(f"TensorRT cannot be imported: {error}", fix=INSTALL) from error
    if int(trt.__version__.split(".")[0]) not in VERSIONS:
        raise MissingDependency(
            f"TensorRT {trt.__version__} is installed; {' or '.join(map(str, VERSIONS))} is needed", fix=INSTALL
        )
    return trt, find_gpu(gpu_id)


def find_gpu(gpu_id: int) -> torch.device:
    """GPU `gpu_id`, made the current device, because TensorRT uses the current device.

    Raises:
        MissingDependency: it does not exist.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if gpu_id >= count:
        raise MissingDependency(
            f"TensorRT needs an NVIDIA GPU, and GPU {gpu_id} does not exist: {count} found",
            fix=f"use a GPU from 0 to {count - 1}"
            if count
            else "run on a machine with an NVIDIA GPU, its driver and a CUDA build of PyTorch",
        )
    torch.cuda.set_device(gpu_id)
    return torch.device("cuda", gpu_id)


def message_log(trt: Any, *, verbose: bool = False) -> Any:
    """A logger that prints warnings (all messages if verbose) to stderr and collects error messages in `errors`."""

    class MessageLog(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if int(severity) <= int(trt.ILogger.ERROR):
                self.errors.append(" ".join(msg.split()))
            if verbose or int(severity) <= int(trt.ILogger.WARNING):
                print(f"[TensorRT {severity.name}] {msg}", file=sys.stderr)

    return MessageLog()


def started(factory: Callable[[Any], Any], log: Any) -> Any:
    """A Builder or Runtime; pybind11 raises TypeError if TensorRT cannot create it.

    Raises:
        MissingDependency: TensorRT cannot use the GPU.
    """
    try:
        return factory(log)
    except TypeError as error:
        raise MissingDependency(
            f"TensorRT cannot use the GPU: {cause(log) or error}",
            fix="install an NVIDIA driver that supports the CUDA version of this TensorRT",
        ) from error


def cause(log: Any) -> str:
    """The first errors that TensorRT logged, on one line."""
    return "; ".join(log.errors[:3])


def open_engine(path: Path, key: str | None, gpu_id: int = 0) -> Engine:
    """A function from sequences (N, C, T, V, M) float32 to scores (N, K) float32 before the softmax, for any N.

    Batches above the maximum of the engine's profile are split, batches below its minimum are padded.

    Raises:
        MissingDependency: TensorRT or the GPU is missing.
        BadData: the file is damaged, encrypted with another key, of another TensorRT or GPU, or not a classifier.
        JobFailed: the GPU has not enough free memory.
    """
    trt, device = require(gpu_id)
    log = message_log(trt)
    plan = encryption.read(path, key)
    runtime = started(trt.Runtime, log)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise BadData(
            f"{path} is not an engine for TensorRT {trt.__version__} and this GPU: {cause(log) or 'it cannot be read'}",
            fix="build it on this machine with the gen_trt_engine action",
            path=str(path),
        )
    source, target = _tensors(trt, engine, path)
    context = engine.create_execution_context()
    if context is None:
        raise _stopped(path, log)
    smallest, _, largest = engine.get_tensor_profile_shape(source, 0)
    return Engine(
        path=path,
        log=log,
        device=device,
        owners=(runtime, engine),
        context=context,
        source=source,
        target=target,
        sizes=(smallest[0], largest[0]),
        shape=tuple(largest)[1:],
    )


def _tensors(trt: Any, engine: Any, path: Path) -> tuple[str, str]:
    """Names of the one float32 input and the one float32 output."""
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    outputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT]
    floats = all(engine.get_tensor_dtype(name) == trt.DataType.FLOAT for name in names)
    if len(inputs) != 1 or len(outputs) != 1 or not floats or len(engine.get_tensor_shape(inputs[0])) != 5:
        raise BadData(
            f"{path} has the inputs {inputs} and the outputs {outputs}, "
            "accepted: one float32 input (N, C, T, V, M) and one float32 output",
            fix="use an engine that the gen_trt_engine action built",
            path=str(path),
        )
    return inputs[0], outputs[0]


def _stream(device: torch.device) -> torch.cuda.Stream | None:
    """A new stream, because TensorRT synchronizes more on the default stream; None without a GPU."""
    return torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]


@dataclass(frozen=True, kw_only=True)
class Engine:
    """An engine ready to run.

    Attributes:
        owners: objects that must outlive the context. sizes: smallest and largest batch. shape: (C, T, V, M).
    """

    path: Path
    log: Any
    device: torch.device
    owners: Sequence[Any]
    context: Any
    source: str
    target: str
    sizes: tuple[int, int]
    shape: tuple[int, ...]

    def __call__(self, x_NCTVM: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, C, T, V, M) -> (N, K).

        Raises:
            BadData: the sequences do not have the shape that the engine was built for.
            JobFailed: the engine does not run.
        """
        if x_NCTVM.shape[1:] != self.shape:
            raise BadData(
                f"{self.path} takes sequences (C, T, V, M) of {self.shape}, the data has {x_NCTVM.shape[1:]}",
                fix="convert the data to that shape, or export and build again for the shape of the data",
                path=str(self.path),
            )
        largest = self.sizes[1]
        return np.concatenate([self._batch(x_NCTVM[i : i + largest]) for i in range(0, len(x_NCTVM), largest)])

    def _batch(self, x_NCTVM: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores of at most the largest batch; both copies and the run are in order on one stream."""
        padded = np.resize(x_NCTVM, (max(len(x_NCTVM), self.sizes[0]), *self.shape))
        stream = _stream(self.device)
        with torch.cuda.stream(stream) if stream else nullcontext():
            source = torch.from_numpy(np.ascontiguousarray(padded, np.float32)).to(self.device)
            self._check(self.context.set_input_shape(self.source, tuple(source.shape)))
            shape = tuple(self.context.get_tensor_shape(self.target))
            scores = torch.empty(shape, dtype=torch.float32, device=self.device)
            self._check(self.context.set_tensor_address(self.source, source.data_ptr()))
            self._check(self.context.set_tensor_address(self.target, scores.data_ptr()))
            self._check(self.context.execute_async_v3(stream.cuda_stream if stream else 0))
            found: NDArray[np.float32] = scores.cpu().numpy()
        return found[: len(x_NCTVM)]

    def _check(self, done: bool) -> None:
        if not done:
            raise _stopped(self.path, self.log)


def _stopped(path: Path, log: Any) -> JobFailed:
    return JobFailed(
        f"engine {path} does not run: {cause(log) or 'TensorRT reported no cause'}",
        fix="free GPU memory, or build the engine again",
        path=str(path),
    )
