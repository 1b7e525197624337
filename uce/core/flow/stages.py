"""The stages by name, in their order: the one list that everybody else reads."""

from __future__ import annotations

STAGES = ("extractor", "foreground", "clusterer", "refiner", "initializer", "optimizer")
"""The five, and the foreground step between the first two."""
SINGLE_STAGES = tuple(stage for stage in STAGES if stage != "refiner")
"""Those with one plugin; refiners are a chain."""

LOCALISING, LEARNING = STAGES[:4], STAGES[4:]
"""Those that find things, and those that learn words for them."""

CHOOSABLE = (*SINGLE_STAGES, "refiner", "model", "run")
"""Sections of a configuration."""
