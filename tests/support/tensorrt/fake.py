"""A fake of TensorRT's Python package that is strict about names, arguments and order of calls.

api.json holds what the real bindings of two versions offer. A member that is not in it does not exist here; a
call whose arguments fit none of its recorded signatures raises TypeError, as pybind11 does. "Building" keeps the ONNX;
"executing" runs it with onnxruntime between the addresses given, so results are real numbers. Nothing here shows that a
real TensorRT would accept the same network, or how fast it would be.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import re
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tao_skill.models.pose_classification.deploy import tensorrt_engine

API: dict[str, Any] = json.loads(Path(__file__).with_name("api.json").read_text("utf-8"))
VERSIONS = [name for name in API if name != "source"]
TACTICS = 16
"""Workspace that the fake asks for, in sizes of the model."""

UNSUPPORTED = ("BitShift", "Det", "MaxUnpool")
"""A few operators that TensorRT's list of supported ONNX operators says no to."""

PLAN, CACHE = b"FAKEPLAN", b"FAKECACHE"

FITS: dict[str, Callable[[Any], bool]] = {
    "SupportsInt": lambda value: hasattr(value, "__int__") and not isinstance(value, str),
    "Buffer": lambda value: isinstance(value, bytes | bytearray | memoryview),
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "tuple": lambda value: isinstance(value, tuple),
    "list": lambda value: isinstance(value, list),
    "Dims": lambda value: isinstance(value, tuple | list | Dims) and all(isinstance(size, int) for size in value),
}


class Dims:
    """Length and items, as the real one."""

    def __init__(self, shape: Any) -> None:
        self._shape = tuple(shape)

    def __len__(self) -> int:
        return len(self._shape)

    def __getitem__(self, index: Any) -> Any:
        return self._shape[index]


class PybindEnum(Enum):
    """Equal to its own members only; a number on request."""

    def __int__(self) -> int:
        return int(self.value)


class HostMemory:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.nbytes = len(data)

    def __bytes__(self) -> bytes:
        return self._data


class Recorded:
    """An object that has the members recorded for its class in its version, and no others."""

    _trt: ClassVar[Any]
    _members: ClassVar[dict[str, Any]]

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_"):
            return object.__getattribute__(self, name)
        if name not in self._members:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        value = object.__getattribute__(self, name)
        return value if self._members[name] == "property" else self._strict(name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_"):
            raise AttributeError(f"'{type(self).__name__}' object has no settable attribute '{name}'")
        object.__setattr__(self, name, value)

    def _strict(self, name: str, function: Any) -> Callable[..., Any]:
        def call(*positional: Any, **named: Any) -> Any:
            overloads = [_parameters(signature) for signature in self._members[name]]
            if not any(_fits(self._trt, parameters, positional, named) for parameters in overloads):
                raise TypeError(f"{name}(): incompatible function arguments: {positional} {named}")
            return function(*positional, **named)

        return call


def _parameters(signature: str) -> list[tuple[str, str, bool]]:
    """(name, type, may be left out) of each parameter after self."""
    inside = signature[signature.index("(") + 1 : signature.rindex(") ->")]
    found = re.findall(r"(\w+): ([\w.]+)( = [^,]+)?", inside)
    return [(name, kind, bool(default)) for name, kind, default in found if name != "self"]


def _fits(trt: Any, parameters: list[tuple[str, str, bool]], positional: Any, named: Any) -> bool:
    names = [name for name, _, _ in parameters]
    if len(positional) > len(names) or set(named) - set(names[len(positional) :]):
        return False
    given = dict(zip(names, positional, strict=False)) | named
    for name, kind, optional in parameters:
        if name not in given:
            if not optional:
                return False
        elif not (FITS[kind](given[name]) if kind in FITS else isinstance(given[name], getattr(trt, kind))):
            return False
    return True


def _started(self: Any, *given: Any) -> None:
    """Argument check of a constructor; a logger whose own constructor did not run is refused."""
    if not _fits(self._trt, _parameters(self._members["__init__"][0]), given, {}):
        raise TypeError(f"{type(self).__name__}(): incompatible constructor arguments: {given}")
    if not getattr(given[-1], "_ready", False):
        raise TypeError("ILogger.__init__() must be called when overriding __init__")


class ILogger:
    def __init__(self) -> None:
        self._ready = True


class Builder(Recorded):
    def __init__(self, logger: Any) -> None:
        _started(self, logger)
        self._logger = logger
        if not self._trt._has_gpu:
            self._say("ERROR", "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def _say(self, severity: str, text: str) -> None:
        self._logger.log(getattr(self._trt.ILogger, severity), text)

    def create_network(self, flags: int = 0) -> Any:
        return self._trt._make("INetworkDefinition", self, flags)

    def create_builder_config(self) -> Any:
        return self._trt._make("IBuilderConfig", self)

    def create_optimization_profile(self) -> Any:
        return self._trt._make("IOptimizationProfile")

    def build_serialized_network(self, network: Any, config: Any) -> HostMemory | None:
        problem = self._problem(network, config)
        if problem:
            self._say("ERROR", problem)
            return None
        self._say("VERBOSE", f"Building {len(network._model.graph.node)} nodes")
        body = network._model.SerializeToString()
        if config._cache is not None:
            entry = hashlib.sha256(body).hexdigest()
            self._say("VERBOSE", "Timing cache hit" if entry in config._cache._entries else "Timing cache miss")
            config._cache._entries.append(entry)
        head = json.dumps(
            {
                "version": self._trt.__version__,
                "profile": config._profiles[0]._shapes if config._profiles else {},
                "sha256": hashlib.sha256(body).hexdigest(),
                "workspace": config._pools.get(self._trt.MemoryPoolType.WORKSPACE),
            }
        ).encode()
        return HostMemory(PLAN + len(head).to_bytes(4, "little") + head + body)

    def _problem(self, network: Any, config: Any) -> str | None:
        """Why TensorRT would refuse to build."""
        if network._model is None:
            return "Error Code 4: API Usage Error (Network must have at least one output)"
        reduced = {"QuantizeLinear", "Cast"} & {node.op_type for node in network._model.graph.node}
        if reduced and not network._strongly_typed:
            return "Weakly typed network without precision flags would not keep the types of the ONNX"
        shape = network._shape
        if -1 in shape:
            if not config._profiles:
                return "Network has dynamic or shape inputs, but no optimization profile has been defined."
            for given in config._profiles[0]._shapes.get(network._name, [[]]):
                if len(given) != len(shape) or any(d not in (-1, g) for g, d in zip(given, shape, strict=True)):
                    return f"Profile {given} does not fit network input {network._name} {shape}"
        workspace = config._pools.get(self._trt.MemoryPoolType.WORKSPACE)
        if workspace is not None and workspace < TACTICS * network._model.ByteSize():
            return "Error Code 10: Could not find any implementation for node Conv: insufficient workspace"
        return None


class INetworkDefinition(Recorded):
    def __init__(self, builder: Builder, flags: int) -> None:
        flag = 1 << int(self._trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        self._builder, self._model = builder, None
        self._strongly_typed = bool(flags & flag) or self._trt.__version__.startswith("11")
        self._name, self._shape = "", ()


class IBuilderConfig(Recorded):
    def __init__(self, builder: Builder) -> None:
        self._builder, self._profiles, self._cache = builder, [], None
        self._pools: dict[Any, int] = {}

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self._pools[pool] = int(pool_size)

    def add_optimization_profile(self, profile: Any) -> int:
        if not profile._shapes:
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        data = bytes(serialized_timing_cache)
        if data and not data.startswith(CACHE):
            self._builder._say("ERROR", "Serialization assertion magicTagRead == kMAGIC_TAG failed")
            return None
        stored = json.loads(data[len(CACHE) :]) if data else {"version": self._trt.__version__, "entries": []}
        return self._trt._make("ITimingCache", stored)

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        if cache._version != self._trt.__version__ and not ignore_mismatch:
            self._builder._say("ERROR", "Timing cache is of another TensorRT")
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> Any:
        return self._cache


class ITimingCache(Recorded):
    def __init__(self, stored: dict[str, Any]) -> None:
        self._version, self._entries = stored["version"], list(stored["entries"])

    def serialize(self) -> HostMemory:
        return HostMemory(CACHE + json.dumps({"version": self._version, "entries": self._entries}).encode())


class IOptimizationProfile(Recorded):
    def __init__(self) -> None:
        self._shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        if not len(min) == len(opt) == len(max) or not all(
            0 <= low <= best <= high for low, best, high in zip(min, opt, max, strict=True)
        ):
            raise ValueError(f"Shape provided for {input} is inconsistent with other shapes.")
        self._shapes[input] = [list(min), list(opt), list(max)]


class ParserError(Recorded):
    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        return self._text


class OnnxParser(Recorded):
    def __init__(self, network: Any, logger: Any) -> None:
        _started(self, network, logger)
        self._network, self._errors = network, []

    num_errors = property(lambda self: len(self._errors))

    def parse(self, model: bytes, path: str | None = None) -> bool:
        try:
            loaded = onnx.load_model_from_string(bytes(model))
            onnx.checker.check_model(loaded, full_check=True)
            self._errors = list(_refused(loaded))
        except Exception as error:
            self._errors = [f"Failed to parse the model: {error}"]
        if self._errors:
            return False
        dims = loaded.graph.input[0].type.tensor_type.shape.dim
        self._network._model, self._network._name = loaded, loaded.graph.input[0].name
        self._network._shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)
        return True

    def get_error(self, index: int) -> Any:
        return self._trt._make("ParserError", self._errors[index])


def _refused(model: Any) -> Any:
    """What TensorRT's parser says of unknown operators and of Q/DQ nodes."""
    stored = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in UNSUPPORTED:
            yield f"No importer registered for op: {node.op_type}"
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale, zero = (stored.get(name) for name in node.input[1:3])
            if scale is None or not (scale > 0).all():
                yield "Scale coefficients must all be positive"
            elif zero is None or zero.dtype != np.int8 or zero.any() or zero.size != scale.size:
                yield "Non-zero zero point is not supported"
            if node.input[0] in stored and stored[node.input[0]].dtype == np.int32:
                yield "input has type Int32 but must have type FP8, FP4, Int4, or Int8"


class Runtime(Recorded):
    def __init__(self, logger: Any) -> None:
        _started(self, logger)
        self._logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Any:
        data = bytes(serialized_engine)
        try:
            assert data.startswith(PLAN), "Magic tag does not match"
            start = len(PLAN) + 4
            end = start + int.from_bytes(data[len(PLAN) : start], "little")
            head, body = json.loads(data[start:end]), data[end:]
            assert head["version"] == self._trt.__version__, "Version tag does not match"
            assert head["sha256"] == hashlib.sha256(body).hexdigest(), "Checksum mismatch"
        except (AssertionError, ValueError) as error:
            self._logger.log(self._trt.ILogger.ERROR, f"Error Code 1: Serialization ({error})")
            return None
        return self._trt._make("ICudaEngine", self._logger, head, body)


class ICudaEngine(Recorded):
    def __init__(self, logger: Any, head: dict[str, Any], body: bytes) -> None:
        self._logger, self._profile = logger, head["profile"]
        self._session = onnxruntime.InferenceSession(body, providers=["CPUExecutionProvider"])
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._tensors = {one.name: one for one in [*inputs, *outputs]}
        self._inputs = [one.name for one in inputs]

    num_io_tensors = property(lambda self: len(self._tensors))

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return self._trt.TensorIOMode.INPUT if name in self._inputs else self._trt.TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> Any:
        return {"tensor(float)": self._trt.DataType.FLOAT, "tensor(float16)": self._trt.DataType.HALF}[
            self._tensors[name].type
        ]

    def get_tensor_shape(self, name: str) -> Dims:
        return Dims(size if isinstance(size, int) else -1 for size in self._tensors[name].shape)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        assert profile_index == 0
        return [Dims(shape) for shape in self._profile.get(name) or [self._tensors[name].shape] * 3]

    def create_execution_context(self) -> Any:
        return self._trt._make("IExecutionContext", self)


class IExecutionContext(Recorded):
    def __init__(self, engine: Any) -> None:
        self._engine, self._given, self._addresses = engine, {}, {}

    def _refuse(self, text: str) -> bool:
        self._engine._logger.log(self._trt.ILogger.ERROR, text)
        return False

    def set_input_shape(self, name: str, shape: Any) -> bool:
        low, _, high = self._engine.get_tensor_profile_shape(name, 0)
        if len(shape) != len(low) or any(not a <= b <= c for a, b, c in zip(low, shape, high, strict=True)):
            return self._refuse(f"Supplied {tuple(shape)} is outside of the profile of {name}")
        self._given[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name: str) -> Dims:
        if name in self._given:
            return Dims(self._given[name])
        batch = self._given[self._engine._inputs[0]][0] if self._given else -1
        return Dims(batch if size == -1 else size for size in self._engine.get_tensor_shape(name))

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self._engine._tensors:
            return self._refuse(f"Given invalid tensor name: {name}")
        self._addresses[name] = int(memory)
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        missing = [name for name in self._engine._tensors if not self._addresses.get(name)]
        if missing or set(self._given) != set(self._engine._inputs):
            return self._refuse(f"IExecutionContext::enqueueV3: no address or shape of {missing or 'the input'}")
        feed = {name: self._memory(name).copy() for name in self._engine._inputs}
        outputs = [name for name in self._engine._tensors if name not in feed]
        for name, value in zip(outputs, self._engine._session.run(outputs, feed), strict=True):
            self._memory(name)[...] = value
        return True

    def _memory(self, name: str) -> Any:
        shape = tuple(self.get_tensor_shape(name))
        floats = (ctypes.c_float * int(np.prod(shape))).from_address(self._addresses[name])
        return np.ctypeslib.as_array(floats).reshape(shape)


CLASSES = (
    Builder, INetworkDefinition, IBuilderConfig, ITimingCache, IOptimizationProfile, ParserError, OnnxParser, Runtime,
    ICudaEngine, IExecutionContext,
)  # fmt: skip


def fake_tensorrt(version: str, *, has_gpu: bool = True) -> Any:
    """The module `tensorrt` of one recorded version."""
    trt: Any = ModuleType("tensorrt")
    trt.__version__, trt._has_gpu = version, has_gpu
    enums = {name: PybindEnum(name, members) for name, members in API[version]["enums"].items()}
    trt.ILogger = type("ILogger", (ILogger,), dict(enums.pop("ILogger.Severity").__members__))
    for name, enum in enums.items():
        setattr(trt, name, enum)
    made = {
        cls.__name__: type(cls.__name__, (cls,), {"_trt": trt, "_members": API[version]["classes"][cls.__name__]})
        for cls in CLASSES
    }
    for name, cls in made.items():
        setattr(trt, name, cls)
    trt._make = lambda name, *given: made[name](*given)
    return trt


def install(version: str, monkeypatch: pytest.MonkeyPatch, *, has_gpu: bool = True) -> Any:
    module = fake_tensorrt(version, has_gpu=has_gpu)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(tensorrt_engine, "find_gpu", lambda gpu_id: torch.device("cpu"))
    return module
