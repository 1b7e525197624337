"""The stages by name, in their order: the one list that everybody else reads."""

from __future__ import annotations

STAGES = ("extractor", "foreground", "clusterer", "refiner", "initializer", "optimizer")
"""The five, and the foreground step between the first two."""
SINGLE_STAGES = tuple(stage for stage in STAGES if stage != "refiner")
"""Those with one plugin; refiners are a chain."""

CHOOSABLE = (*SINGLE_STAGES, "refiner", "model", "run")
"""Sections of a configuration."""
