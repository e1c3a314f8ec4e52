"""What is known of one spec parameter beside its type and default."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, Final

REQUIRED: Final = "???"
"""Default of a parameter that has none: a template shows it, a checked spec never holds it (OmegaConf's marker)."""


@dataclass(frozen=True)
class Param:
    """Metadata of a spec field, attached as `Annotated[type, Param(...)]`.

    Attributes:
        description: one sentence.
        minimum, maximum: inclusive bounds. above: exclusive lower bound.
        choices: accepted values. fold_case: letters' case does not matter.
        reject: values inside the bounds that mean nothing.
        only: actions that read the parameter; empty means every action that reads its section.
        inherit: a fact of the trained model that a downstream action takes from its parent job.
        reads_file: the value names an existing file. writes: it names a file or folder to write to.
        checkpoint: it names a checkpoint, perhaps without the step that is part of the file's name.
        secret: the value is in no record, log or error.
        popular: shown first to people and agents.
        low, high, log: AutoML search range. searchable: AutoML may vary it (implied by a range).
        tune: AutoML varies it unless told otherwise. weights: sampling weights of `choices`, in order.
        off: value of a searched number that switches it off.
        condition: relation a suggested value must keep, e.g. `< train.optim.lr`.
        depends_on: (key, value) that must hold for the parameter to have an effect.
        parent: key of the parameter this one is set relative to.
        tao_flags: options of TAO's command line that stand for the key.
    """

    description: str
    _: KW_ONLY
    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    choices: tuple[str, ...] = ()
    fold_case: bool = False
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
    weights: tuple[float, ...] = ()
    off: float | None = None
    condition: str | None = None
    depends_on: tuple[str, Any] | None = None
    parent: str | None = None
    tao_flags: tuple[str, ...] = ()

    @property
    def may_search(self) -> bool:
        """Whether AutoML may vary the parameter at all."""
        return self.searchable or self.tune or self.low is not None
