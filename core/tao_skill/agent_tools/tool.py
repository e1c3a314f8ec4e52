"""The definition of a tool: name, dataclasses of its arguments and answer, and its function."""

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

ModelName = Annotated[str | None, Param("Needed with several models.")]
Detail = Annotated[str, Param("", choices=("concise", "full"))]
Next = Annotated[list[Object], Param("Suggested calls.")]

CONCISE: Final = "concise"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Base class of the answers of tools; fields that are None are omitted.

    Attributes:
        error: `code`, `message` and `fix` of a failed call, in place of the other fields. next: suggested calls.
    """

    error: Annotated[Object | None, Param("")] = None
    next: Next = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the answer as JSON, with `next` as the last field."""
        fields = {name: value for name, value in asdict(self).items() if value is not None}
        return {**{name: value for name, value in fields.items() if name != "next"}, "next": fields["next"]}


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A function that an agent can call.

    Attributes:
        arguments: dataclass of the arguments, each field `Annotated[type, Param(...)]`; fields with a default are
            optional. answer: dataclass of the answer.
        verb: the equivalent command of `tao-skill`.
        read_only: it has no side effects. destructive: it may stop or replace something. idempotent: repeated calls
            have no further effect.
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
        """JSON Schema of the arguments; unknown arguments are rejected."""
        nodes = children(self.arguments)
        required = [node.name for node in nodes if node.default is MISSING]
        required_schema = {"required": required} if required else {}
        return {**_object_schema(nodes), **required_schema, "additionalProperties": False}

    @cached_property
    def output_schema(self) -> dict[str, Any]:
        """JSON Schema of the answer; no field is required, as clients validate errors against it too."""
        return _object_schema(children(self.answer))

    @property
    def parameters(self) -> Mapping[str, Node]:
        """The arguments, by name."""
        return {node.name: node for node in children(self.arguments)}


def given(arguments: object) -> dict[str, Any]:
    """The arguments that differ from their defaults, in order."""
    kind: type = type(arguments)
    return {node.name: value for node in children(kind) if (value := getattr(arguments, node.name)) != node.default}


def call(tool: str, **arguments: Any) -> Object:
    """Build a suggested call, without empty arguments."""
    given = {name: value for name, value in arguments.items() if value not in (None, (), [])}
    return {"tool": tool, "arguments": given}


def _object_schema(nodes: Sequence[Node]) -> dict[str, Any]:
    return {"type": "object", "properties": {node.name: _property_schema(node) for node in nodes}}


def _property_schema(node: Node) -> dict[str, Any]:
    """Return the schema of a field, without None, which stands for an omitted field."""
    schemas = [_type_schema(replace(node, type=member)) for member in alternatives(node.type)]
    schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
    default = {} if node.default in (MISSING, None, []) else {"default": node.default}
    return schema | default | ({"description": node.param.description} if node.param.description else {})


def _type_schema(node: Node) -> dict[str, Any]:
    schema = value_schema(node)
    if schema.get("additionalProperties") == {}:
        del schema["additionalProperties"]
    return schema
