"""Ways to spend a number of epochs; each begins with the default, and none knows what another found."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from tasks import EPOCHS, SPACE, Metrics, Task, Training

from tao_skill.automl.search import search
from tao_skill.automl.search.asha import Budget, Goal, Trial, make_rung_schedule, winner

GOAL = Goal(metric="val_acc", maximize=True, tie="val_loss")
METRIC = GOAL.metric


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a method came to: best value, the default's, epochs trained, configurations, seconds of deciding."""

    best: float
    default: float
    epochs: int
    trials: int
    overhead_s: float


@dataclass
class Workshop:
    """Trains configurations by number: the same number and seed give the same start, whoever asks."""

    task: Task
    seed: int
    epochs: int = 0
    trainings: dict[int, Training] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.data = self.task.split()

    def training(self, number: int, values: Mapping[str, Any]) -> Training:
        """The training of a configuration, as far as it is."""
        begun = Training(self.data, self.task, values, self.seed * 1000 + number)
        return self.trainings.setdefault(number, begun)

    def step(self, training: Training) -> Metrics:
        """One more epoch."""
        self.epochs += 1
        return training.epoch()

    def __call__(self, task: search.Task) -> Sequence[Metrics]:
        """An objective of the product's search."""
        training = self.training(task.number, task.values)
        while len(training.history) < task.target and not training.diverged:
            self.step(training)
        return training.history


class Notebook:
    """A journal for the length of a process."""

    def load(self) -> list[Trial]:
        """Nothing: every search here is a new one."""
        return []

    def save(self, trial: Trial) -> None:
        """Nothing to do: the search holds its trials."""


def ours(task: Task, seed: int, epochs: int) -> Found:
    """The product's own search, with its own defaults."""
    setup = search.Setup(
        space=SPACE,
        spec=task.default,
        goal=GOAL,
        schedule=make_rung_schedule(EPOCHS),
        budget=Budget(trials=epochs, max_epochs=EPOCHS, epochs_total=epochs),
        seed=seed,
    )
    run, workshop, overhead_s = search.Search(setup, Notebook()), Workshop(task, seed), 0.0
    while True:
        start = time.perf_counter()
        given = run.next_task()
        overhead_s += time.perf_counter() - start
        if given is None:
            break
        run.succeed(given.number, workshop(given))
    best = winner(run.trials, GOAL, EPOCHS).best(GOAL)[METRIC]
    return _found(workshop, best, len(run.trials), overhead_s)


def _found(workshop: Workshop, best: float, trials: int, overhead_s: float) -> Found:
    default = max(epoch[METRIC] for epoch in workshop.trainings[0].history)
    return Found(best=best, default=default, epochs=workshop.epochs, trials=trials, overhead_s=overhead_s)


def plain_tpe(task: Task, seed: int, epochs: int) -> Found:
    """Optuna's TPE as it comes, full trainings only."""
    return _with_optuna(task, seed, epochs, TPESampler(seed=seed), NopPruner())


def tpe_hyperband(task: Task, seed: int, epochs: int) -> Found:
    """Optuna's TPE and Hyperband pruner, from the same lowest rung and with the same reduction as ours."""
    pruner = HyperbandPruner(min_resource=3, max_resource=EPOCHS, reduction_factor=3)
    return _with_optuna(task, seed, epochs, TPESampler(seed=seed), pruner)


def random_search(task: Task, seed: int, epochs: int) -> Found:
    """Random configurations, full trainings only."""
    return _with_optuna(task, seed, epochs, RandomSampler(seed=seed), NopPruner())


def _with_optuna(task: Task, seed: int, epochs: int, sampler: BaseSampler, pruner: BasePruner) -> Found:
    """Trials until the epochs are spent; every epoch counts for the best, those of a pruned or cut trial too."""
    name = f"{task.name} {seed}"  # Hyperband sorts trials into brackets by it
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner, study_name=name)
    study.enqueue_trial(dict(task.default))
    workshop, best, overhead_s = Workshop(task, seed), 0.0, 0.0
    while workshop.epochs < epochs:
        start = time.perf_counter()
        trial = study.ask()
        values = _suggested(trial)
        overhead_s += time.perf_counter() - start
        training = workshop.training(trial.number, values)
        value = _trained(workshop, training, trial, epochs)
        best = max(best, *(epoch[METRIC] for epoch in training.history if epoch[METRIC] == epoch[METRIC]), 0.0)
        pruned = optuna.trial.TrialState.PRUNED
        study.tell(trial, *((None, pruned) if value is None else (value,)))
    return _found(workshop, best, len(study.trials), overhead_s)


def _suggested(trial: optuna.Trial) -> dict[str, float]:
    return {one.key: trial.suggest_float(one.key, one.low, one.high, log=one.log) for one in SPACE.dimensions}


def _trained(workshop: Workshop, training: Training, trial: optuna.Trial, epochs: int) -> float | None:
    """Best value of a full training, 0 if it diverged; None if it was pruned or the epochs ran out."""
    while len(training.history) < EPOCHS:
        if workshop.epochs == epochs:
            return None
        value = workshop.step(training)[METRIC]
        if training.diverged:
            return 0.0
        trial.report(value, len(training.history))
        if trial.should_prune():
            return None
    return max(epoch[METRIC] for epoch in training.history)


METHODS: Mapping[str, Callable[[Task, int, int], Found]] = {
    "tao-skill": ours,
    "TPE, no pruning": plain_tpe,
    "TPE + Hyperband": tpe_hyperband,
    "random search": random_search,
}
