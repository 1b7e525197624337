"""Stable Diffusion 1.x and 2.x, and every model of their shape, over diffusers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import Backbone


class StableDiffusionBackbonePlugin:
    """Stable Diffusion 1.x and 2.x: the embedded model, a diffusers folder, a .safetensors file or a hub id."""

    name = "stable-diffusion"

    @hookimpl(trylast=True)
    def uce_load_backbone(self, model: str, settings: Any, device: str, precision: str) -> Backbone | None:
        """Load `model`: "mini", "sd1.5", "sd2.1", a diffusers folder, a single .safetensors file or a hub id.

        Asked last, so that a plugin with model names of its own is heard first.

        Returns:
            the backbone, or None for a pipeline of another kind (such as Stable Diffusion XL).

        Raises:
            ModelError: the model is missing, damaged, incomplete, pickled, or not to be had without a network.
        """
        from uce.plugins.backbones._sd.backbone import StableDiffusionBackbone
        from uce.plugins.backbones._sd.loading import load_parts
        from uce.plugins.backbones._sd.parts import Manner

        parts = load_parts(model, settings, precision)
        if parts is None:
            return None
        return StableDiffusionBackbone(parts, device, precision, Manner.of(settings))
