"""The command line, in a process of its own and in this one."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from tao_skill.cli import main

TAO_SKILL = (sys.executable, "-m", "tao_skill")
SMALL = ["batch_size=5", "num_workers=0", "lr=0.02", "dropout=0.2"]


def call(
    arguments: Sequence[str], root: Path, *, code: int = 0, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*TAO_SKILL, *arguments],
        env={**os.environ, "TAO_SKILL_RESULTS": str(root)},
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=300,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def call_json(arguments: Sequence[str], root: Path, *, code: int = 0) -> dict[str, Any]:
    document = json.loads(call([*arguments, "--json"], root, code=code).stdout)
    assert isinstance(document, dict)
    return document


def answer_here(arguments: Sequence[str], root: Path, *, code: int = 0) -> Any:
    """The JSON answer of the command line in this process, which takes no time to start; jobs are processes as ever."""
    answer, said = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(answer), redirect_stderr(said):
        patch.setenv("TAO_SKILL_RESULTS", str(root))
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--json"])
    assert (ended.value.code or 0) == code, answer.getvalue() + said.getvalue()
    return json.loads(answer.getvalue())


HEAVY = ("torch", "pytorch_lightning", "lightning_fabric", "optuna", "onnx", "torchmetrics")
