"""What the user lays beside a transformer: a LoRA. What belongs to other models is refused."""

from __future__ import annotations

from typing import Any

from uce.core import ModelError
from uce.plugins.backbones._sd.extras import find_lora
from uce.plugins.backbones._sd.quiet import quiet_libraries
from uce.plugins.backbones._transformer.flow import Flow


def require_flow_settings(model: str, settings: Any) -> None:
    """Refuse what has no meaning for a model that follows a flow.

    Raises:
        ModelError: `model.prediction` is set.
    """
    if getattr(settings, "prediction", "auto") != "auto":
        raise ModelError(
            f"model.prediction={settings.prediction} is for models that predict noise, and model '{model}' follows a "
            "flow; leave it out"
        )


def with_given_lora(parts: Any, settings: Any, layout: Any) -> Any:
    """`parts` with `model.lora` in transformer and CLIP.

    Args:
        parts: `TransformerParts` of `loading`.
        layout: `Layout` of `loading`.

    Raises:
        ModelError: it is missing, no LoRA, or one for another family.
    """
    file = find_lora(settings)
    if file is None:
        return parts
    from uce.plugins.backbones._sd.lora import with_lora

    fused = getattr(settings, "lora_as", "fused") == "fused"
    scale = float(getattr(settings, "lora_scale", 1.0))
    return with_lora(parts, file, scale, fused=fused, pipe=_pipeline(parts, layout))


def _pipeline(parts: Any, layout: Any) -> Any:
    """diffusers' pipeline around the parts, without T5: no LoRA reaches it."""
    import diffusers

    text: dict[str, Any] = dict.fromkeys(layout.t5)
    for name, (tokenizer, encoder, _) in layout.clips.items():
        text[tokenizer], text[encoder] = parts.clips[name]
    with quiet_libraries():
        kind = getattr(diffusers, layout.pipeline)
        return kind(transformer=parts.transformer, vae=parts.vae, scheduler=Flow(parts.scheduler).scheduler(), **text)
