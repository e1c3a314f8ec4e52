"""`tao-skill completion`, and what actions and jobs are completed to."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

import click

from tao_skill.cli.terminal.options import Decorated, json_option
from tao_skill.cli.terminal.output import default_results_root, emit
from tao_skill.jobs.store import Store
from tao_skill.models import get_model

COMPLETION_VARIABLE: Final = "_TAO_SKILL_COMPLETE"
"""Set by a shell that asks for completions, as click names it."""

SHELLS: Final = ("bash", "zsh", "fish")
PROPOSED: Final = 100
"""Jobs that a shell is told of at most."""


def action_argument(function: Decorated) -> Decorated:
    """`ACTION`."""
    return click.argument("action", shell_complete=complete_action)(function)


def job_argument(function: Decorated) -> Decorated:
    """`JOB`."""
    return click.argument("job", shell_complete=complete_job)(function)


def complete_action(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Actions of the model named before, or of the only one."""
    return [name for name in get_model(context.params.get("model")).actions if name.startswith(begun)]


def complete_job(context: click.Context, parameter: click.Parameter, begun: str) -> list[Any]:
    """Jobs of the results root, newest first, each with its action and state."""
    from click.shell_completion import CompletionItem

    root = context.params.get("results_root") or default_results_root()
    jobs = islice(Store(root.absolute()).newest(begun), PROPOSED)
    return [CompletionItem(job.id, help=f"{job.action} {job.state}") for job in jobs]


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
def completion(shell: str, as_json: bool) -> None:
    """Print what lets SHELL complete this program's commands, actions and jobs.

    \b
    bash  eval "$(tao-skill completion bash)"     in ~/.bashrc
    zsh   eval "$(tao-skill completion zsh)"      in ~/.zshrc
    fish  tao-skill completion fish | source      in ~/.config/fish/config.fish
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell)
    assert found is not None
    root = click.get_current_context().find_root()
    script = found(root.command, {}, "tao-skill", COMPLETION_VARIABLE).source()
    emit({"shell": shell, "script": script}, script.rstrip("\n"), as_json=as_json)
