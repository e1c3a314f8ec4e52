"""`tao-skill completion`, and the completion of actions and jobs."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

import click

from tao_skill.cli.terminal.options import Decorated, json_option
from tao_skill.cli.terminal.output import default_results_root, emit
from tao_skill.jobs.store import Store
from tao_skill.models import get_model

COMPLETION_VARIABLE: Final = "_TAO_SKILL_COMPLETE"
"""Environment variable by which a shell requests completions; the name follows from click's rule."""

SHELLS: Final = ("bash", "zsh", "fish")
MAX_JOBS: Final = 100
"""Most jobs that are offered to a shell."""


def action_argument(function: Decorated) -> Decorated:
    """Add `ACTION`."""
    return click.argument("action", shell_complete=complete_action)(function)


def job_argument(function: Decorated) -> Decorated:
    """Add `JOB`."""
    return click.argument("job", shell_complete=complete_job)(function)


def complete_action(context: click.Context, parameter: click.Parameter, prefix: str) -> list[str]:
    """Complete an action of the model of `--model`, or of the only model."""
    return [name for name in get_model(context.params.get("model")).actions if name.startswith(prefix)]


def complete_job(context: click.Context, parameter: click.Parameter, prefix: str) -> list[Any]:
    """Complete a job of the results root, newest first, with action and state."""
    from click.shell_completion import CompletionItem

    root = context.params.get("results_root") or default_results_root()
    jobs = islice(Store(root.absolute()).newest(prefix), MAX_JOBS)
    return [CompletionItem(job.id, help=f"{job.action} {job.state}") for job in jobs]


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
def completion(shell: str, as_json: bool) -> None:
    """Print the completion script of SHELL.

    It completes commands, options, actions and jobs. To enable it:

    \b
    bash  eval "$(tao-skill completion bash)"   in ~/.bashrc
    zsh   eval "$(tao-skill completion zsh)"    in ~/.zshrc
    fish  tao-skill completion fish | source    in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    completion_class = get_completion_class(shell)
    assert completion_class is not None
    root = click.get_current_context().find_root()
    script = completion_class(root.command, {}, "tao-skill", COMPLETION_VARIABLE).source()
    emit({"shell": shell, "script": script}, script.rstrip("\n"), as_json=as_json)
