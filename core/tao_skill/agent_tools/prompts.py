"""Requests that a user may pick in a client, each as the words that an agent gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tao_skill.errors import BadRequest, NotFound


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One request.

    Attributes:
        arguments: description by name; all are required. text: what the agent gets, with `{name}` for each.
    """

    name: str
    description: str
    arguments: Mapping[str, str]
    text: str


_FILES: Final = {
    "data": "Sequences to train on, .npy",
    "labels": "Their labels, .pkl",
    "val_data": "Sequences to validate on, .npy",
    "val_labels": "Their labels, .pkl",
}

_PROMPTS: Final = (
    Prompt(
        name="train-pose-classifier",
        description="Train a pose classifier on my data and tell me how good it is.",
        arguments=_FILES,
        text="""\
Train a pose classifier on {data} with labels {labels}; validate on {val_data} with labels {val_labels}.
1. inspect_data with these files; tell me of its warnings.
2. run_action train with the suggested overrides and automl=off, then wait_for_job until it has ended.
3. run_action evaluate with the train job as parent, then read_report.
Tell me the accuracy, the weakest classes, and where the model lies. When a call fails, apply its fix.""",
    ),
    Prompt(
        name="tune-pose-classifier",
        description="Search for better training settings within a budget.",
        arguments=_FILES | {"trials": "Configurations to try", "max_epochs": "Epochs of a full training"},
        text="""\
Find better settings for a pose classifier on {data} with labels {labels}.
Validate on {val_data} with labels {val_labels}.
1. inspect_data with these files; tell me of its warnings.
2. plan train with the suggested overrides, automl=on, trials={trials}, max_epochs={max_epochs}; tell me its cost.
3. run_action with the same arguments and a key, then wait_for_job until it has ended.
4. read_report: tell me the winner, its gain over the default, and its settings.
5. run_action evaluate with the job as parent, then read_report. When a call fails, apply its fix.""",
    ),
)

PROMPTS: Final[Mapping[str, Prompt]] = {prompt.name: prompt for prompt in _PROMPTS}


def fill(name: str, given: Mapping[str, str]) -> str:
    """The words of a prompt.

    Raises:
        NotFound: there is no such prompt. BadRequest: an argument is missing.
    """
    if name not in PROMPTS:
        raise NotFound(f"no prompt {name!r}", fix=f"use {' or '.join(PROMPTS)}")
    prompt = PROMPTS[name]
    if missing := [argument for argument in prompt.arguments if argument not in given]:
        raise BadRequest(f"{name} needs {', '.join(missing)}", fix=f"give {', '.join(missing)}")
    return prompt.text.format(**{argument: given[argument] for argument in prompt.arguments})
