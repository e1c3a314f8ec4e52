"""Tool definitions as MCP, Anthropic and OpenAI take them, all from the one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tao_skill.agent_tools.registry import TOOLS
from tao_skill.agent_tools.tool import Tool

STRICT_KEYWORDS: Final = ("type", "description", "enum", "items")
"""What strict function calling accepts of a value's schema everywhere; bounds are checked when the tool is called."""


def as_mcp(tool: Tool) -> dict[str, Any]:
    """As in the answer to tools/list."""
    return {
        "name": tool.name,
        "description": tool.description,
        "inputSchema": tool.input_schema,
        "outputSchema": tool.output_schema,
        "annotations": {
            "readOnlyHint": tool.read_only,
            "destructiveHint": tool.destructive,
            "idempotentHint": tool.idempotent,
        },
    }


def as_anthropic(tool: Tool) -> dict[str, Any]:
    """As an entry of `tools` in the Messages API."""
    return {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}


def as_openai(tool: Tool) -> dict[str, Any]:
    """As an entry of `tools` in Chat Completions, strict: every argument required, those with a default nullable."""
    needed = tool.input_schema.get("required", [])
    properties = tool.input_schema["properties"]
    function = {
        "name": tool.name,
        "description": tool.description,
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {name: _strict(value, name in needed) for name, value in properties.items()},
            "required": list(properties),
            "additionalProperties": False,
        },
    }
    return {"type": "function", "function": function}


def _strict(schema: dict[str, Any], needed: bool) -> dict[str, Any]:
    listed = schema | schema["anyOf"][0] if "anyOf" in schema else schema  # an object would have to name every key
    shown = {name: value for name, value in listed.items() if name in STRICT_KEYWORDS}
    if needed:
        return shown
    shown["type"] = [shown["type"], "null"]
    if "enum" in shown:
        shown["enum"] = [*shown["enum"], None]
    return shown


FORMATS: Final[Mapping[str, Callable[[Tool], dict[str, Any]]]] = {
    "mcp": as_mcp,
    "anthropic": as_anthropic,
    "openai": as_openai,
}


def definitions(format_: str) -> list[dict[str, Any]]:
    """Every tool in a format."""
    return [FORMATS[format_](tool) for tool in TOOLS.values()]
