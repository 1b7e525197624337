"""Named configurations, in the layout of the YAML file.

`paper` is ConceptExpress as published (stages at the built-ins' own defaults). `default` chooses what measured better
on composed scenes of validation objects: docs/stages.md says what and why.
"""

from __future__ import annotations

from typing import Any

PAPER: dict[str, Any] = {
    "extractor": "self-attention",
    "clusterer": "finch",
    "refiner": ["saliency", "merge"],
    "initializer": "split-merge",
    "optimizer": "masked-denoising",
    "run": {"fit": "stretch"},
}

DEFAULT: dict[str, Any] = {
    "extractor": "self-attention",
    "clusterer": "finch",
    "refiner": ["saliency", "merge"],
    "initializer": "split-merge",
    "optimizer": "masked-denoising",
}

PRESETS: dict[str, dict[str, Any]] = {"default": DEFAULT, "paper": PAPER}
