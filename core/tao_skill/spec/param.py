"""Metadata of a spec parameter, besides its type and default."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, Final

REQUIRED: Final = "???"
"""Default of a required parameter (OmegaConf's marker): templates show it, a checked spec never contains it."""


@dataclass(frozen=True)
class Param:
    """Metadata of a spec field, attached as `Annotated[type, Param(...)]`.

    Attributes:
        description: a sentence.
        minimum, maximum: inclusive bounds. above: exclusive lower bound.
        choices: accepted values. fold_case: choices are case-insensitive.
        file_suffixes: endings of the names of files that are accepted besides `choices`.
        reject: values within the bounds that are not accepted.
        only: actions that read the parameter; empty for all actions that read its section.
        inherit: a property of the trained model that a downstream action takes from its parent job.
        reads_file: the value is the path of an existing file. writes: the path of a file or directory to write.
        checkpoint: the path of a checkpoint, whose file name may omit the step.
        secret: the value is kept out of records, logs and errors.
        popular: listed first to users and agents.
        low, high, log: AutoML search range. searchable: AutoML may vary it (implied by a range).
        tune: AutoML varies it by default, even if the user sets it. structural: AutoML varies it unless the user sets
            it. weights: sampling weights of `choices`, in order.
        off: value of a numeric parameter that disables it.
        condition: relation that suggested values must satisfy, e.g. `< train.optim.lr`.
        depends_on: (key, value) under which the parameter has an effect.
        parent: key of the parameter relative to which this parameter is set.
        own: TAO has no such parameter. own_choices: choices that TAO does not accept.
        tao_flags: options of TAO's command line that set the key.
    """

    description: str
    _: KW_ONLY
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    fold_case: bool = False
    file_suffixes: tuple[str, ...] = ()
    reject: tuple[Any, ...] = ()
    only: tuple[str, ...] = ()
    inherit: bool = False
    reads_file: bool = False
    checkpoint: bool = False
    writes: bool = False
    secret: bool = False
    popular: bool = False
    low: float | None = None
    high: float | None = None
    log: bool = False
    searchable: bool = False
    tune: bool = False
    structural: bool = False
    weights: tuple[float, ...] = ()
    off: float | None = None
    condition: str | None = None
    depends_on: tuple[str, Any] | None = None
    parent: str | None = None
    own: bool = False
    own_choices: tuple[str, ...] = ()
    tao_flags: tuple[str, ...] = ()

    def names_path(self, value: Any) -> bool:
        """Whether a value is the path or the address of a file or directory."""
        return (
            (self.reads_file or self.writes) and isinstance(value, str) and value not in ("", REQUIRED, *self.choices)
        )

    def is_own(self, value: Any) -> bool:
        """Whether TAO cannot hold a value that differs from the default."""
        return self.own or value in self.own_choices

    @property
    def may_search(self) -> bool:
        """Whether AutoML may vary the parameter."""
        return self.searchable or self.tune or self.structural or self.low is not None
