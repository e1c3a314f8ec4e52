r"""References in the texts of a spec, as Hydra and OmegaConf write them.

`${results_dir}` or `${train.gpu_ids[0]}` is another value of the spec, `${.num_epochs}` one of the same section,
`${..seed}` one of the section around it, `${oc.env:NAME,default}` an environment variable. `\${` is the characters
`${`.
A text that is one reference takes the value with its type; in a longer text the value is inserted.
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
from tao_skill.spec.problems import MOST_PROBLEMS, closest, may_be_secret
from tao_skill.spec.tree import iter_params, leaf_above, shape, walk

MAX_STEPS: Final = 100_000
"""Values and pieces of text that the references of one spec may give, all together."""

MAX_DEPTH: Final = 24
"""References through references, and the mappings and lists around them."""

_OPEN: Final = "${"
_ENVIRONMENT: Final = "oc.env"
_SHOWN: Final = 80
_STEP: Final = 16
"""Characters of a text that count as one step."""

_BRACES: Final = re.compile(r"\$\{|\}")
_NAME: Final = r"[^\s.:\[\]{}$]+(?: +[^\s.:\[\]{}$]+)*"
_KEY: Final = re.compile(rf"(?P<dots>\.*)(?P<names>{_NAME}(?:\.{_NAME}|\[{_NAME}\])*)")
_BETWEEN_NAMES: Final = re.compile(r"[.\[\]]+")
_ESCAPED: Final = re.compile(r"(?<!\\)(\\*)\$\{")

Names = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What the references of a spec may refer to.

    Attributes:
        values: gives the values by key, references among them; called once, if at all.
        environment: variables; None refuses `${oc.env:NAME}`. is_private: whether a variable, by its name, must be in
            no record.
        file: where values come from, for messages. overridden: keys that it does not give.
    """

    config_type: type
    values: Callable[[], Mapping[str, Any]]
    shorthand: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] | None = None
    is_private: Callable[[str], bool] = lambda name: False
    file: str | None = None
    overridden: Container[str] = ()


def resolve(values: Mapping[str, Any], scope: Scope) -> dict[str, Any]:
    """The values with every reference replaced by what it refers to.

    Raises:
        SpecError: references are unknown, circular, without a value or malformed, or give too much.
    """
    resolver = _Resolver(scope)
    resolved: dict[str, Any] = resolver.value(values, ())
    if resolver.problems:
        raise SpecError(list(resolver.problems.values()))
    return resolved


def escaped(value: Any) -> Any:
    r"""A value whose texts `resolve` gives back as they are here: `\${` for `${`."""
    if isinstance(value, str):
        return _ESCAPED.sub(lambda match: rf"{match[1] * 2}\${{", value) if _OPEN in value else value
    if isinstance(value, Mapping):
        return {name: escaped(one) for name, one in value.items()}
    return [escaped(one) for one in value] if isinstance(value, list | tuple) else value


class _Refused(Exception):
    """Why a reference cannot be resolved, and what to do instead."""

    def __init__(self, at: Names, reference: str, why: str, fix: str) -> None:
        super().__init__(why)
        self.at, self.reference, self.why, self.fix = at, reference, why, fix


class _Resolver:
    """Resolves the references of one spec.

    Attributes:
        chain: keys being resolved, each for the reference of the one before. problems: by place and reason.
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
        """A value of the key `at`, resolved."""
        if self.chain:
            self._count(value, at, depth)
        if isinstance(value, Mapping):
            return {name: self.value(one, (*at, str(name)), depth + 1) for name, one in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(one, (*at, str(index)), depth + 1) for index, one in enumerate(value)]
        if not isinstance(value, str) or _OPEN not in value:
            return value
        if self.chain:
            return self._converted(self._text(value, at, depth), at)
        if len(self.problems) >= MOST_PROBLEMS:
            return None
        self.chain.append(at)
        try:
            return self._converted(self._text(value, at, 0), at)
        except _Refused as refused:
            self.problems.setdefault((refused.at, refused.why), self._problem(refused))
            return None
        finally:
            self.chain.clear()

    def _count(self, value: Any, at: Names, depth: int) -> None:
        self.steps += 1 + (len(value) // _STEP if isinstance(value, str) else 0)
        if self.steps > MAX_STEPS or depth > MAX_DEPTH:
            most = f"give more than {MAX_STEPS} values" if depth <= MAX_DEPTH else f"are more than {MAX_DEPTH} deep"
            refused = _Refused(self.chain[0], "", f"references {most}", "write values in place of references")
            raise SpecError([self._problem(refused)])

    def _text(self, text: str, at: Names, depth: int) -> Any:
        """The value of a text that is one reference, else the text with the values inserted."""
        try:
            pieces = [(piece, is_reference) for piece, is_reference in _pieces(text) if piece or is_reference]
        except ValueError as error:
            raise _Refused(at, "", str(error), r"close it, or write \${ for the characters ${") from error
        if len(pieces) == 1 and pieces[0][1]:
            return self._reference(pieces[0][0], at, depth + 1)
        return "".join(self._inserted(piece, at, depth) if is_reference else piece for piece, is_reference in pieces)

    def _inserted(self, reference: str, at: Names, depth: int) -> str:
        value = self._reference(reference, at, depth + 1)
        if value is None or isinstance(value, Mapping | list):
            what = "no value" if value is None else "a list or mapping"
            raise _Refused(at, reference, f"gives {what}, which cannot be inserted into text", "give a text or number")
        self._count(text := str(value), at, depth)
        return text

    def _reference(self, reference: str, at: Names, depth: int) -> Any:
        self._count(reference, at, depth)
        name, colon, rest = reference.partition(":")
        if colon and _OPEN not in name:
            if name.strip() != _ENVIRONMENT:
                fix = "write ${KEY} or ${oc.env:NAME}"
                raise _Refused(at, reference, f"uses {name.strip()}, which is not supported", fix)
            return self._variable(reference, rest, at, depth)
        key = str(self._text(reference, at, depth)) if _OPEN in reference else reference
        return self._referred(reference, self._names(reference, key.strip(), at), at, depth)

    def _names(self, reference: str, key: str, at: Names) -> Names:
        """The names of an absolute or relative key."""
        match = _KEY.fullmatch(key)
        up = len(match["dots"]) if match else 0
        if match is None or up > len(at):
            raise _Refused(at, reference, "is not a reference to a key", r"write ${KEY}, or \${ for the characters ${")
        names = tuple(name for name in _BETWEEN_NAMES.split(match["names"]) if name)
        if up:
            return (*at[:-up], *names)
        return tuple(self.scope.shorthand.get(key, "").split(".")) if key in self.scope.shorthand else names

    def _referred(self, reference: str, names: Names, at: Names, depth: int) -> Any:
        key = ".".join(names)
        if key in self.secrets:
            raise _Refused(at, reference, "refers to a secret", f"write the value of {key} only under its own key")
        if names in self.chain:
            circle = " -> ".join(".".join(one) for one in (*self.chain[self.chain.index(names) :], names))
            raise _Refused(at, reference, f"is circular: {circle}", f"give {key} a value")
        value = _find(self.values, names)
        if is_blank(value) and key not in self.nodes:
            close = closest(key, [one for one, node in self.nodes.items() if not node.is_section])
            fix = f"use ${{{close}}}" if close else r"refer to a key of the spec, or write \${ for the characters ${"
            raise _Refused(at, reference, f"refers to an unknown key{f'; did you mean {close}?' if close else ''}", fix)
        if key in self.nodes and self.nodes[key].is_section:
            raise _Refused(at, reference, "refers to a section", f"refer to the keys of {key} one by one")
        self.chain.append(names)
        found = None if is_blank(value) else self.value(value, names, depth + 1)
        self.chain.pop()
        return found

    def _variable(self, reference: str, argument: str, at: Names, depth: int) -> Any:
        """An environment variable, or the default after a comma; never shown."""
        name, comma, default = (part.strip() for part in argument.partition(","))
        if self.scope.environment is None:
            fix = "write the value itself"
            raise _Refused(at, reference, "is refused: requests to this server read no environment variables", fix)
        if self.scope.is_private(name) and ".".join(at) not in self.secrets:
            fix = f"leave {'.'.join(at)} out; programs read {name} from the environment"
            raise _Refused(at, reference, f"would show {name}, which holds a secret by its name", fix)
        if (value := self.scope.environment.get(name)) is not None:
            if not is_utf8(value):
                raise _Refused(at, reference, "gives text that is not UTF-8", f"correct {name}")
            return value
        if not comma:
            fix = f"set {name}, or write a default after a comma"
            raise _Refused(at, reference, f"names {name}, which is not set", fix)
        if _OPEN in default:
            return self._text(default, at, depth)
        is_quoted = len(default) > 1 and default[0] == default[-1] and default[0] in "'\""
        return None if default == "null" else default[1:-1] if is_quoted else default

    def _converted(self, value: Any, at: Names) -> Any:
        """The text of a variable or of several pieces as the number, list, ... that its parameter reads."""
        key = ".".join(at)
        if not isinstance(value, str) or (leaf_above(self.scope.config_type, key) or key) not in self.converted:
            return value
        from tao_skill.io.strict_yaml import parse_yaml

        try:
            return parse_yaml(value)
        except ValueError:
            return value

    def _problem(self, refused: _Refused) -> Problem:
        key = ".".join(refused.at)
        place = f"{key} of {self.scope.file}" if self.scope.file and key not in self.scope.overridden else key
        if may_be_secret(self.scope.config_type, key):
            message, fix = f"{place}: a reference cannot be resolved", r"write \${ for the characters ${"
        else:
            reference = f"${{{refused.reference[:_SHOWN]}}} " if refused.reference else ""
            message, fix = f"{place}: {reference}{refused.why}", refused.fix
        return Problem(key=key, message=message, fix=fix)


def _pieces(text: str) -> Iterator[tuple[str, bool]]:
    """The parts of a text in order, and of each whether it is a reference.

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
            end = _closing(text, position)
            yield text[position:end], True
            position = end + 1
    yield text[position:], False


def _closing(text: str, start: int) -> int:
    """Where the brace closes that was opened just before `start`."""
    opened = 1
    for match in _BRACES.finditer(text, start):
        opened += 1 if match[0] == _OPEN else -1
        if opened == 0:
            return match.start()
    raise ValueError(f"a text holds {_OPEN} without its closing brace")


def _find(values: Any, names: Names) -> Any:
    """The value under a key, in mappings and lists; None where there is none."""
    for name in names:
        if isinstance(values, Mapping):
            values = values.get(name)
        elif isinstance(values, list) and name.isascii() and name.isdigit() and len(name) < 8:
            values = values[int(name)] if int(name) < len(values) else None
        else:
            return None
    return values
