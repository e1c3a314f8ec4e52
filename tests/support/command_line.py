"""The command line in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


HEAVY = ("torch", "pytorch_lightning", "lightning_fabric", "optuna", "onnx", "torchmetrics")
