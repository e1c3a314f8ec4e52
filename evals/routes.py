"""Checks the routes of plain requests to train, by the plan command in the SKILL.md of the train skill.

Inserts each request of routes.yaml and a spec of generated data into that command, runs it in this process and compares
the route. Exits with 1 if a route differs. Nothing is trained.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import yaml

from tao_skill.cli.program import tao_skill
from tao_skill.cli.terminal.options import run_command
from tao_skill.models.pose_classification.data.sample.sample import write_sample

ROOT: Final = Path(__file__).resolve().parents[1]
SKILL: Final = ROOT / "skills" / "tao-train-pose-classification" / "SKILL.md"
SPEC: Final = "spec.yaml"
REQUEST: Final = "USER REQUEST"
"""Placeholders of the plan command for the spec file and the user's request."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The expected and the actual outcome of a request: a route, or the exit code of an error."""

    request: str
    expected: str
    actual: str


def stated_plan(skill: str) -> list[str]:
    """The arguments of the command that plans a train from a request, in the text of a SKILL.md.

    Raises:
        ValueError: the text has no such command, or several.
    """
    commands = set(re.findall(r"`(tao-skill run train [^`]*--request [^`]*--dry-run[^`]*)`", skill))
    if len(commands) != 1:
        raise ValueError(f"{len(commands)} plan commands with --request in the SKILL.md, expected 1")
    return shlex.split(commands.pop())[1:]


def outcome(arguments: Sequence[str]) -> str:
    """Route of a `--dry-run --json` command, or `exit CODE` if it fails."""
    stdout = io.StringIO()
    with redirect_stdout(stdout), redirect_stderr(io.StringIO()):
        code = run_command(tao_skill, "tao-skill", arguments)
    return str(json.loads(stdout.getvalue())["route"]["route"]) if code == 0 else f"exit {code}"


def decide(skill: str, spec: Path, results_root: Path, root: Path = ROOT) -> Iterator[Decision]:
    """Decide every request of routes.yaml by the plan command of `skill`, the text of a SKILL.md."""
    plan = stated_plan(skill)
    requests = yaml.safe_load((root / "evals" / "routes.yaml").read_text("utf-8"))
    for expected, texts in requests.items():
        for text in texts:
            values = {SPEC: str(spec), REQUEST: text}
            arguments = [values.get(argument, argument) for argument in plan]
            actual = outcome([*arguments, "--results-root", str(results_root)])
            yield Decision(request=text, expected=expected, actual=actual)


def main() -> int:
    """Print every wrong decision and their number, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(write_sample(Path(folder) / "data", train=12, val=6, frames=16)["spec"])
        decisions = list(decide(SKILL.read_text("utf-8"), spec, Path(folder) / "results"))
    wrong = [decision for decision in decisions if decision.actual != decision.expected]
    for decision in wrong:
        print(f"{decision.request!r}: {decision.actual}, expected {decision.expected}")
    print(f"{len(decisions) - len(wrong)} of {len(decisions)} requests take the expected route")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
