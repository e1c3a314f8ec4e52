"""Tool definitions in the formats of MCP, Anthropic and OpenAI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from tao_skill.agent_tools.registry import TOOLS
from tao_skill.agent_tools.tool import Tool

STRICT_KEYWORDS: Final = ("type", "description", "enum", "items")
"""Schema keywords that strict function calling supports; other constraints are checked when the tool is called."""


def as_mcp(tool: Tool) -> dict[str, Any]:
    """Return a tool as in the answer to tools/list."""
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
    """Return a tool as an entry of `tools` in the Messages API."""
    return {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}


def as_openai(tool: Tool) -> dict[str, Any]:
    """Return a tool as a strict entry of `tools` in Chat Completions: optional arguments are required and nullable."""
    required = tool.input_schema.get("required", [])
    properties = tool.input_schema["properties"]
    function = {
        "name": tool.name,
        "description": tool.description,
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {name: _strict(value, name in required) for name, value in properties.items()},
            "required": list(properties),
            "additionalProperties": False,
        },
    }
    return {"type": "function", "function": function}


def _strict(schema: dict[str, Any], required: bool) -> dict[str, Any]:
    # The first alternative is a list; the other, an object with any keys, is not allowed in strict mode.
    first = schema | schema["anyOf"][0] if "anyOf" in schema else schema
    strict = {name: value for name, value in first.items() if name in STRICT_KEYWORDS}
    if required:
        return strict
    strict["type"] = [strict["type"], "null"]
    if "enum" in strict:
        strict["enum"] = [*strict["enum"], None]
    return strict


FORMATS: Final[Mapping[str, Callable[[Tool], dict[str, Any]]]] = {
    "mcp": as_mcp,
    "anthropic": as_anthropic,
    "openai": as_openai,
}


def definitions(format_: str) -> list[dict[str, Any]]:
    """Return the definitions of all tools in a format."""
    return [FORMATS[format_](tool) for tool in TOOLS.values()]
