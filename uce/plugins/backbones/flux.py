"""FLUX.1 dev, schnell and their fine-tunes, over diffusers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uce.core import hookimpl

if TYPE_CHECKING:
    from uce.core import Backbone


class FluxBackbonePlugin:
    """FLUX.1 dev, schnell and their fine-tunes: a diffusers folder, a hub id or a .safetensors file."""

    name = "flux"

    @hookimpl(trylast=True)
    def uce_load_backbone(self, model: str, settings: Any, device: str, precision: str) -> Backbone | None:
        """Load `model`: a diffusers folder, a hub id, or a transformer as a single .safetensors file.

        Returns:
            the backbone, or None for whatever is not of this family.

        Raises:
            ModelError: the model is damaged, incomplete, or not to be had without a network; or it is a transformer of
                a family that nothing here understands.

        Source: Black Forest Labs, FLUX.1 (2024), as diffusers' `FluxPipeline` computes it.
        """
        from uce.plugins.backbones._flux.backbone import LAYOUT, FluxBackbone
        from uce.plugins.backbones._transformer.opening import load_parts

        parts = load_parts(model, settings, precision, LAYOUT)
        return None if parts is None else FluxBackbone(parts, settings, device, precision)
