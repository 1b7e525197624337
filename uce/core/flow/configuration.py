"""The resolved configuration of a run, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml

from uce.core.flow.plugin_info import PluginInfo
from uce.core.flow.run_settings import ModelSettings, RunSettings
from uce.core.flow.settings import Settings


@dataclass(frozen=True)
class Choice:
    """One selected plugin with its validated settings."""

    stage: str
    plugin: PluginInfo
    settings: Settings


@dataclass(frozen=True)
class Config:
    """The whole resolved configuration of a run.

    Attributes:
        note: what people should know about how it came about, in one line: settings that were dropped with their
            plugins. No part of the configuration itself.
    """

    preset: str
    model: ModelSettings
    run: RunSettings
    extractor: Choice
    foreground: Choice
    clusterer: Choice
    refiners: tuple[Choice, ...]
    initializer: Choice
    optimizer: Choice
    note: str | None = field(default=None, compare=False)

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Every selected plugin in the order of the stages."""
        return (
            self.extractor,
            self.foreground,
            self.clusterer,
            *self.refiners,
            self.initializer,
            self.optimizer,
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values in the layout of the YAML file; resolving them again gives this configuration."""
        document: dict[str, Any] = {"preset": self.preset, "model": self.model.model_dump(mode="json")}
        for stage in ("extractor", "foreground", "clusterer"):
            document[stage] = self._choice(getattr(self, stage))
        document["refiner"] = {"chain": [choice.plugin.name for choice in self.refiners]}
        for choice in self.refiners:
            document["refiner"][choice.plugin.name] = choice.settings.model_dump(mode="json")
        for stage in ("initializer", "optimizer"):
            document[stage] = self._choice(getattr(self, stage))
        document["run"] = self.run.model_dump(mode="json")
        return document

    @staticmethod
    def _choice(choice: Choice) -> dict[str, Any]:
        return {"plugin": choice.plugin.name, **choice.settings.model_dump(mode="json")}

    def to_yaml(self) -> str:
        return yaml.safe_dump(self.to_dict(), sort_keys=False, allow_unicode=True)
