"""What a tool is: a name, what it takes and gives as dataclasses, and the function that does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, Final

from tao_skill.agent_tools.context import ToolContext
from tao_skill.spec.param import Param
from tao_skill.spec.schema import value_schema
from tao_skill.spec.tree import Node, alternatives, children

Object = dict[str, Any]

ModelName = Annotated[str | None, Param("Default: the only one.")]
Detail = Annotated[str, Param("", choices=("concise", "full"))]
Next = Annotated[list[Object], Param("Calls that may follow.")]

CONCISE: Final = "concise"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a tool gives; fields that are None are left out.

    Attributes:
        error: in place of everything else, where a call failed: `code`, `message` and `fix`.
    """

    error: Annotated[Object | None, Param("")] = None
    next: Next = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The answer as JSON, what comes next at its end."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return {**{name: value for name, value in given.items() if name != "next"}, "next": given["next"]}


@dataclass(frozen=True, kw_only=True)
class Tool:
    """One function that an agent may call.

    Attributes:
        arguments: dataclass of what it takes, each field `Annotated[type, Param(...)]`; a field that may be None may be
            left out. answer: dataclass of what it gives.
        verb: the command of `tao-skill` that it stands for.
        read_only: it changes nothing. destructive: it may end or replace something. idempotent: repeating it changes
            nothing more.
    """

    name: str
    description: str
    arguments: type
    answer: type
    function: Callable[[Any, ToolContext], Answer]
    verb: tuple[str, ...]
    read_only: bool = True
    destructive: bool = False
    idempotent: bool = True

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema of the arguments; nothing else is accepted."""
        nodes = children(self.arguments)
        required = [node.name for node in nodes if node.default is MISSING]
        needed = {"required": required} if required else {}
        return {**_object(nodes), **needed, "additionalProperties": False}

    @cached_property
    def output_schema(self) -> dict[str, Any]:
        """JSON Schema of the answer; nothing is required, as clients hold errors to it too."""
        return _object(children(self.answer))

    @property
    def parameters(self) -> Mapping[str, Node]:
        """Arguments by name."""
        return {node.name: node for node in children(self.arguments)}


def given(arguments: object) -> dict[str, Any]:
    """The arguments that differ from their defaults, in order."""
    kind: type = type(arguments)
    return {node.name: value for node in children(kind) if (value := getattr(arguments, node.name)) != node.default}


def call(tool: str, **arguments: Any) -> Object:
    """A call to propose, without what is not given."""
    return {"tool": tool, "arguments": {name: one for name, one in arguments.items() if one not in (None, (), [])}}


def _object(nodes: Sequence[Node]) -> dict[str, Any]:
    return {"type": "object", "properties": {node.name: _property(node) for node in nodes}}


def _property(node: Node) -> dict[str, Any]:
    """The schema of one argument; None stands for leaving it out, and is not shown."""
    forms = [_form(replace(node, type=one)) for one in alternatives(node.type)]
    shown = forms[0] if len(forms) == 1 else {"anyOf": forms}
    default = {} if node.default in (MISSING, None, []) else {"default": node.default}
    return shown | default | ({"description": node.param.description} if node.param.description else {})


def _form(node: Node) -> dict[str, Any]:
    """The schema of values of one type."""
    shown = value_schema(node)
    if shown.get("additionalProperties") == {}:
        del shown["additionalProperties"]
    return shown
