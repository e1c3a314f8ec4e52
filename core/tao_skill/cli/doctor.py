"""`tao-skill doctor`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from tao_skill.cli.terminal.options import json_option, results_option
from tao_skill.cli.terminal.output import emit
from tao_skill.errors import MissingDependency


@click.command()
@results_option
@json_option
def doctor(results_root: Path, as_json: bool) -> int:
    """Check Python, packages, devices, memory, disk and extras.

    Each problem is printed with its fix.
    """
    from tao_skill.doctor import examine

    document = examine(results_root, os.environ)
    width = max(len(finding["subject"]) for finding in document["findings"])
    lines = []
    for finding in document["findings"]:
        lines += [f"{finding['level']:<8} {finding['subject']:<{width}}  {finding['said']}"]
        lines += [f"{'':<8} {'':<{width}}  fix: {finding['fix']}"] if finding["fix"] else []
    emit(document, "\n".join(lines), as_json=as_json, then=[["models"] if document["ok"] else ["doctor"]])
    return 0 if document["ok"] else MissingDependency.exit_code
