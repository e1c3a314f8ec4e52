"""One table, three formats, and the command line: all of them say the same."""

from __future__ import annotations

import json
from typing import Any

import click
import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from tao_skill.agent_tools.formats import FORMATS, STRICT_KEYWORDS, definitions
from tao_skill.agent_tools.registry import TOOLS
from tao_skill.agent_tools.tool import Tool
from tao_skill.cli.program import tao_skill

EVERY = pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)

ONLY_TOOLS = {"detail", "wait_s", "timeout_s"}
"""Arguments without an option: how much is answered, and how long a call may wait."""

ONLY_COMMANDS = {
    "as_json", "results_root", "dry_run", "detach",  # of the command line, or another tool
    "upload", "storage",  # lead away from this machine
    "eta", "seed", "keep_all",  # of a search, seldom set
    "job",  # an argument of a command, and of the tool too
}  # fmt: skip

SAME = {"spec": "spec", "labels": "label_path", "data": "data_path", "request": "user_request"}
"""Arguments by the parameter of the command, where the names differ."""


def command(tool: Tool) -> click.Command:
    found: click.Command = tao_skill
    for word in tool.verb:
        assert isinstance(found, click.Group)
        named = found.get_command(click.Context(found), word)
        assert named is not None
        found = named
    return found


@EVERY
def test_schemas_are_valid_and_closed(tool: Tool) -> None:
    for schema in (tool.input_schema, tool.output_schema):
        Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object"
    assert tool.input_schema["additionalProperties"] is False
    assert "next" in tool.output_schema["properties"]
    assert tool.description.endswith(".")
    assert len(tool.description) < 120


@EVERY
def test_every_argument_is_an_option_of_the_command_with_the_same_choices_and_bounds(tool: Tool) -> None:
    options = {one.name: one for one in command(tool).params}
    for name, schema in tool.input_schema["properties"].items():
        if name in ONLY_TOOLS or (tool.name == "plan" and name == "key"):
            continue
        option = options[SAME.get(name, name)]
        form = schema["anyOf"][0] if "anyOf" in schema else schema
        assert option.required == (name in tool.input_schema.get("required", [])), name
        assert (option.multiple or option.nargs == -1) == (form["type"] == "array"), name
        if isinstance(option.type, click.Choice):
            assert list(option.type.choices) == schema["enum"]
        if isinstance(option.type, click.IntRange):
            assert (schema["type"], option.type.min) == ("integer", schema["minimum"])
        if isinstance(option, click.Option) and name not in SAME:
            assert f"--{name.replace('_', '-')}" in option.opts


@EVERY
def test_every_option_of_the_command_is_an_argument_or_left_out_for_a_reason(tool: Tool) -> None:
    known = {SAME.get(name, name) for name in tool.input_schema["properties"]}
    hidden = ONLY_COMMANDS | ({"key"} if tool.name == "plan" else set())
    assert {one.name for one in command(tool).params} - known <= hidden


@pytest.mark.parametrize("format_", FORMATS)
def test_the_command_prints_the_definitions(format_: str) -> None:
    done = CliRunner().invoke(tao_skill, ["tools", "--format", format_])
    assert done.exit_code == 0
    assert json.loads(done.stdout) == definitions(format_)


def test_the_three_formats_say_the_same_of_each_tool() -> None:
    for mcp, anthropic, openai in zip(*map(definitions, ("mcp", "anthropic", "openai")), strict=True):
        function = openai["function"]
        assert mcp["name"] == anthropic["name"] == function["name"]
        assert mcp["description"] == anthropic["description"] == function["description"]
        assert mcp["inputSchema"] == anthropic["input_schema"]
        assert list(mcp["inputSchema"]["properties"]) == list(function["parameters"]["properties"])
        hints = mcp["annotations"]
        assert not (hints["readOnlyHint"] and hints["destructiveHint"])


def test_openai_definitions_keep_the_rules_of_strict_mode() -> None:
    for one in definitions("openai"):
        function = one["function"]
        assert function["strict"] is True
        _strict(function["parameters"])
        needed = TOOLS[function["name"]].input_schema.get("required", [])
        for name, schema in function["parameters"]["properties"].items():
            nullable = "null" in schema["type"]
            assert nullable == (name not in needed)
            assert "enum" not in schema or (None in schema["enum"]) == nullable


def _strict(schema: dict[str, Any]) -> None:
    if "object" in schema["type"]:
        assert schema["additionalProperties"] is False
        assert schema["required"] == list(schema["properties"])
        for value in schema["properties"].values():
            assert value.keys() <= set(STRICT_KEYWORDS)
            _strict(value)
    if "array" in schema["type"]:
        _strict(schema["items"])
