"""A transformer from whatever the user named."""

from __future__ import annotations

from typing import Any

from uce.plugins.backbones._transformer.loading import Layout, TransformerParts, find, load_folder
from uce.plugins.backbones._transformer.single_file import load_single_file


def load_parts(model: str, settings: Any, precision: str, layout: Layout) -> TransformerParts | None:
    """Load a diffusers folder, a hub id or a .safetensors file; None where it is of another family.

    Raises:
        ModelError: it is damaged, incomplete, not to be had, or of a family that nothing here understands.
    """
    place = find(model, settings, layout)
    if place is None:
        return None
    load = load_folder if place.is_dir() else load_single_file
    return load(model, place, layout, settings, precision)
