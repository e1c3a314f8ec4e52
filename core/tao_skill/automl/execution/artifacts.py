"""Files of a search in its job's folder: reports, checkpoints and, at the end, the winner as a trained model."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from tao_skill import __version__
from tao_skill.automl.document import to_json
from tao_skill.automl.execution.objective import trial_spec
from tao_skill.automl.report import html
from tao_skill.automl.report.builder import RunFacts, build_report
from tao_skill.automl.report.files import PAGE_FILE, REPORT_FILE, read_report
from tao_skill.automl.report.report import SearchReport
from tao_skill.automl.search.asha import DEFAULT_TRIAL, Trial
from tao_skill.automl.search.search import Setup
from tao_skill.automl.search.setup import not_in_tao, training_keys
from tao_skill.automl.search.verdict import judge, why_ended
from tao_skill.automl.settings import Settings
from tao_skill.errors import JobFailed, TaoSkillError
from tao_skill.io import atomic
from tao_skill.io.strict_yaml import dump_yaml
from tao_skill.jobs.record import Job
from tao_skill.jobs.trials import trial_results
from tao_skill.model import TRAIN, Model
from tao_skill.outcome import Artifact, Outcome
from tao_skill.spec import load
from tao_skill.spec.references import escaped
from tao_skill.spec.tree import lookup

BEST_SPEC: Final = "best_spec.yaml"
TEST_FOLDER: Final = "test"
"""Folder of the evaluation on the test set, in the job's."""

PACKAGES: Final = ("optuna", "torch", "pytorch-lightning", "numpy")


@dataclass(frozen=True, kw_only=True)
class SearchArtifacts:
    """The files of a search.

    Attributes:
        folder: the job's.
    """

    folder: Path
    model: Model
    job: Job
    setup: Setup
    settings: Settings

    def last_report(self) -> SearchReport | None:
        """The newest report; None before the first, or if it cannot be read."""
        try:
            return read_report(self.folder, self.job)
        except TaoSkillError:
            return None

    def report(self, trials: Sequence[Trial], *, elapsed_s: float) -> SearchReport:
        """Write the report of a running search, as JSON and as a page."""
        return self._write_report(trials, RunFacts(elapsed_s=round(elapsed_s, 1)))

    def prune(self, trials: Sequence[Trial], *, over: bool = False) -> None:
        """Delete checkpoints that are no longer needed.

        All checkpoints of the user's spec and of the trial that ships are kept, and those of trials that may still be
        promoted, unless the search is over. Any other trial keeps its best checkpoint, as `JOB/NUMBER` is a parent.
        """
        if self.settings.keep_all or not trials:
            return
        winner = judge(self.setup, trials).trial
        preserved = {DEFAULT_TRIAL} | ({winner.number} if winner else set())
        for trial in trials:
            ended = trial.state in ("done", "failed") or (over and trial.state == "waiting")
            if ended and trial.number not in preserved:
                self.model.keep_only_best(trial_results(self.folder, trial.number, TRAIN), self.setup.goal.metric)

    def publish(self, trials: Sequence[Trial], spec: Mapping[str, Any], *, elapsed_s: float) -> Outcome:
        """Write the winner's checkpoints where a direct train writes its own, its spec, and its score on the test set.

        Args:
            spec: of the search, with secrets.

        Raises:
            JobFailed: no configuration has a result.
        """
        facts = RunFacts(elapsed_s=round(elapsed_s, 1), ended=why_ended(trials, self.setup.budget))
        winner = judge(self.setup, trials, is_over=True)
        if winner.trial is None:
            self._write_report(trials, facts)
            fix = f"lower {training_keys(self.model).lower_on_divergence}, or read the failures in {PAGE_FILE}"
            raise JobFailed(winner.sentence, fix=fix)
        target = Path(self.job.results_dir)
        target.mkdir(parents=True, exist_ok=True)
        for path in self.model.result_files(trial_results(self.folder, winner.trial.number, TRAIN)):
            _link_or_copy(path, target / path.name)
        values = dict(winner.trial.values)
        best_spec = trial_spec(self.model, self.job.spec, values, self.settings)
        atomic.write_text(self.folder / BEST_SPEC, dump_yaml(escaped(best_spec)))
        test = self._test_metrics(trial_spec(self.model, spec, values, self.settings), target)
        self._write_report(trials, replace(facts, test=test, not_in_tao=not_in_tao(self.model, best_spec)))
        self.prune(trials, over=True)
        metrics = self._metrics(trials, winner.trial) | {f"test_{name}": value for name, value in test.items()}
        return Outcome(metrics=metrics, artifacts=self._artifacts(target), chosen=values)

    def _write_report(self, trials: Sequence[Trial], facts: RunFacts) -> SearchReport:
        facts = replace(
            facts,
            workers=self.settings.workers,
            seeds={TRAIN: lookup(self.setup.spec, training_keys(self.model).seed)},
            command=self.job.command,
            versions={"tao-skill": __version__, **{name: version(name) for name in PACKAGES}},
        )
        report = build_report(self.setup, trials, facts)
        atomic.write_json(self.folder / REPORT_FILE, to_json(report))
        atomic.write_text(self.folder / PAGE_FILE, html.render(report))
        return report

    def _test_metrics(self, spec: Mapping[str, Any], target: Path) -> dict[str, float]:
        """Metrics of the winner on the test set beside the training data; empty without one, or if it does not fit."""
        config = load.build(self.model.config, spec)
        found = self.model.test_set(config)
        if found is None:
            return {}
        checkpoint = self.model.select_result(TRAIN, target, self.setup.goal.metric).path
        try:
            return dict(self.model.score(config, checkpoint, *found, self.folder / TEST_FOLDER))
        except TaoSkillError as error:
            print(f"the test set {found[0]} was not scored: {error.message}", file=sys.stderr)
            return {}

    def _metrics(self, trials: Sequence[Trial], winner: Trial) -> dict[str, float]:
        goal = self.setup.goal
        default = trials[DEFAULT_TRIAL].best(goal).get(goal.metric)
        best: Mapping[str, float] = winner.best(goal)
        metrics = dict(best) | {f"best_{goal.metric}": best[goal.metric], "winner": float(winner.number)}
        metrics |= {} if default is None else {f"default_{goal.metric}": default}
        started = sum(trial.state != "planned" for trial in trials)
        return metrics | {"trials": float(started), "epochs": float(sum(trial.epochs for trial in trials))}

    def _artifacts(self, target: Path) -> list[Artifact]:
        kinds = {
            "best_checkpoint": self.model.select_result(TRAIN, target, self.setup.goal.metric).path,
            "latest_checkpoint": self.model.latest_result(target),
            "best_spec": self.folder / BEST_SPEC,
            "report": self.folder / PAGE_FILE,
            "report_data": self.folder / REPORT_FILE,
        }
        return [Artifact(kind=kind, path=path.resolve()) for kind, path in kinds.items() if path]


def _link_or_copy(source: Path, target: Path) -> None:
    """Give a file or link a second name; a file is copied only where hard links are not supported."""
    if source.is_symlink():
        atomic.replace_link(target, str(source.readlink()))
        return
    # A rename between two names of one file does nothing: the partial name would stay.
    if target.exists() and target.samefile(source):
        return
    partial = target.with_name(f".{target.name}.tmp")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(target)
    atomic.sync_folder(target.parent)
