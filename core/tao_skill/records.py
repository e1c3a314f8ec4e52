"""`dataclasses.dataclass`, for a program that starts often.

The standard decorator writes and compiles source for up to six methods of every class, which was a third of the time
that a short call took. Here all classes share methods that are written once; everything else about them is the
library's, so that `fields`, `replace` and `asdict` do what they do for its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls=None, /, *, frozen=False, kw_only=False):
        """As `dataclasses.dataclass`, without its other options."""
        return _decorator(frozen, kw_only) if cls is None else _decorator(frozen, kw_only)(cls)


class _Shape(NamedTuple):
    """Names of all fields and of those given by position; what a field holds that is not given, or what makes it."""

    names: tuple[str, ...]
    by_position: tuple[str, ...]
    defaults: Mapping[str, Any]
    factories: Mapping[str, Callable[[], Any]]


def _decorator(frozen: bool, kw_only: bool) -> Callable[[type], type]:
    def decorate(cls: type) -> type:
        cls.__doc__ = cls.__doc__ or cls.__name__  # the library would work out a signature in its place
        made: Any = dataclasses.dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(cls)
        made.__record_shape__ = _shape(made)
        for name, method in (_FROZEN if frozen else _OPEN).items():
            if name not in vars(cls):
                setattr(made, name, method)
        return cls

    return decorate


def _shape(cls: type) -> _Shape:
    fields = dataclasses.fields(cls)
    return _Shape(
        names=tuple(field.name for field in fields),
        by_position=tuple(field.name for field in fields if not field.kw_only),
        defaults={field.name: field.default for field in fields if field.default is not dataclasses.MISSING},
        factories={
            field.name: field.default_factory for field in fields if field.default_factory is not dataclasses.MISSING
        },
    )


class _Record:
    """Methods of every class; as one that is compared and may change, it has no hash."""

    __record_shape__: _Shape

    def __init__(self, /, *positional: Any, **named: Any) -> None:
        shape = self.__record_shape__
        if positional:
            named = _together(self, positional, named)
        values = {**shape.defaults, **named}
        for name, make in shape.factories.items():
            if name not in named:
                values[name] = make()
        try:
            vars(self).update([(name, values.pop(name)) for name in shape.names])
        except KeyError as error:
            raise TypeError(f"{type(self).__qualname__} needs {error.args[0]}") from None
        if values:
            raise TypeError(f"{type(self).__qualname__} takes no {', '.join(values)}")
        if hasattr(self, "__post_init__"):
            self.__post_init__()

    def __repr__(self) -> str:
        values = (f"{name}={getattr(self, name)!r}" for name in self.__record_shape__.names)
        return f"{type(self).__qualname__}({', '.join(values)})"

    def __eq__(self, other: object) -> bool:
        return _values(self) == _values(other) if type(self) is type(other) else NotImplemented


class _FrozenRecord:
    """More methods, of those that do not change."""

    def __hash__(self) -> int:
        return hash(_values(self))

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot assign to field {name!r}")

    def __delattr__(self, name: str) -> NoReturn:
        raise dataclasses.FrozenInstanceError(f"cannot delete field {name!r}")


_OPEN: Final = {name: vars(_Record)[name] for name in ("__init__", "__repr__", "__eq__", "__hash__")}
_FROZEN: Final = _OPEN | {name: vars(_FrozenRecord)[name] for name in ("__hash__", "__setattr__", "__delattr__")}


def _together(record: _Record, positional: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
    """Values given by position and by name, by name.

    Raises:
        TypeError: there are too many, or one is given both ways.
    """
    names = record.__record_shape__.by_position
    placed = dict(zip(names, positional, strict=False))
    if len(positional) > len(names) or placed.keys() & named.keys():
        raise TypeError(f"{type(record).__qualname__} takes {', '.join(names)} by position, each once")
    return {**placed, **named}


def _values(record: Any) -> tuple[Any, ...]:
    return tuple(getattr(record, name) for name in record.__record_shape__.names)
