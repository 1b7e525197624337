"""From what the user named to the parts of a transformer model, with what is laid beside them."""

from __future__ import annotations

from typing import Any

from uce.plugins.backbones._transformer.extras import require_flow_settings, with_given_lora
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
    if place.is_dir():
        parts: TransformerParts | None = load_folder(model, place, layout, settings, precision)
    else:
        parts = load_single_file(model, place, layout, settings, precision)
    if parts is None:
        return None
    require_flow_settings(model, settings)
    laid: TransformerParts = with_given_lora(parts, settings, layout)
    return laid
