"""TAO's command line: `pose_classification ACTION -e SPEC [KEY=VALUE ...]`, also as `tao-skill tao model|deploy`.

The options are those of TAO's entry points, including old names; each sets a spec key. Training never becomes a search.
`tao-skill tao` also reads the mounts file of TAO's launcher. `pose_classification` does not, as in TAO it runs inside
the container, where no path needs to be mapped.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from tao_skill.cli import tao_mounts
from tao_skill.cli.run import execute
from tao_skill.cli.terminal.options import run_command
from tao_skill.cli.terminal.output import INTERRUPTED, default_results_root
from tao_skill.errors import JobFailed
from tao_skill.model import Model
from tao_skill.models import MODELS, get_model
from tao_skill.spec.tree import Leaf, iter_params, shape

HELP: Final = {"help_option_names": ["-h", "--help"]}
_SPEC: Final = ("-e", "--experiment_spec", "--experiment_spec_file")
_DOT: Final = "__"


class Task(click.Group):
    """The actions of a model as TAO's subtasks; as tasks of the launcher they accept a mounts file."""

    def __init__(self, model: Model, actions: Collection[str], *, launcher: bool) -> None:
        super().__init__(model.name, help=f"Actions of {model.name}.", context_settings=HELP)
        self.model = model
        self.actions = actions
        self.launcher = launcher

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See `click.Group.list_commands`."""
        return list(self.actions)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """See `click.Group.get_command`."""
        return _command(self.model, cmd_name, launcher=self.launcher) if cmd_name in self.actions else None


@click.group(context_settings=HELP)
def tao() -> None:
    """Run an action by the command line of TAO's launcher.

    Example: tao-skill tao model pose_classification train -e spec.yaml
    """


@tao.group("model")
def tasks() -> None:
    """All actions, by model."""


@tao.group("deploy")
def deployment() -> None:
    """Actions that build or use TensorRT engines, by model.

    The commands are those of `tao model`.
    """


for _model in MODELS.values():
    tasks.add_command(Task(_model, _model.actions, launcher=True))
    deployment.add_command(
        Task(_model, [action.name for action in _model.actions.values() if action.in_deploy], launcher=True)
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the console script `pose_classification`. Exit codes: 0 done, 1 failed, 130 interrupted."""
    model = get_model("pose_classification")
    task = Task(model, model.actions, launcher=False)
    sys.exit(tao_exit_code(run_command(task, model.name, sys.argv[1:] if arguments is None else arguments)))


def tao_exit_code(code: int) -> int:
    """Map an exit code to TAO's: every failure is 1."""
    return code if code in (0, INTERRUPTED) else JobFailed.exit_code


def _command(model: Model, action: str, *, launcher: bool) -> click.Command:
    spec = click.Option([*_SPEC, "spec"], type=click.Path(path_type=Path), required=True, help="Spec file.")
    overrides = click.Argument(["overrides"], nargs=-1, metavar="[KEY=VALUE ...]")
    return click.Command(
        action,
        callback=partial(_run, model, action),
        params=[overrides, spec, *([_mounts_option()] if launcher else []), *_options(model, action)],
        help=model.actions[action].summary,
        epilog=f"KEY=VALUE sets a key of the spec, as in Hydra; `tao-skill template {action}` explains every key.",
        context_settings=HELP,
    )


def _mounts_option() -> click.Option:
    return click.Option(
        ["--mounts", "--mounts_file", "mounts_file"],
        type=click.Path(path_type=Path),
        help=f"Mounts file of TAO's launcher; default: ~/{tao_mounts.FILE} if it exists.",
    )


def _options(model: Model, action: str) -> Iterator[click.Option]:
    for leaf in iter_params(model.config, action):
        if leaf.param.tao_flags:
            names = [*leaf.param.tao_flags, leaf.key.replace(".", _DOT)]
            yield click.Option(names, metavar="VALUE", help=f"{leaf.param.description} [{leaf.key}]")


def _run(model: Model, action: str, overrides: Sequence[str], spec: Path, **options: Any) -> int:
    from tao_skill.planning.request import Request

    launcher = tao_mounts.find_config(options.pop("mounts_file")) if "mounts_file" in options else None
    if launcher is not None:
        os.environ.update(launcher.environment)  # replaces existing variables, as in TAO's container
    leaves = {leaf.key.replace(".", _DOT): leaf for leaf in iter_params(model.config, action)}
    overrides = [*(_override(leaves[name], value) for name, value in options.items() if value is not None), *overrides]
    command = [*click.get_current_context().command_path.split(), "-e", str(spec)]
    request = Request(spec_file=spec, overrides=overrides, automl="off", command=(*command, *overrides))
    if launcher is not None:
        request = replace(
            request,
            spec_file=Path(launcher.local_path(str(spec))),
            adapt=tao_mounts.adapter(launcher, model, spec),
            command=(*command, "--mounts", str(launcher.file), *overrides),
        )
    code = execute(model, action, request, default_results_root(), show_log=True)
    click.echo(f"Execution status: {'FAIL' if code else 'PASS'}")
    return code


def _override(leaf: Leaf, value: str) -> str:
    """Convert an option to KEY=VALUE: `0,1` becomes a list if the parameter is a list, and text is quoted."""
    parts = shape(leaf.type)
    if parts.container is list:
        return f"{leaf.key}=[{value.strip('[]')}]"
    return f"{leaf.key}={json.dumps(value, ensure_ascii=False) if parts.item is str else value}"
