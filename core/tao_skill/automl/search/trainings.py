"""Length and cost of the trainings of a model's configurations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tao_skill.model import Model
from tao_skill.spec import load
from tao_skill.spec.tree import lookup


class Trainings(Protocol):
    """Length and cost of the trainings of configurations."""

    def epochs(self, values: Mapping[str, Any]) -> int:
        """Epochs of the full training of a configuration."""
        ...

    def warm_up(self, values: Mapping[str, Any]) -> int:
        """Epochs after which the metrics of a configuration say little."""
        ...

    def flop(self, values: Mapping[str, Any]) -> float | None:
        """Operations of an epoch; None if unknown."""
        ...

    def shortened(self, values: Mapping[str, Any], epochs: int) -> dict[str, Any]:
        """The same training in fewer epochs."""
        ...

    def adapted(self, values: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
        """A configuration that was drawn around another, with those values that follow from others."""
        ...


@dataclass(frozen=True, kw_only=True)
class ModelTrainings:
    """See `Trainings`: configurations are values that replace those of a spec.

    Attributes:
        epochs_key: spec key of the number of epochs. warms_up: whether the first epochs of a training say little.
    """

    model: Model
    spec: Mapping[str, Any]
    epochs_key: str
    warms_up: bool = True

    def epochs(self, values: Mapping[str, Any]) -> int:
        """See `Trainings`."""
        return int(values.get(self.epochs_key, lookup(self.spec, self.epochs_key)))

    def warm_up(self, values: Mapping[str, Any]) -> int:
        """See `Trainings`."""
        return self.model.warm_up_epochs(self._config(values)) if self.warms_up else 0

    def flop(self, values: Mapping[str, Any]) -> float | None:
        """See `Trainings`."""
        return self.model.epoch_flop(self._config(values))

    def shortened(self, values: Mapping[str, Any], epochs: int) -> dict[str, Any]:
        """See `Trainings`."""
        return {**values, **self.model.shortened(self._config(values), epochs)}

    def adapted(self, values: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
        """See `Trainings`."""
        return {**values, **self.model.scaled(self._config(values), self._config(base))}

    def _config(self, values: Mapping[str, Any]) -> Any:
        return load.build(self.model.config, load.override(self.model.config, self.spec, values.items()))
