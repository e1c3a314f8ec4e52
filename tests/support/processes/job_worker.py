"""A worker for a model whose actions take no time: `python job_worker.py FOLDER ATTEMPT`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tao_skill.errors import BadData
from tao_skill.jobs import job_process
from tao_skill.jobs.secrets import SECRETS_VARIABLE
from tao_skill.model import Action
from tao_skill.models.pose_classification.model import PoseClassification
from tao_skill.outcome import Artifact, Outcome
from tao_skill.progress import Progress
from tao_skill.spec.param import Param
from tao_skill.status import StatusLog


@dataclass(frozen=True, kw_only=True)
class Login:
    token: Annotated[str | None, Param("A secret.", secret=True)] = None


@dataclass(frozen=True, kw_only=True)
class TinyConfig:
    results_dir: Annotated[str, Param("Where it writes.")] = "."
    value: Annotated[float, Param("A number to give back.")] = 0.0
    login: Annotated[Login, Param("Access.")] = field(default_factory=Login)


def complete(config: TinyConfig) -> Outcome:
    log = StatusLog(Path(config.results_dir))
    log.progress(Progress(epoch=1, epochs=1, eta_s=0.0))
    left = log.path.with_name("answer.txt")
    left.write_text(f"{config.login.token is not None} {SECRETS_VARIABLE in os.environ}")
    metrics = {"value": config.value, "nothing": float("nan")}
    return Outcome(metrics=metrics, artifacts=(Artifact(kind="answer", path=left),))


def refuse(config: TinyConfig) -> Outcome:
    raise BadData("the data are no data", fix="take other data", path="dataset")


def fail(config: TinyConfig) -> Outcome:
    print("the token is", config.login.token)
    os.write(1, b"working\n")
    raise ValueError(f"login with {config.login.token!r} failed")


def endless(config: TinyConfig) -> Outcome:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (Path(config.results_dir) / "child").write_text(str(child.pid))
    StatusLog(Path(config.results_dir)).progress(Progress(epoch=1, epochs=9))
    time.sleep(60)
    raise AssertionError("nobody stopped it")


def stubborn(config: TinyConfig) -> Outcome:
    while True:
        try:
            endless(config)
        except SystemExit:
            continue


def rank() -> int:
    return int(os.environ["LOCAL_RANK"])


def two(config: TinyConfig) -> int:
    return 2


def shared(config: TinyConfig) -> Outcome:
    """Each process leaves what it knows, and waits for the other."""
    folder = Path(config.results_dir)
    facts = [config.login.token, os.environ["MASTER_ADDR"], SECRETS_VARIABLE in os.environ, os.getpgid(0)]
    (folder / f"rank_{rank()}").write_text(json.dumps([os.environ["MASTER_PORT"], *facts]))
    while not (folder / f"rank_{1 - rank()}").exists():
        time.sleep(0.01)
    return Outcome(metrics={"rank": rank()}, artifacts=())


def second_fails(config: TinyConfig) -> Outcome:
    if rank() == 1:
        raise ValueError("the second one cannot")
    return endless(config)


def second_endless(config: TinyConfig) -> Outcome:
    if rank() == 1:
        return endless(config)
    raise ValueError("the first one cannot")


def asleep(config: TinyConfig) -> Outcome:
    (Path(config.results_dir) / f"pid_{rank()}").write_text(str(os.getpid()))
    time.sleep(60)
    raise AssertionError("nobody stopped it")


ACTIONS = ("complete", "refuse", "fail", "endless", "stubborn")
SHARED = ("shared", "asleep", "second_fails", "second_endless")


class TinyModel(PoseClassification):
    name = "tiny"

    def __init__(self) -> None:
        self.actions = {
            name: Action(name=name, summary=name, run=globals()[name], processes=two if name in SHARED else None)
            for name in (*ACTIONS, *SHARED)
        }

    @property
    def config(self) -> type:
        return TinyConfig


TINY = TinyModel()

if __name__ == "__main__":
    sys.exit(job_process.main(sys.argv[1:], find_model=lambda name: TINY))
