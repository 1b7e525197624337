"""Named configurations, in the layout of the YAML file.

`paper` is ConceptExpress as published (stages at the built-ins' own defaults). `default` chooses what measured better
on composed scenes of validation objects: docs/stages/presets.md says what and why.
"""

from __future__ import annotations

from typing import Any

PAPER: dict[str, Any] = {
    "extractor": "self-attention",
    "foreground": "none",
    "clusterer": "finch",
    "refiner": ["saliency", "merge"],
    "initializer": "split-merge",
    "optimizer": "masked-denoising",
    "run": {"fit": "stretch"},
}

DEFAULT: dict[str, Any] = {
    # Layers count alike and without jumps, a little noise makes the model look for things rather than texture, and a
    # coarse model sees the picture enlarged, and at its own size.
    "extractor": {
        "plugin": "self-attention",
        "normalize": "layers",
        "queries": "interpolate",
        "timestep": 100,
        "noise_samples": 2,
        "cells": 32,
        "own_size": True,
        "saliency_side": 16,
    },
    # Background is nobody's cluster, and cells of one thing look alike to whichever clusterer is named.
    "foreground": "salient",
    # What stands out, cut into things. One cluster per thing leaves nothing to merge or to split: these two are for
    # whoever names another clusterer. Outlines may move two cells: maps of the own size blur them that far.
    "clusterer": "normalized-cuts",
    "refiner": {"chain": ["saliency", "merge", "split", "smooth", "edges"], "edges": {"band": 2.0}},
    "initializer": "split-merge",
    # One optimiser update per step over all its prompts. A token sees its thing enlarged and upright, sees where it
    # ends, stays as short as words, and moves along the axes in which words differ.
    "optimizer": {
        "plugin": "masked-denoising",
        "schedule": "batched",
        "steps": 120,
        "merge_step": 8,
        "zoom": 0.8,
        "word_axes": 1024,
        "flip": 0.0,
        "learning_rate": 0.4,
        "rate_unit": "vocabulary",
        "norm_limit": 1.0,
        "margin": 1,
        "alignment": "kl",
        "cool_down": 0.5,
        "timesteps": "spread",
    },
}

# What others read in transformers, as they published it; docs/transformers.md says for which models. The
# other stages are the default's. Seg4Diff's step is the eighth of 28 from the end: with Stable Diffusion 3's shift of 3
# that is 51.5% noise. ConceptAttention's is the second of schnell's four, half noise.
SEG4DIFF = DEFAULT | {
    "extractor": {"plugin": "joint-attention", "blocks": [9], "time": 0.515, "noise_samples": 1, "path": "text"},
    "clusterer": "finch",
    "refiner": ["saliency", "merge"],
}
CONCEPTATTENTION = DEFAULT | {
    "extractor": {
        "plugin": "joint-attention",
        "blocks": [15, 16, 17, 18],
        "time": 0.5,
        "noise_samples": 1,
        "read": "outputs",
    }
}
DITF = DEFAULT | {"extractor": {"plugin": "features", "block": 28, "timestep": 260}}
GOCA = DEFAULT | {"extractor": {"plugin": "joint-attention", "time": 150, "reference": 18}}

PRESETS: dict[str, dict[str, Any]] = {
    "default": DEFAULT,
    "paper": PAPER,
    "seg4diff": SEG4DIFF,
    "conceptattention": CONCEPTATTENTION,
    "ditf": DITF,
    "goca": GOCA,
}
