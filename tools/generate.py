"""Generate the files of the skill bank.

The config type, the tables in SKILL.md and the skill_info.yaml of each model give schemas/, references/ (templates),
runners/ and the copies in skills/; pyproject.toml gives the plugin manifests. With --check no file is written, and the
exit status is 1 if a file is stale, missing or extra.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from checkout import ROOT
from manifests import manifests
from skill_tables import ActionTable, DataRow, TableError, read_tables

from tao_skill.io.atomic import write_text
from tao_skill.model import Model
from tao_skill.models import MODELS
from tao_skill.planning.infer import inference_functions
from tao_skill.spec.schema import build_schema
from tao_skill.spec.template import build_template
from tao_skill.spec.tree import iter_params

INFO: Final = "skill_info.yaml"
MANIFEST: Final = "manifest.json"
BANK_PATHS: Final = {
    "schema": "schemas/{model}/{action}.schema.json",
    "template": "references/{model}/spec_template_{action}.yaml",
    "runner": "runners/{model}/{action}.py",
}
"""Paths of an action's files in the bank."""

SKILL_PATHS: Final = {
    "schema": "schemas/{action}.schema.json",
    "template": "references/spec_template_{action}.yaml",
}
"""Paths of an action's files in the directory of a skill, which may be installed without the bank."""

GENERATED: Final = (
    "schemas/**/*",
    "references/**/*",
    "runners/**/*",
    "skills/*/schemas/**/*",
    "skills/*/references/**/*",
    ".agents/**/*",
    ".*-plugin/**/*",
)
BY_HAND: Final = ("references/*/skill_info.yaml", "references/*/recipes.yaml", "skills/*/references/*.md")
"""Files beside the generated ones; recipes are written by benchmarks/automl/portfolio.py."""


def main(arguments: list[str] | None = None) -> int:
    """Generate or check the files; return 1 if a file is stale, missing, extra or unreadable."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write no file; fail if a file is stale, missing or extra")
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout (default: this one)")
    options = parser.parse_args(arguments)
    try:
        files = generated_files(options.root)
    except (TableError, OSError, yaml.YAMLError) as error:
        print(error, file=sys.stderr)
        return 1
    if not options.check:
        write(options.root, files)
    problems = differences(options.root, files)
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print("run tools/generate.py, and delete extra files", file=sys.stderr)
    return 1 if problems else 0


def generated_files(root: Path) -> dict[str, str]:
    """Return the text of every generated file by path relative to `root`, in a fixed order.

    Raises:
        TableError: a SKILL.md table or skill_info.yaml names something that does not exist.
    """
    files: dict[str, str] = {}
    for model in MODELS.values():
        files |= _files_of(root, model)
    return files | {name: _json(content) for name, content in manifests(root).items()}


def write(root: Path, files: Mapping[str, str]) -> None:
    """Write the files whose content differs."""
    for name, text in files.items():
        if _read(root / name) != text:
            write_text(root / name, text)


def differences(root: Path, files: Mapping[str, str]) -> list[str]:
    """Return a line for each missing, stale or extra file."""
    by_hand = {path.relative_to(root).as_posix() for pattern in BY_HAND for path in root.glob(pattern)}
    existing = {
        path.relative_to(root).as_posix()
        for pattern in GENERATED
        for path in root.glob(pattern)
        if _is_generated_file(path)
    }
    lines = []
    for name, text in files.items():
        present = _read(root / name)
        if present != text:
            lines.append(f"{'missing' if present is None else 'stale'}: {name}")
    return lines + [f"extra: {name}" for name in sorted(existing - files.keys() - by_hand)]


def _is_generated_file(path: Path) -> bool:
    return path.is_file() and not path.name.startswith(".") and path.parent.name != "__pycache__"


def _read(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return None


def _files_of(root: Path, model: Model) -> dict[str, str]:
    skill = f"skills/{model.skill}"
    tables = read_tables(root / skill / "SKILL.md", model, inference_functions(model))
    info_text = (root / "references" / model.name / INFO).read_text(encoding="utf-8")
    info = _checked_info(model, yaml.safe_load(info_text))
    schemas, templates, runners = {}, {}, {}
    for action in model.actions:
        schemas[f"{action}.schema.json"] = _json(build_schema(model.config, model.name, action))
        templates[f"spec_template_{action}.yaml"] = _template(model, action)
        runners[f"{action}.py"] = _runner(model, action, tables[action])
    bank = {
        **{f"schemas/{model.name}/{name}": text for name, text in schemas.items()},
        **{f"references/{model.name}/{name}": text for name, text in templates.items()},
        **{f"runners/{model.name}/{name}": text for name, text in runners.items()},
    }
    copies = {
        **{f"schemas/{name}": text for name, text in schemas.items()},
        **{f"references/{name}": text for name, text in (templates | {INFO: info_text}).items()},
    }
    bank[f"schemas/{model.name}/{MANIFEST}"] = _json(_manifest(model, info, BANK_PATHS, bank))
    copies[f"schemas/{MANIFEST}"] = _json(_manifest(model, info, SKILL_PATHS, copies))
    return bank | {f"{skill}/{name}": text for name, text in copies.items()}


def _checked_info(model: Model, info: Any) -> Mapping[str, Any]:
    keys = {leaf.key for leaf in iter_params(model.config)}
    for short, key in info["spec_shorthand"].items():
        if key not in keys:
            raise TableError(f"{INFO}: spec_shorthand {short!r} names {key!r}, which is not a spec key of {model.name}")
        if short in keys:
            raise TableError(f"{INFO}: spec_shorthand {short!r} hides a spec key of {model.name}")
    if info["actions"] != list(model.actions):
        raise TableError(f"{INFO}: actions are {info['actions']}, the model has {list(model.actions)}")
    checked: Mapping[str, Any] = info
    return checked


def _manifest(
    model: Model, info: Mapping[str, Any], path_templates: Mapping[str, str], files: Mapping[str, str]
) -> dict[str, Any]:
    """Return the manifest of a model: AutoML settings, and path and checksum of each action's files."""
    actions = {}
    for action in model.actions.values():
        paths = {
            kind: template.format(model=model.name, action=action.name) for kind, template in path_templates.items()
        }
        entries = {kind: {"path": path, "sha256": _sha256(files[path])} for kind, path in paths.items()}
        actions[action.name] = {"summary": action.summary, "available": True, **entries}
    train = json.loads(files[path_templates["schema"].format(model=model.name, action="train")])
    return {
        "model": model.name,
        "skill": model.skill,
        "automl": {
            "enabled": info["automl_enabled"],
            **info["monitoring"],
            "default_parameters": train["automl_default_parameters"],
            "disabled_parameters": train["automl_disabled_parameters"],
        },
        "actions": actions,
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _template(model: Model, action: str) -> str:
    source = f"core/{model.config.__module__.replace('.', '/')}.py"
    return f"# Generated by tools/generate.py from {source}; do not edit.\n" + build_template(
        model.config, model.name, action
    )


def _runner(model: Model, action: str, table: ActionTable) -> str:
    inference = "".join(f'        "{key}": "{function}",\n' for key, function in table.inference.items())
    data = "".join(map(_requirement, table.data))
    imported = "DataRequirement, Runner" if data else "Runner"
    return f'''# Generated by tools/generate.py from skills/{model.skill}/SKILL.md; do not edit.
"""Run {action} of {model.name}."""

import sys

from tao_skill.runner import {imported}

RUNNER = Runner(
    model="{model.name}",
    action="{action}",
    inference={{
{inference}    }},
    data=({f"{chr(10)}{data}    " if data else ""}),
)

if __name__ == "__main__":
    from tao_skill.cli import main

    main(["run", RUNNER.action, "-m", RUNNER.model, *sys.argv[1:]])
'''


def _requirement(row: DataRow) -> str:
    files = ", ".join(f'"{name}"' for name in row.files) + ("," if len(row.files) == 1 else "")
    from_parent = f'"{row.from_parent}"' if row.from_parent else "None"
    return f"""        DataRequirement(
            key="{row.key}",
            files=({files}),
            required={row.required},
            from_parent={from_parent},
        ),
"""


if __name__ == "__main__":
    sys.exit(main())
