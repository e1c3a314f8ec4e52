"""Records are what the standard library makes of the same class, and are made without compiling."""

from __future__ import annotations

import builtins
import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import KW_ONLY, FrozenInstanceError, asdict, field, fields, replace
from functools import cached_property
from typing import Any

import pytest

from tao_skill import records

Decorator = Callable[..., Any]


def point(dataclass: Decorator, frozen: bool) -> Any:
    @dataclass(frozen=frozen)
    class Point:
        x: int
        _: KW_ONLY
        y: int
        tags: list[str] = field(default_factory=list)
        name: str = "p"

        def __post_init__(self) -> None:
            if self.x < 0:
                raise ValueError("x is negative")

        @cached_property
        def total(self) -> int:
            return self.x + self.y

    return Point


def inherited(dataclass: Decorator, frozen: bool) -> Any:
    @dataclass(frozen=frozen, kw_only=True)
    class Deep(point(dataclass, frozen)):  # type: ignore[misc]
        """Has a text of its own."""

        z: float = 1.5
        name: str = "deep"

        def __repr__(self) -> str:
            return "its own"

    return Deep


@pytest.fixture(params=[True, False], ids=["frozen", "open"])
def frozen(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(params=[point, inherited])
def pair(request: pytest.FixtureRequest, frozen: bool) -> tuple[Any, Any]:
    return request.param(records.dataclass, frozen), request.param(dataclasses.dataclass, frozen)


def outcome(call: Callable[[], Any]) -> Any:
    """What a call gives, in words that do not name the class's module, or the kind of error it raises."""
    try:
        return call()
    except Exception as error:
        return type(error)


@pytest.mark.parametrize(
    "call",
    [
        lambda kind: repr(kind(1, y=2)),
        lambda kind: repr(kind(1, y=2, tags=["a"], name="b")),
        lambda kind: vars(kind(name="b", y=2, x=1)),
        lambda kind: list(vars(kind(name="b", y=2, x=1))),
        lambda kind: asdict(replace(kind(1, y=2), y=3)),
        lambda kind: kind(1, y=2) == kind(1, y=2),
        lambda kind: kind(1, y=2) == kind(1, y=3),
        lambda kind: kind(1, y=2) == (1, 2, [], "p"),
        lambda kind: kind(1, y=2).total,
        lambda kind: vars(copy.deepcopy(kind(1, y=2))),
        lambda kind: [one.name for one in fields(kind)],
        lambda kind: (kind.name, hasattr(kind, "tags"), kind.__match_args__),
        lambda kind: kind(1),
        lambda kind: kind(1, 2),
        lambda kind: kind(1, y=2, x=1),
        lambda kind: kind(1, y=2, w=1),
        lambda kind: kind(-1, y=2),
        lambda kind: setattr(kind(1, y=2), "y", 3),
        lambda kind: setattr(kind(1, y=2), "new", 3),
        lambda kind: delattr(kind(1, y=2), "y"),
        lambda kind: hash(kind(1, y=2)),
        lambda kind: hash(kind(1, y=2, tags=())) == hash(kind(1, y=2, tags=())),
    ],
)
def test_a_record_does_what_a_dataclass_does(pair: tuple[Any, Any], call: Callable[[Any], Any]) -> None:
    ours, standard = (outcome(lambda kind=kind: call(kind)) for kind in pair)
    assert ours == standard


def test_a_factory_is_called_for_each(pair: tuple[Any, Any]) -> None:
    kind, _ = pair
    assert kind(1, y=2).tags is not kind(1, y=2).tags


def test_what_changes_has_no_hash_and_what_does_not_says_so() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(point(records.dataclass, False)(1, y=2))
    with pytest.raises(FrozenInstanceError, match="'y'"):
        point(records.dataclass, True)(1, y=2).y = 3


def test_an_error_names_the_class_and_the_field() -> None:
    kind = point(records.dataclass, True)
    with pytest.raises(TypeError, match=r"Point needs y$"):
        kind(1)
    with pytest.raises(TypeError, match=r"Point takes no w$"):
        kind(1, y=2, w=3)
    with pytest.raises(TypeError, match=r"Point takes x by position, each once$"):
        kind(1, 2)


@records.dataclass
class Plain:
    x: int = 0


def test_a_record_without_options_is_pickled() -> None:
    assert pickle.loads(pickle.dumps(Plain(3))) == Plain(3)


def test_nothing_is_compiled_for_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[object] = []
    monkeypatch.setattr(builtins, "exec", lambda *arguments: compiled.append(arguments))
    inherited(records.dataclass, True)
    assert not compiled
