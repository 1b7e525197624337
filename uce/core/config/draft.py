"""What the layers of a configuration say so far: names and raw values, not yet validated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Values = dict[str, dict[str, Any]]


@dataclass
class Draft:
    """Plugin names and raw values; whatever is named later wins.

    Attributes:
        asked: clusterer -> the chain of refiners that it asks for. Naming such a clusterer names its chain, too: a
            chain meant for clusters of another kind would undo its result.
    """

    asked: Mapping[str, Sequence[str]]
    plugins: dict[str, str] = field(default_factory=dict)
    chain: list[str] = field(default_factory=list)
    values: Values = field(default_factory=dict)
    set_aside: tuple[list[str], Values] | None = None

    def name_plugin(self, stage: str, name: str) -> None:
        """A named plugin starts from its own defaults (paper's for built-ins): what earlier layers set is dropped."""
        self.plugins[stage] = name
        self.values[stage] = {}
        if stage != "clusterer":
            return
        if self.set_aside is not None:  # the clusterer named before had asked for a chain
            self.chain, refiners = self.set_aside
            self._drop_refiners()
            self.values.update(refiners)
            self.set_aside = None
        if name in self.asked:
            self.set_aside = self.chain, self._drop_refiners()
            self.chain = list(self.asked[name])

    def name_chain(self, chain: Sequence[str]) -> None:
        """Named refiners start from their own defaults, too."""
        self.chain = list(chain)
        self.set_aside = None
        self._drop_refiners()

    def set_value(self, section: str, key: str, value: Any) -> None:
        self.values.setdefault(section, {})[key] = value

    def _drop_refiners(self) -> Values:
        return {key: self.values.pop(key) for key in list(self.values) if key.startswith("refiner.")}
