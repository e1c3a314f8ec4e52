"""A second model, which is not shipped: it fits a line through points, by names that the first model does not have."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

from tao_skill.errors import NotFound, Problem
from tao_skill.model import Action, Model, TrainingKeys, task_results_dir
from tao_skill.outcome import Advice, Artifact, Outcome, Selection
from tao_skill.spec.param import REQUIRED, Param
from tao_skill.status import reporting


@dataclass(frozen=True, kw_only=True)
class Points:
    file: Annotated[str, Param("JSON list of [x, y].", reads_file=True)] = REQUIRED


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    results_dir: Annotated[str | None, Param("Where training writes.", writes=True)] = None
    rounds: Annotated[int, Param("Rounds of gradient descent.", minimum=1)] = 4
    rate: Annotated[float, Param("Step size.", above=0.0, low=1e-3, high=0.5, log=True, tune=True)] = 0.01
    dice: Annotated[int, Param("Random seed.", minimum=0)] = 0
    every: Annotated[int, Param("Rounds from one file of weights to the next.", minimum=1)] = 1


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    results_dir: Annotated[str | None, Param("Where evaluation writes.", writes=True)] = None
    weights: Annotated[str, Param("Weights to score.", reads_file=True, checkpoint=True)] = REQUIRED


@dataclass(frozen=True, kw_only=True)
class LineConfig:
    results_dir: Annotated[str | None, Param("Folder that results go to.", writes=True)] = None
    points: Annotated[Points, Param("Data.")] = field(default_factory=Points)
    train: Annotated[TrainConfig, Param("Training.", only=("train",))] = field(default_factory=TrainConfig)
    evaluate: Annotated[EvaluateConfig, Param("Evaluation.", only=("evaluate",))] = field(
        default_factory=EvaluateConfig
    )


def _points(config: LineConfig) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in json.loads(Path(config.points.file).read_text())]


def _error(points: Sequence[tuple[float, float]], slope: float) -> float:
    return sum((y - slope * x) ** 2 for x, y in points) / len(points)


def _advance(config: LineConfig, until: int, limit_s: float | None = None) -> list[dict[str, float]]:
    deadline = math.inf if limit_s is None else time.monotonic() + limit_s
    folder = task_results_dir(config, "train")
    folder.mkdir(parents=True, exist_ok=True)
    latest = _latest(folder)
    state: dict[str, Any] = json.loads(latest.read_text()) if latest else {"slope": 0.0, "history": []}
    points = _points(config)
    for number in range(len(state["history"]), until):
        gradient = sum(-2 * x * (y - state["slope"] * x) for x, y in points) / len(points)
        state["slope"] -= config.train.rate * gradient
        state["history"].append({"closeness": 1 / (1 + (error := _error(points, state["slope"]))), "misfit": error})
        is_over = time.monotonic() >= deadline
        if (number + 1) % config.train.every == 0 or number + 1 == until or is_over:
            (folder / f"round_{number + 1:03d}.line").write_text(json.dumps(state))
        if is_over:
            break
    return [dict(metrics) for metrics in state["history"]]


def _latest(folder: Path) -> Path | None:
    return max(folder.glob("*.line"), default=None)


def _best(folder: Path, metric: str) -> Path:
    files = list(folder.glob("*.line"))
    if not files:
        raise NotFound(f"no weights in {folder}", fix="train first")
    sign = -1 if metric == "misfit" else 1
    return max(files, key=lambda file: sign * float(json.loads(file.read_text())["history"][-1][metric]))


def _train(config: LineConfig) -> Outcome:
    folder = task_results_dir(config, "train")
    with reporting(folder, "Training") as status:
        history = _advance(config, config.train.rounds)
        status.write("SUCCESS", "Training is complete.", kpi=history[-1])
    return Outcome(metrics=history[-1], artifacts=[Artifact(kind="weights", path=_best(folder, "closeness"))])


def _evaluate(config: LineConfig) -> Outcome:
    folder = task_results_dir(config, "evaluate")
    with reporting(folder, "Evaluation"):
        slope = float(json.loads(Path(config.evaluate.weights).read_text())["slope"])
        report = {"slope": slope, "misfit": _error(_points(config), slope), "rows": list(range(100))}
        (folder / "line.json").write_text(json.dumps(report))
    return Outcome(
        metrics={"misfit": report["misfit"]}, artifacts=[Artifact(kind="line_report", path=folder / "line.json")]
    )


class LineModel(Model):
    """Fits y = slope * x."""

    name = "line"
    skill = "tao-train-line"
    checkpoint_suffix = ".line"
    training = TrainingKeys(
        epochs="train.rounds",
        seed="train.dice",
        trial={},
        checkpoints={"train.every": 1000},
        tie_breaker="misfit",
        lower_on_divergence="train.rate",
    )
    actions = MappingProxyType(
        {
            "train": Action(name="train", summary="Fit the line.", run=_train, makes_model=True, next=("evaluate",)),
            "evaluate": Action(
                name="evaluate",
                summary="Score the line.",
                run=_evaluate,
                report="line_report",
                summarize=lambda report, metrics: {"slope": report["slope"]},
            ),
        }
    )

    @property
    def config(self) -> type:
        return LineConfig

    def check_run(self, config: LineConfig, action: str) -> Advice:
        if len(_points(config)) < 2:
            problem = Problem(key="points.file", message="points.file has fewer than two points", fix="add points")
            return Advice(problems=[problem])
        return Advice()

    def select_result(
        self, action: str, results_dir: Path, metric: str, artifacts: Mapping[str, Path] = MappingProxyType({})
    ) -> Selection:
        return Selection(path=_best(results_dir, metric), reason=f"best {metric}")

    def latest_result(self, results_dir: Path) -> Path | None:
        return _latest(results_dir)

    def result_files(self, results_dir: Path) -> Sequence[Path]:
        return sorted(results_dir.glob("*.line"))

    def keep_only_best(self, results_dir: Path, metric: str) -> None:
        if files := list(results_dir.glob("*.line")):
            best = _best(results_dir, metric)
            for file in files:
                if file != best:
                    file.unlink()

    def train_until(
        self, config: LineConfig, until: int, metric: str, limit_s: float | None = None
    ) -> list[dict[str, float]]:
        return _advance(config, until, limit_s)

    def epoch_seconds(self, config: LineConfig) -> float:
        points, began = _points(config), time.monotonic()
        _error(points, 0.0)
        return 2 * (time.monotonic() - began)
