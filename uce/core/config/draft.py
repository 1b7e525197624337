"""What the layers of a configuration say so far: names and raw values, not yet validated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Values = dict[str, dict[str, Any]]

_SHOWN = 3
"""Keys that a note names."""


@dataclass
class Draft:
    """Plugin names and raw values; whatever is named later wins.

    Attributes:
        asked: clusterer -> the chain of refiners that it asks for. Naming such a clusterer names its chain, too: a
            chain meant for clusters of another kind would undo its result.
        foregrounds: clusterer -> the foreground step that it asks for, likewise.
        dropped: whose settings are gone, such as "optimizer masked-denoising", and their keys.
    """

    asked: Mapping[str, Sequence[str]]
    foregrounds: Mapping[str, str] = field(default_factory=dict)
    plugins: dict[str, str] = field(default_factory=dict)
    chain: list[str] = field(default_factory=list)
    values: Values = field(default_factory=dict)
    set_aside: tuple[list[str], Values] | None = None
    foreground_aside: tuple[str, dict[str, Any]] | None = None
    dropped: dict[str, list[str]] = field(default_factory=dict)

    def name_plugin(self, stage: str, name: str) -> None:
        """A plugin that is there already keeps its settings; another one starts from its own defaults (the paper's
        for built-ins), and what earlier layers set for the one before is dropped."""
        before = self.plugins.get(stage)
        if name == before:
            return
        self._drop(f"{stage} {before}", self.values.pop(stage, {}))
        self.plugins[stage] = name
        if stage == "foreground":
            self.foreground_aside = None
        if stage == "clusterer":
            self._ask_foreground(name)
            self._change_chain(name)

    def _change_chain(self, clusterer: str) -> None:
        """The chain that a clusterer asks for, or the one that stood before an earlier one had asked."""
        if self.set_aside is not None:
            self.chain, refiners = self.set_aside
            self._take_refiners()
            self.values.update(refiners)
            self.set_aside = None
        if clusterer in self.asked:
            self.set_aside = self.chain, self._take_refiners()
            self.chain = list(self.asked[clusterer])

    def _ask_foreground(self, clusterer: str) -> None:
        if self.foreground_aside is not None:  # the clusterer named before had asked for one
            self.plugins["foreground"], self.values["foreground"] = self.foreground_aside
            self.foreground_aside = None
        if clusterer in self.foregrounds:
            self.foreground_aside = self.plugins.get("foreground", ""), self.values.get("foreground", {})
            self.plugins["foreground"], self.values["foreground"] = self.foregrounds[clusterer], {}

    def name_chain(self, chain: Sequence[str]) -> None:
        """Refiners that are there already keep their settings, others start from their own defaults; a chain that
        begins with "+" is appended."""
        if chain[0] == "+":
            self.chain = [*self.chain, *chain[1:]]
            if self.set_aside is not None:
                self.set_aside = [*self.set_aside[0], *chain[1:]], self.set_aside[1]
            return
        known = {**(self.set_aside[1] if self.set_aside else {}), **self._take_refiners()}
        self.chain, self.set_aside = list(chain), None
        for section, values in known.items():
            if section.removeprefix("refiner.") in chain:
                self.values[section] = values
            else:
                self._drop(section.replace(".", " "), values)

    def set_value(self, section: str, key: str, value: Any) -> None:
        self.values.setdefault(section, {})[key] = value

    def note(self) -> str | None:
        """One line about settings that are gone with their plugins; None where none are."""
        gone = dict(self.dropped)
        for section, values in (self.set_aside or ([], {}))[1].items():
            gone[section.replace(".", " ")] = list(values)
        if not gone:
            return None
        shown = [f"{owner} ({_listed(keys)})" for owner, keys in gone.items()]
        return f"settings dropped with their plugins: {', '.join(shown)}"

    def _drop(self, owner: str, values: Mapping[str, Any]) -> None:
        if values:
            self.dropped[owner] = list(values)

    def _take_refiners(self) -> Values:
        return {key: self.values.pop(key) for key in list(self.values) if key.startswith("refiner.")}


def _listed(keys: Sequence[str]) -> str:
    more = len(keys) - _SHOWN
    return ", ".join(keys[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
