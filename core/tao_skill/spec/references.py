r"""Resolve references in the strings of a spec, in the syntax of Hydra and OmegaConf.

`${results_dir}` and `${train.gpu_ids[0]}` refer to other values of the spec, `${.num_epochs}` to the same section,
`${..seed}` to the enclosing section, and `${oc.env:NAME,default}` to an environment variable. `\${` escapes `${`.
A string that consists of a single reference takes the value with its type; in a longer string the value is inserted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from tao_skill.errors import Problem, SpecError
from tao_skill.io.strict_json import is_utf8
from tao_skill.spec.check import is_blank
from tao_skill.spec.problems import MAX_PROBLEMS, closest, may_be_secret
from tao_skill.spec.tree import iter_params, leaf_above, shape, walk

MAX_STEPS: Final = 100_000
"""Maximum number of values and pieces of text that the references of a spec resolve to, in total."""

MAX_DEPTH: Final = 24
"""Maximum depth of nested references, mappings and lists."""

_OPEN: Final = "${"
_ENVIRONMENT: Final = "oc.env"
_MAX_REFERENCE: Final = 80
"""Characters of a reference in a message."""

_STEP_CHARACTERS: Final = 16
"""Characters of a string that count as a step."""

_BRACES: Final = re.compile(r"\$\{|\}")
_NAME: Final = r"[^\s.:\[\]{}$]+(?: +[^\s.:\[\]{}$]+)*"
_KEY: Final = re.compile(rf"(?P<dots>\.*)(?P<names>{_NAME}(?:\.{_NAME}|\[{_NAME}\])*)")
_BETWEEN_NAMES: Final = re.compile(r"[.\[\]]+")
_ESCAPED: Final = re.compile(r"(?<!\\)(\\*)\$\{")

Names = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Scope:
    """Values and variables that references may refer to.

    Attributes:
        values: returns the unresolved values by key; called at most once, at the first reference.
        environment: variables; None rejects `${oc.env:NAME}`. is_private: whether the name of a variable says that its
            value is secret.
        file: source of the values, for messages. overridden: keys whose values come from elsewhere.
    """

    config_type: type
    values: Callable[[], Mapping[str, Any]]
    shorthand: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] | None = None
    is_private: Callable[[str], bool] = lambda name: False
    file: str | None = None
    overridden: Container[str] = ()


def resolve(values: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    """Return the values with every reference replaced by its value.

    Raises:
        SpecError: references are unknown, circular, without a value, malformed, or resolve to too many values.
    """
    resolver = _Resolver(scope)
    resolved: dict[str, Any] = resolver.value(values, ())
    if resolver.problems:
        raise SpecError(list(resolver.problems.values()))
    return resolved


def escaped(value: Any) -> Any:
    r"""Escape `${` as `\${` in all strings of a value, so that `resolve` returns them unchanged."""
    if isinstance(value, str):
        return _ESCAPED.sub(lambda match: rf"{match[1] * 2}\${{", value) if _OPEN in value else value
    if isinstance(value, Mapping):
        return {name: escaped(item) for name, item in value.items()}
    return [escaped(item) for item in value] if isinstance(value, list | tuple) else value


class _Unresolvable(Exception):
    """A reference that cannot be resolved: its key, the reason and the fix."""

    def __init__(self, at: Names, reference: str, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.at, self.reference, self.reason, self.fix = at, reference, reason, fix


class _Resolver:
    """Resolver for the references of a spec.

    Attributes:
        chain: keys being resolved; each is referred to by the previous key. problems: by key and reason.
    """

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.chain: list[Names] = []
        self.steps = 0
        self.problems: dict[tuple[Names, str], Problem] = {}
        leaves = list(iter_params(scope.config_type))
        self.secrets = {leaf.key for leaf in leaves if leaf.param.secret}
        self.converted = {leaf.key for leaf in leaves if shape(leaf.type).item is not str}
        self.nodes = {node.key: node for node in walk(scope.config_type)}

    @cached_property
    def values(self) -> Mapping[str, Any]:
        return self.scope.values()

    def value(self, value: Any, at: Names, depth: int = 0) -> Any:
        """Resolve a value under the key `at`."""
        if self.chain:
            self._count(value, at, depth)
        if isinstance(value, Mapping):
            return {name: self.value(item, (*at, str(name)), depth + 1) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(item, (*at, str(index)), depth + 1) for index, item in enumerate(value)]
        if not isinstance(value, str) or _OPEN not in value:
            return value
        if self.chain:
            return self._converted(self._text(value, at, depth), at)
        if len(self.problems) >= MAX_PROBLEMS:
            return None
        self.chain.append(at)
        try:
            return self._converted(self._text(value, at, 0), at)
        except _Unresolvable as error:
            self.problems.setdefault((error.at, error.reason), self._problem(error))
            return None
        finally:
            self.chain.clear()

    def _count(self, value: Any, at: Names, depth: int) -> None:
        self.steps += 1 + (len(value) // _STEP_CHARACTERS if isinstance(value, str) else 0)
        if self.steps > MAX_STEPS or depth > MAX_DEPTH:
            excess = f"give more than {MAX_STEPS} values" if depth <= MAX_DEPTH else f"are more than {MAX_DEPTH} deep"
            error = _Unresolvable(self.chain[0], "", f"references {excess}", "write values in place of references")
            raise SpecError([self._problem(error)])

    def _text(self, text: str, at: Names, depth: int) -> Any:
        """Resolve a string: the value of a single reference, or the string with values inserted."""
        try:
            pieces = [(piece, is_reference) for piece, is_reference in _pieces(text) if piece or is_reference]
        except ValueError as error:
            raise _Unresolvable(at, "", str(error), r"close it, or write \${ for the characters ${") from error
        if len(pieces) == 1 and pieces[0][1]:
            return self._reference(pieces[0][0], at, depth + 1)
        return "".join(self._inserted(piece, at, depth) if is_reference else piece for piece, is_reference in pieces)

    def _inserted(self, reference: str, at: Names, depth: int) -> str:
        value = self._reference(reference, at, depth + 1)
        if value is None or isinstance(value, Mapping | list):
            kind = "no value" if value is None else "a list or mapping"
            reason = f"gives {kind}, which cannot be inserted into text"
            raise _Unresolvable(at, reference, reason, "refer to a text or number")
        self._count(text := str(value), at, depth)
        return text

    def _reference(self, reference: str, at: Names, depth: int) -> Any:
        self._count(reference, at, depth)
        name, colon, rest = reference.partition(":")
        if colon and _OPEN not in name:
            if name.strip() != _ENVIRONMENT:
                fix = "write ${KEY} or ${oc.env:NAME}"
                raise _Unresolvable(at, reference, f"uses {name.strip()}, which is not supported", fix)
            return self._variable(reference, rest, at, depth)
        key = str(self._text(reference, at, depth)) if _OPEN in reference else reference
        return self._resolve_key(reference, self._names(reference, key.strip(), at), at, depth)

    def _names(self, reference: str, key: str, at: Names) -> Names:
        """Return the names in an absolute or relative key."""
        match = _KEY.fullmatch(key)
        up = len(match["dots"]) if match else 0
        if match is None or up > len(at):
            fix = r"write ${KEY}, or \${ for the characters ${"
            raise _Unresolvable(at, reference, "is not a reference to a key", fix)
        names = tuple(name for name in _BETWEEN_NAMES.split(match["names"]) if name)
        if up:
            return (*at[:-up], *names)
        return tuple(self.scope.shorthand.get(key, "").split(".")) if key in self.scope.shorthand else names

    def _resolve_key(self, reference: str, names: Names, at: Names, depth: int) -> Any:
        key = ".".join(names)
        if key in self.secrets:
            fix = f"write the value of {key} only under its own key"
            raise _Unresolvable(at, reference, "refers to a secret", fix)
        if names in self.chain:
            cycle = " -> ".join(".".join(link) for link in (*self.chain[self.chain.index(names) :], names))
            raise _Unresolvable(at, reference, f"is circular: {cycle}", f"give {key} a value")
        value = _lookup(self.values, names)
        if is_blank(value) and key not in self.nodes:
            close = closest(key, [known for known, node in self.nodes.items() if not node.is_section])
            fix = f"use ${{{close}}}" if close else r"refer to a key of the spec, or write \${ for the characters ${"
            hint = f"; did you mean {close}?" if close else ""
            raise _Unresolvable(at, reference, f"refers to an unknown key{hint}", fix)
        if key in self.nodes and self.nodes[key].is_section:
            raise _Unresolvable(at, reference, "refers to a section", f"refer to single keys of {key}")
        self.chain.append(names)
        resolved = None if is_blank(value) else self.value(value, names, depth + 1)
        self.chain.pop()
        return resolved

    def _variable(self, reference: str, argument: str, at: Names, depth: int) -> Any:
        """Return an environment variable, or the default after the comma. Messages never contain the value."""
        name, comma, default = (part.strip() for part in argument.partition(","))
        if self.scope.environment is None:
            fix = "write the value itself"
            raise _Unresolvable(at, reference, "is rejected: this server reads no environment variables", fix)
        if self.scope.is_private(name) and ".".join(at) not in self.secrets:
            fix = f"leave {'.'.join(at)} out; programs read {name} from the environment"
            raise _Unresolvable(at, reference, f"would expose {name}, which is secret by its name", fix)
        if (value := self.scope.environment.get(name)) is not None:
            if not is_utf8(value):
                raise _Unresolvable(at, reference, "gives text that is not UTF-8", f"correct {name}")
            return value
        if not comma:
            fix = f"set {name}, or write a default after a comma"
            raise _Unresolvable(at, reference, f"names {name}, which is not set", fix)
        if _OPEN in default:
            return self._text(default, at, depth)
        is_quoted = len(default) > 1 and default[0] == default[-1] and default[0] in "'\""
        return None if default == "null" else default[1:-1] if is_quoted else default

    def _converted(self, value: Any, at: Names) -> Any:
        """Parse the text of a variable, or of several pieces, as the type of its parameter."""
        key = ".".join(at)
        if not isinstance(value, str) or (leaf_above(self.scope.config_type, key) or key) not in self.converted:
            return value
        from tao_skill.io.strict_yaml import parse_yaml

        try:
            return parse_yaml(value)
        except ValueError:
            return value

    def _problem(self, error: _Unresolvable) -> Problem:
        key = ".".join(error.at)
        location = f"{key} of {self.scope.file}" if self.scope.file and key not in self.scope.overridden else key
        if may_be_secret(self.scope.config_type, key):
            message, fix = f"{location}: a reference cannot be resolved", r"write \${ for the characters ${"
        else:
            reference = f"${{{error.reference[:_MAX_REFERENCE]}}} " if error.reference else ""
            message, fix = f"{location}: {reference}{error.reason}", error.fix
        return Problem(key=key, message=message, fix=fix)


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """Split a string into parts, in order, each with a flag that says whether it is a reference.

    Raises:
        ValueError: a reference is not closed.
    """
    position = 0
    while (start := text.find(_OPEN, position)) >= 0:
        before = text[position:start]
        bare = before.rstrip("\\")
        slashes = len(before) - len(bare)
        is_escaped = slashes % 2 == 1
        yield bare + "\\" * (slashes // 2) + (_OPEN if is_escaped else ""), False
        position = start + len(_OPEN)
        if not is_escaped:
            end = _closing_brace(text, position)
            yield text[position:end], True
            position = end + 1
    yield text[position:], False


def _closing_brace(text: str, start: int) -> int:
    """Return the position of the brace that closes the reference opened just before `start`."""
    depth = 1
    for match in _BRACES.finditer(text, start):
        depth += 1 if match[0] == _OPEN else -1
        if depth == 0:
            return match.start()
    raise ValueError(f"a text has {_OPEN} without a closing brace")


def _lookup(values: Any, names: Names) -> Any:
    """Return the value under a key, in mappings and lists, or None."""
    for name in names:
        if isinstance(values, Mapping):
            values = values.get(name)
        elif isinstance(values, list) and name.isascii() and name.isdigit() and len(name) < 8:
            values = values[int(name)] if int(name) < len(values) else None
        else:
            return None
    return values
