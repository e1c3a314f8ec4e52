"""A call by name with plain JSON: checked against the tool's schema, done, and answered in JSON, errors too."""

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

MOST_CHARACTERS: Final = 60_000
"""Of an answer's JSON: less than 25,000 tokens, at two and a half characters a token."""

CUTS: Final = (200, 50, 20, 5)
"""Entries left of each list, tried in this order until an answer fits."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The JSON that answers a call, and whether it is an error."""

    document: Mapping[str, Any]
    is_error: bool = False

    @property
    def text(self) -> str:
        """The document in as few characters as it takes."""
        return _text(self.document)


def reply(name: str, arguments: Mapping[str, Any], here: ToolContext) -> Reply:
    """Call a tool; an expected error is answered as `{"error": {"code", "message", "fix"}}`."""
    try:
        tool = _tool(name)
        answer = tool.function(tool.arguments(**_checked(tool, arguments)), here)
    except TaoSkillError as error:
        return failed(error)
    except OSError as error:
        return failed(CannotWrite.because(error))
    document = answer.as_dict()
    if "error" in document:
        document["error"] = _worded(document["error"])
    return Reply(document=_fitting(document))


def failed(error: TaoSkillError) -> Reply:
    """The reply to a call that failed, its words those of tools."""
    return Reply(document=_fitting({"error": _worded(error.as_dict())}), is_error=True)


def _tool(name: str) -> Tool:
    if name not in TOOLS:
        close = difflib.get_close_matches(name, TOOLS, n=1, cutoff=0.4)
        raise NotFound(f"no tool {name!r}", fix=f"call {close[0] if close else ', '.join(TOOLS)}")
    return TOOLS[name]


def _checked(tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that were given, 3.0 as 3; null is as not given.

    Raises:
        BadRequest: some are unknown, missing or not accepted; all of them are named.
    """
    given = {name: _plain(value) for name, value in arguments.items() if value is not None}
    keys = f"take one of {', '.join(tool.parameters) or 'none'}"
    reader = Reader(name=tool.name, noun="an argument", keys=keys, config_type=tool.arguments)
    problems = list(_unreadable(given)) or find_problems(tool.input_schema, given, reader, given)
    if problems:
        raise BadRequest("\n".join(one.message for one in problems), fix=Fix.all_of(one.fix for one in problems))
    return given


def _unreadable(given: Mapping[str, Any]) -> Iterator[Problem]:
    """Arguments that the validator must not look at: text that is not Unicode, too large or too deep."""
    for name, value in given.items():
        if isinstance(value, str) and not is_utf8(value):
            message = f"{name} holds half a character"
            yield Problem(key=name, message=message, fix=f"set {name} to whole Unicode text")
        elif isinstance(value, list | dict):
            try:
                bounded(value, MAX_VALUES)
            except ValueError as error:
                fix = f"set {name} to fewer values of plain text"
                yield Problem(key=name, message=f"{name} cannot be read: {error}", fix=fix)


def _plain(value: Any) -> Any:
    """A whole number as an integer: some clients write 3.0 for 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _worded(error: Mapping[str, Any]) -> dict[str, Any]:
    """An error that names tools and arguments where it named commands and options.

    The single problems of a spec are left out: message and fix name all of them.
    """
    kept = {name: error[name] for name in ("code", "message", "fix", "path") if name in error}
    return {name: value.worded(_for_tools) if isinstance(value, Fix) else value for name, value in kept.items()}


def _for_tools(part: Option | Command) -> str:
    if isinstance(part, Option):
        return f"{part.name} {part.value}".rstrip()
    names = {" ".join(tool.verb): tool.name for tool in TOOLS.values()} | {"template": "describe_action"}
    return f"{names.get(part.verb, f'tao-skill {part.verb}')} {part.words}".rstrip()


def _fitting(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document, its lists, mappings and texts cut where it would be too long, which `cut` then says."""
    if len(_text(document)) <= MOST_CHARACTERS:
        return document
    for size in CUTS:
        cut = {name: _cut(value, size) for name, value in document.items()}
        if len(_text(cut)) <= MOST_CHARACTERS:
            break
    return cut | {"cut": f"lists end after {size} entries; the files in the job's folder have all"}


def _cut(value: Any, size: int) -> Any:
    if isinstance(value, Mapping):
        return {name: _cut(one, size) for name, one in list(value.items())[: max(size, 20)]}
    if isinstance(value, list | tuple):
        return [_cut(one, size) for one in value[:size]]
    return value[: 200 * size] if isinstance(value, str) else value


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
