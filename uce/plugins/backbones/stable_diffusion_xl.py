"""Stable Diffusion XL, and every model of its shape, over diffusers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import Backbone


class StableDiffusionXLBackbonePlugin:
    """Stable Diffusion XL, with two text encoders: a diffusers folder, a .safetensors file or a hub id."""

    name = "stable-diffusion-xl"

    @hookimpl(trylast=True)
    def uce_load_backbone(self, model: str, settings: Any, device: str, precision: str) -> Backbone | None:
        """Load `model`: "sdxl", a diffusers folder, a single .safetensors file or a hub id.

        Returns:
            the backbone, or None for whatever is not of this family.

        Raises:
            ModelError: the model is damaged, incomplete, a refiner or inpainting model, or not to be had without a
                network.

        Source: Podell et al., 2023 (SDXL, arXiv 2307.01952); section 2.2 for the size conditions.
        """
        from uce.plugins.backbones._sdxl.loading import load_xl_parts

        parts = load_xl_parts(model, settings, precision)
        if parts is None:
            return None
        from uce.plugins.backbones._sd.parts import Manner
        from uce.plugins.backbones._sdxl.backbone import StableDiffusionXLBackbone

        return StableDiffusionXLBackbone(parts, device, precision, Manner.of(settings))
