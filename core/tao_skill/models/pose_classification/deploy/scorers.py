"""Trained models of any file type as a function from sequences to class scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from tao_skill.errors import BadData
from tao_skill.models.pose_classification.config import ExperimentConfig
from tao_skill.models.pose_classification.deploy import onnx_file, onnx_graph, tensorrt_engine
from tao_skill.models.pose_classification.network.layout_file import is_absent
from tao_skill.models.pose_classification.network.registry import build_net
from tao_skill.models.pose_classification.network.streams import Net
from tao_skill.models.pose_classification.trained_facts import TrainedFacts, fix_of
from tao_skill.models.pose_classification.training import checkpoint_file

Array = npt.NDArray[np.float32]

_NO_FACTS: Final = TrainedFacts()


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """A loaded model.

    Attributes:
        score: (n, C, T, V, M) float32 -> (n, num_classes) float32, before the softmax.
        frames, persons: the fixed T and M of the model; None if they are dynamic.
        facts: the metadata of the file; empty for an engine.
    """

    score: Callable[[Array], Array]
    frames: int | None = None
    persons: int | None = None
    facts: TrainedFacts = _NO_FACTS

    def __call__(self, x_NCTVM: Array) -> Array:
        """Scores of a batch, zero-padded to the frames and persons of the model.

        Raises:
            BadData: the sequences have more frames or persons than the model takes.
        """
        return self.score(fitted(x_NCTVM, self.frames, self.persons))


def open_scorer(path: Path, config: ExperimentConfig, device: torch.device) -> Scorer:
    """Load a model by its extension: `.onnx` in onnxruntime, `.engine` in TensorRT, anything else as a checkpoint.

    Raises:
        BadData: the file cannot be read or does not fit the spec.
        MissingDependency: the package that runs this file type is not installed.
    """
    return OPENERS.get(path.suffix.lower(), _network)(path, with_stated_layout(config, path), device)


def with_stated_layout(config: ExperimentConfig, path: Path) -> ExperimentConfig:
    """The spec with the layout that a model file states, where the spec names a layout file that does not exist here.

    Raises:
        BadData: the model file cannot be read.
    """
    if not is_absent(config.model.graph_layout) or path.suffix.lower() == tensorrt_engine.SUFFIX:
        return config
    if path.suffix.lower() == ".onnx":
        facts = onnx_file.model_facts(onnx_file.load(path, config.encryption_key), path)
    else:
        facts = checkpoint_file.stated_facts(checkpoint_file.load(path, config.encryption_key), path)
    layout = facts.graph_layout or config.model.graph_layout
    return replace(config, model=replace(config.model, graph_layout=layout))


def fitted(x_NCTVM: Array, frames: int | None, persons: int | None) -> Array:
    """Zero-pad T and M to the fixed sizes of a model.

    Raises:
        BadData: there are more frames or persons.
    """
    for axis, noun, bound in ((2, "frames", frames), (4, "persons", persons)):
        have = x_NCTVM.shape[axis]
        if bound is None or have == bound:
            continue
        if have > bound:
            raise BadData(
                f"the sequences have {have} {noun}, the exported model takes {bound}",
                fix="export again with export.sequence_length (-1 takes any) and export.num_persons of the data",
            )
        x_NCTVM = np.pad(x_NCTVM, [(0, bound - have if i == axis else 0) for i in range(5)])
    return x_NCTVM


def trained_network(path: Path, config: ExperimentConfig) -> tuple[Net, TrainedFacts]:
    """The network of a checkpoint, and the metadata that training stored in the file.

    Raises:
        BadData: the file cannot be read, is of another network, or was trained on sequences of another length.
    """
    net = build_net(config.model, config.dataset.num_classes)
    facts = checkpoint_file.load_network(net, path, config.encryption_key)
    if differences := facts.differences(TrainedFacts.of(config)):
        raise BadData(
            f"checkpoint {path} does not fit the spec: {'; '.join(map(str, differences))}",
            fix=fix_of(differences),
            path=differences[0].key,
        )
    return net, facts


def _network(path: Path, config: ExperimentConfig, device: torch.device) -> Scorer:
    net, facts = trained_network(path, config)
    folded = device.type == "cpu" and onnx_graph.can_write(net)
    score = _folded(net, config.dataset.num_classes, path) if folded else _in_torch(net, device)
    return Scorer(score=score, facts=facts)


def _in_torch(net: Net, device: torch.device) -> Callable[[Array], Array]:
    net.to(device).eval()

    def score(x_NCTVM: Array) -> Array:
        with torch.inference_mode():
            scores_NK: Array = net(torch.from_numpy(x_NCTVM).to(device)).cpu().numpy()
        return scores_NK

    return score


def _folded(net: Net, classes: int, path: Path) -> Callable[[Array], Array]:
    """The network in onnxruntime, of a fixed number of persons: a graph for each number that occurs."""

    @cache
    def session(persons: int) -> Any:
        model = onnx_graph.to_onnx(net, frames=None, persons=persons)
        return onnx_file.open_session(model.SerializeToString(), path)

    def score(x_NCTVM: Array) -> Array:
        persons = x_NCTVM.shape[4]
        return onnx_file.scores(session(persons), x_NCTVM, classes, path, threads=torch.get_num_threads())

    return score


def _onnx(path: Path, config: ExperimentConfig, device: torch.device) -> Scorer:
    data, threads = onnx_file.load(path, config.encryption_key).SerializeToString(), torch.get_num_threads()
    session = onnx_file.open_session(data, path, gpu=device.index)
    onnx_file.check_fits(session, config, path)
    if onnx_file.fixed_batch(session):  # the batch cannot be split among threads, its operators can
        session, threads = onnx_file.open_session(data, path, gpu=device.index, threads=threads), 1
    _, _, frames, _, persons = session.get_inputs()[0].shape

    def score(x_NCTVM: Array) -> Array:
        return onnx_file.scores(session, x_NCTVM, config.dataset.num_classes, path, threads=threads)

    return Scorer(
        score=score,
        frames=_fixed(frames),
        persons=_fixed(persons),
        facts=onnx_file.facts(session, path),
    )


def _engine(path: Path, config: ExperimentConfig, device: torch.device) -> Scorer:
    engine = tensorrt_engine.open_engine(path, config.encryption_key, device.index or 0)
    _, frames, _, persons = engine.shape
    return Scorer(score=engine, frames=frames, persons=persons)


def _fixed(size: int | str | None) -> int | None:
    return size if isinstance(size, int) else None


OPENERS: Final[Mapping[str, Callable[[Path, ExperimentConfig, torch.device], Scorer]]] = MappingProxyType(
    {".onnx": _onnx, tensorrt_engine.SUFFIX: _engine}
)
