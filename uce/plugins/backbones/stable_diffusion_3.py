"""Stable Diffusion 3 and 3.5, and every model of their shape, over diffusers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import Backbone


class StableDiffusion3BackbonePlugin:
    """Stable Diffusion 3 and 3.5, with or without T5: a diffusers folder, a hub id or a .safetensors file."""

    name = "stable-diffusion-3"

    @hookimpl(trylast=True)
    def uce_load_backbone(self, model: str, settings: Any, device: str, precision: str) -> Backbone | None:
        """Load `model`: a diffusers folder, a hub id, or a transformer as a single .safetensors file.

        Returns:
            the backbone, or None for whatever is not of this family.

        Raises:
            ModelError: the model is damaged, incomplete, or not to be had without a network; or it is a transformer of
                a family that nothing here understands.

        Source: Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis", ICML 2024.
        """
        from uce.plugins.backbones._sd3.backbone import LAYOUT, StableDiffusion3Backbone
        from uce.plugins.backbones._transformer.opening import load_parts

        parts = load_parts(model, settings, precision, LAYOUT)
        return None if parts is None else StableDiffusion3Backbone(parts, settings, device, precision)
