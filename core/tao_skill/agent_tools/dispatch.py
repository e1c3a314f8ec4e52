"""Call a tool by name with JSON arguments: validate, run, and return the answer or the error as JSON."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tao_skill.agent_tools.context import ToolContext
from tao_skill.agent_tools.registry import TOOLS
from tao_skill.agent_tools.tool import Tool
from tao_skill.errors import BadRequest, CannotWrite, Command, Fix, NotFound, Option, Problem, TaoSkillError
from tao_skill.io.strict_json import bounded, is_utf8
from tao_skill.spec.keys import MAX_VALUES
from tao_skill.spec.problems import Reader, find_problems

MAX_CHARACTERS: Final = 60_000
"""Maximum length of an answer: less than 25,000 tokens, at two and a half characters a token."""

LIST_LIMITS: Final = (200, 50, 20, 5)
"""Maximum entries of a list in an answer that is too long, tried in order until it fits."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The JSON answer to a call, and whether it is an error."""

    document: Mapping[str, Any]
    is_error: bool = False

    @property
    def text(self) -> str:
        """The document as compact JSON."""
        return _text(self.document)


def reply(name: str, arguments: Mapping[str, Any], context: ToolContext) -> Reply:
    """Call a tool; an expected error becomes the answer `{"error": {"code", "message", "fix"}}`."""
    try:
        tool = _find_tool(name)
        answer = tool.function(tool.arguments(**_validate(tool, arguments)), context)
    except TaoSkillError as error:
        return error_reply(error)
    except OSError as error:
        return error_reply(CannotWrite.because(error))
    document = answer.as_dict()
    if "error" in document:
        document["error"] = _for_clients(document["error"])
    return Reply(document=_shorten(document))


def error_reply(error: TaoSkillError) -> Reply:
    """Return the reply to a failed call."""
    return Reply(document=_shorten({"error": _for_clients(error.as_dict())}), is_error=True)


def _find_tool(name: str) -> Tool:
    if name not in TOOLS:
        close = difflib.get_close_matches(name, TOOLS, n=1, cutoff=0.4)
        raise NotFound(f"no tool {name!r}", fix=f"call {close[0] if close else ', '.join(TOOLS)}")
    return TOOLS[name]


def _validate(tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments without nulls, with whole floats as integers.

    Raises:
        BadRequest: arguments are unknown, missing or not accepted; the message names all of them.
    """
    given = {name: _whole_as_int(value) for name, value in arguments.items() if value is not None}
    keys = f"use one of {', '.join(tool.parameters)}" if tool.parameters else "call it without arguments"
    reader = Reader(name=tool.name, noun="an argument", keys=keys, config_type=tool.arguments)
    problems = list(_unreadable(given)) or find_problems(tool.input_schema, given, reader, given)
    if problems:
        message = "\n".join(problem.message for problem in problems)
        raise BadRequest(message, fix=Fix.all_of(problem.fix for problem in problems))
    return given


def _unreadable(given: Mapping[str, Any]) -> Iterator[Problem]:
    """Report arguments that the validator cannot process: invalid Unicode, and values too large or too deep."""
    for name, value in given.items():
        if isinstance(value, str) and not is_utf8(value):
            message = f"{name} is not valid Unicode: it has a lone surrogate"
            yield Problem(key=name, message=message, fix=f"set {name} to valid Unicode text")
        elif isinstance(value, list | dict):
            try:
                bounded(value, MAX_VALUES)
            except ValueError as error:
                fix = f"set {name} to fewer values of plain text"
                yield Problem(key=name, message=f"{name} cannot be read: {error}", fix=fix)


def _whole_as_int(value: Any) -> Any:
    """Convert a whole float to an integer, as some clients send 3.0 for 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _for_clients(error: Mapping[str, Any]) -> dict[str, Any]:
    """Format the fix of an error with tool and argument names instead of commands and options.

    `problems` of a spec is omitted, as message and fix contain all of them.
    """
    fields = {name: error[name] for name in ("code", "message", "fix", "path") if name in error}
    return {name: value.render(_tool_syntax) if isinstance(value, Fix) else value for name, value in fields.items()}


def _tool_syntax(part: Option | Command) -> str:
    if isinstance(part, Option):
        return f"{part.name} {part.value}".rstrip()
    names = {" ".join(tool.verb): tool.name for tool in TOOLS.values()} | {"template": "describe_action"}
    return f"{names.get(part.verb, f'tao-skill {part.verb}')} {part.arguments}".rstrip()


def _shorten(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Cut lists, mappings and texts of a document that is too long; the field `cut` then says so."""
    if len(_text(document)) <= MAX_CHARACTERS:
        return document
    for limit in LIST_LIMITS:
        shortened = {name: _cut(value, limit) for name, value in document.items()}
        if len(_text(shortened)) <= MAX_CHARACTERS:
            break
    return shortened | {"cut": f"lists end after {limit} entries; the files in the job's folder are complete"}


def _cut(value: Any, limit: int) -> Any:
    if isinstance(value, Mapping):
        return {name: _cut(item, limit) for name, item in list(value.items())[: max(limit, 20)]}
    if isinstance(value, list | tuple):
        return [_cut(item, limit) for item in value[:limit]]
    return value[: 200 * limit] if isinstance(value, str) else value


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
