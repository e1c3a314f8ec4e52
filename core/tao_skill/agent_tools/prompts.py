"""Prompts that a user can select in a client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tao_skill.errors import BadRequest, NotFound


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """A prompt template.

    Attributes:
        arguments: description by name; all are required. text: the template, with `{name}` for each argument.
    """

    name: str
    description: str
    arguments: Mapping[str, str]
    text: str


_FILES: Final = {
    "data": "Training sequences, .npy",
    "labels": "Training labels, .pkl",
    "val_data": "Validation sequences, .npy",
    "val_labels": "Validation labels, .pkl",
}

_PROMPTS: Final = (
    Prompt(
        name="train-pose-classifier",
        description="Train a pose classifier on my data and report its accuracy.",
        arguments=_FILES,
        text="""\
Train a pose classifier on {data} with labels {labels}; validate on {val_data} with labels {val_labels}.
1. inspect_data with these files; report its warnings.
2. run_action train with the suggested overrides and automl=off, then wait_for_job until it has ended.
3. run_action evaluate with the train job as parent, then read_report.
Report the accuracy, the weakest classes and the path of the model. When a call fails, apply its fix.""",
    ),
    Prompt(
        name="tune-pose-classifier",
        description="Search for better training settings within a budget.",
        arguments=_FILES | {"time_budget": "Seconds of the search"},
        text="""\
Find better settings for a pose classifier on {data} with labels {labels}.
Validate on {val_data} with labels {val_labels}.
1. inspect_data with these files; report its warnings.
2. plan train with the suggested overrides, automl=on, time_budget={time_budget}; report recipes and search space.
3. run_action with the same arguments and a key, then wait_for_job until it has ended.
4. read_report: report the verdict, the gain over my spec, flags, and the settings of the winner.
5. run_action evaluate with the job as parent, then read_report. When a call fails, apply its fix.""",
    ),
)

PROMPTS: Final[Mapping[str, Prompt]] = {prompt.name: prompt for prompt in _PROMPTS}


def fill(name: str, arguments: Mapping[str, str]) -> str:
    """Return the text of a prompt with its arguments inserted.

    Raises:
        NotFound: the prompt does not exist. BadRequest: an argument is missing.
    """
    if name not in PROMPTS:
        raise NotFound(f"no prompt {name!r}", fix=f"use {' or '.join(PROMPTS)}")
    prompt = PROMPTS[name]
    if missing := [argument for argument in prompt.arguments if argument not in arguments]:
        raise BadRequest(f"{name} needs {', '.join(missing)}", fix=f"give {', '.join(missing)}")
    return prompt.text.format(**{argument: arguments[argument] for argument in prompt.arguments})
