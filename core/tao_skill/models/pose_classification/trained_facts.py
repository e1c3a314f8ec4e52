"""Metadata of a trained model, in checkpoints and in ONNX files; engines are calibrated by that of their ONNX file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from tao_skill import __version__
from tao_skill.errors import BadData
from tao_skill.io.strict_json import parse_integer, parse_json, truncate
from tao_skill.models.pose_classification.config import CENTERS, STREAMS, ExperimentConfig
from tao_skill.models.pose_classification.network.layout_file import stated_layout, stated_name

OWN_LENGTH: Final = 0
"""`resample_frames` of a model whose training sequences were not resampled."""

_NONE: Final = "none"
"""OWN_LENGTH as text."""

_OF_OLDER: Final[Mapping[str, Any]] = MappingProxyType(
    {"align_view": False, "normalize_scale": False, "streams": ["joint"]}
)
"""Facts that older versions did not have and did not state."""

_FLAGS: Final[Mapping[str, bool]] = MappingProxyType({"true": True, "false": False})

KEYS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "model_type": "model.model_type",
        "graph_layout": "model.graph_layout",
        "graph_strategy": "model.graph_strategy",
        "input_channels": "model.input_channels",
        "center": "model.center",
        "align_view": "model.align_view",
        "normalize_scale": "model.normalize_scale",
        "streams": "model.streams",
        "stream_weights": "model.stream_weights",
        "edge_importance_weighting": "model.edge_importance_weighting",
        "num_classes": "dataset.num_classes",
        "resample_frames": "dataset.resample_frames",
    }
)
"""The facts that a spec must repeat to use a model, and their spec keys."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A fact that a file and the spec state differently, values as a spec writes them."""

    key: str
    in_file: str
    in_spec: str

    def __str__(self) -> str:
        return f"{self.key} is {self.in_file} in the file, {self.in_spec} in the spec"

    @property
    def override(self) -> str:
        """The override that makes the spec fit the file."""
        return f"{self.key}={self.in_file}"


@dataclass(frozen=True, kw_only=True)
class TrainedFacts:
    """How a model was trained; None stands for a fact that its file does not state.

    Attributes:
        resample_frames: OWN_LENGTH if the training sequences were not resampled.
        label_map: class id by name as the file states it, not checked. version: of tao-skill.
        edge_importance_weighting: known from the tensors of a checkpoint alone; ONNX files work without it.
        stream_weights: of an ONNX file, which has them built in; a checkpoint is scored with those of the spec.
        trim_padding: a setting of older versions, read and never written.
    """

    model_type: str | None = None
    graph_layout: str | None = None
    graph_strategy: str | None = None
    input_channels: int | None = None
    num_classes: int | None = None
    center: str | None = None
    align_view: bool | None = None
    normalize_scale: bool | None = None
    streams: tuple[str, ...] | None = None
    stream_weights: tuple[float, ...] | None = None
    edge_importance_weighting: bool | None = None
    resample_frames: int | None = None
    label_map: Any = None
    model_name: str | None = None
    version: str | None = None
    trim_padding: bool | None = None

    @classmethod
    def of(cls, config: ExperimentConfig) -> TrainedFacts:
        """The facts of a model trained with this spec."""
        model, dataset = config.model, config.dataset
        return cls(
            model_type=model.model_type,
            graph_layout=stated_layout(model.graph_layout),
            graph_strategy=model.graph_strategy,
            input_channels=model.input_channels,
            num_classes=dataset.num_classes,
            center=model.center,
            align_view=model.align_view,
            normalize_scale=model.normalize_scale,
            streams=tuple(model.streams),
            stream_weights=tuple(model.stream_weights),
            edge_importance_weighting=model.edge_importance_weighting,
            resample_frames=dataset.resample_frames or OWN_LENGTH,
            label_map=dataset.label_map,
            model_name=config.model_name,
            version=__version__,
        )

    @classmethod
    def read(cls, stated: Mapping[str, Any], path: Path) -> TrainedFacts:
        """The facts in a checkpoint (plain values) or in the metadata of an ONNX file (text); other names are ignored.

        Raises:
            BadData: a value is not of its type.
        """
        stated = {**_OF_OLDER, **stated} if any(name in stated for name in KEYS) else stated
        return cls(**{name: _read(name, stated[name], path) for name in _READERS if name in stated})

    def plain(self) -> dict[str, Any]:
        """Plain values, for checkpoints."""
        written = {name: getattr(self, name) for name in _READERS if name not in ("trim_padding", "stream_weights")}
        written["streams"] = None if self.streams is None else list(self.streams)
        return written | {"resample_frames": self.resample_frames or None}

    def text(self) -> dict[str, str]:
        """Text, for the metadata of ONNX files."""
        values = self.plain() | {"stream_weights": self.stream_weights}
        return {name: _TEXT.get(name, _as_text)(value) for name, value in values.items()}

    def differences(self, spec: TrainedFacts) -> list[Difference]:
        """The facts of KEYS that both state and that differ."""
        return [
            Difference(key=key, in_file=_shown(name, in_file), in_spec=_shown(name, in_spec))
            for name, key in KEYS.items()
            if None not in (in_file := getattr(self, name), in_spec := getattr(spec, name)) and in_file != in_spec
        ]

    def states_any(self) -> bool:
        """Whether the file states a fact of KEYS."""
        return any(getattr(self, name) is not None for name in KEYS)


def fix_of(differences: Iterable[Difference]) -> str:
    """The overrides that make the spec fit the file."""
    return f"set {' '.join(difference.override for difference in differences)}, or use a file that fits the spec"


def trimming_warning(path: Path, facts: TrainedFacts) -> str | None:
    """A warning for a model that an older version trained with dataset.trim_padding, which was removed."""
    if not facts.trim_padding:
        return None
    return (
        f"{path} was trained with dataset.trim_padding, which was removed: it scores whole sequences less accurately. "
        "Train again with dataset.resample_frames."
    )


def _read(name: str, value: Any, path: Path) -> Any:
    try:
        return _READERS[name](value)
    except ValueError as error:
        raise BadData(
            f"{path} has the metadata {name}={truncate(value)}, accepted: {error}",
            fix="use a file as the train or export action wrote it",
            path=str(path),
        ) from error


def _read_text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError("text")
    return value or None


def _read_integer(value: Any) -> int | None:
    if value is None or type(value) is int:
        return value
    try:
        return parse_integer(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError("an integer") from error


def _read_flag(value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, str) or value.lower() not in _FLAGS:
        raise ValueError("true or false")
    return _FLAGS[value.lower()]


def _read_center(value: Any) -> str | None:
    """One of CENTERS; older versions wrote a flag."""
    if value is None:
        return None
    center = str(value).lower() if isinstance(value, bool | str) else ""
    if center not in CENTERS:
        raise ValueError(", ".join(CENTERS))
    return center


def _read_list(of: Callable[[Any], Any], named: str) -> Callable[[Any], tuple[Any, ...] | None]:
    """A list, or its text with commas."""

    def read(value: Any) -> tuple[Any, ...] | None:
        items = value.strip("[]").split(",") if isinstance(value, str) else value
        try:
            return None if value in (None, "") else tuple(of(item) for item in items if item != "")
        except (TypeError, ValueError) as error:
            raise ValueError(named) from error

    return read


def _read_stream(value: Any) -> str:
    if value not in STREAMS:
        raise ValueError
    return str(value)


def _read_frames(value: Any) -> int:
    return OWN_LENGTH if isinstance(value, str) and value == _NONE else _read_integer(value) or OWN_LENGTH


def _read_label_map(value: Any) -> Any:
    """JSON text as plain values; text that is not JSON stays as it is, and is refused where it is used."""
    if not isinstance(value, str):
        return value
    try:
        return parse_json(value)
    except ValueError:
        return value


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _shown(name: str, value: Any) -> str:
    if name == "graph_layout":
        value = stated_name(value)
    return "null" if name == "resample_frames" and value == OWN_LENGTH else " ".join(_as_text(value).split())[:80]


_TEXT: Final[Mapping[str, Callable[[Any], str]]] = MappingProxyType(
    {"resample_frames": lambda frames: _as_text(frames) or _NONE, "label_map": json.dumps}
)

_READERS: Final[Mapping[str, Callable[[Any], Any]]] = MappingProxyType(
    {
        "version": _read_text,
        "model_name": _read_text,
        "model_type": _read_text,
        "center": _read_center,
        "align_view": _read_flag,
        "normalize_scale": _read_flag,
        "streams": _read_list(_read_stream, f"a list of {', '.join(STREAMS)}"),
        "stream_weights": _read_list(float, "a list of numbers"),
        "graph_layout": _read_text,
        "graph_strategy": _read_text,
        "input_channels": _read_integer,
        "resample_frames": _read_frames,
        "num_classes": _read_integer,
        "label_map": _read_label_map,
        "trim_padding": _read_flag,
    }
)
