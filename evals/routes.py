"""Which route a plain request to train takes, by the command that the train skill states for it.

Takes the plan command from the skill's SKILL.md, puts each request of routes.yaml and a spec of generated data into it,
runs it in this process and compares the route. Exits with 1 where one differs; trains nothing.
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
from tao_skill.cli.terminal.options import exit_code
from tao_skill.models.pose_classification.data.sample.sample import write_sample

ROOT: Final = Path(__file__).resolve().parents[1]
SKILL: Final = ROOT / "skills" / "tao-train-pose-classification" / "SKILL.md"
SPEC: Final = "spec.yaml"
REQUEST: Final = "USER REQUEST"
"""What stands in the stated command for the spec file and for the user's own words."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The outcome that a request should have and the one it has: a route, or the exit code of a refusal."""

    request: str
    expected: str
    found: str


def stated_plan(skill: str) -> list[str]:
    """The words of the command by which a SKILL.md plans a train from a request, `tao-skill` left out.

    Raises:
        ValueError: it states no such command, or several.
    """
    stated = re.findall(r"`(tao-skill run train [^`]*--request [^`]*--dry-run[^`]*)`", skill)
    if len(set(stated)) != 1:
        raise ValueError(f"{len(set(stated))} plan commands with --request in the SKILL.md, expected 1")
    return shlex.split(stated[0])[1:]


def outcome(words: Sequence[str]) -> str:
    """Route of a `--dry-run --json` command, or `exit CODE` if it is refused."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(io.StringIO()):
        code = exit_code(tao_skill, "tao-skill", words)
    return str(json.loads(printed.getvalue())["route"]["route"]) if code == 0 else f"exit {code}"


def decide(skill: str, spec: Path, results_root: Path, root: Path = ROOT) -> Iterator[Decision]:
    """The decision on every request of routes.yaml, by the procedure of `skill`, the text of a SKILL.md."""
    plan = stated_plan(skill)
    requests = yaml.safe_load((root / "evals" / "routes.yaml").read_text("utf-8"))
    for expected, texts in requests.items():
        for text in texts:
            given = {SPEC: str(spec), REQUEST: text}
            words = [given.get(word, word) for word in plan]
            found = outcome([*words, "--results-root", str(results_root)])
            yield Decision(request=text, expected=expected, found=found)


def main() -> int:
    """Print every wrong decision and how many there were."""
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(write_sample(Path(folder) / "data", train=12, val=6, frames=16)["spec"])
        decisions = list(decide(SKILL.read_text("utf-8"), spec, Path(folder) / "results"))
    wrong = [one for one in decisions if one.found != one.expected]
    for one in wrong:
        print(f"{one.request!r}: {one.found}, expected {one.expected}")
    print(f"{len(decisions) - len(wrong)} of {len(decisions)} requests take their route")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
