"""`model.lora`: a LoRA laid into a model's weights or beside them; whatever is learned is learned on top of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from uce.core import ModelError
from uce.plugins.backbones._sd.files import read_header
from uce.plugins.backbones._sd.fingerprint import fingerprint_files
from uce.plugins.backbones._sd.kinds import kind_of
from uce.plugins.backbones._sd.parts import guarded

_DOWN = (".lora_down.weight", ".lora_A.weight", ".lora.down.weight", ".lora_linear_layer.down.weight",
         "_lora.down.weight")  # fmt: skip

GIVEN = "given"
_FAMILIES = "a LoRA belongs to one family: Stable Diffusion 1.x, 2.x, XL, 3 or FLUX.1"


def with_lora(parts: Any, file: Path, scale: float, *, fused: bool = True, pipe: Any = None) -> Any:
    """`parts` with a LoRA in the network and the text encoders; every layer of the file must find its place.

    Args:
        file: a .safetensors file in the layout of kohya's scripts, of peft or of diffusers.
        scale: 1 as it was trained, 0 without effect.
        pipe: diffusers' pipeline around the parts, of another family than Stable Diffusion's.
        fused: added to the weights, rounded as they are. Else it works beside them and they stay as they are.

    Raises:
        ModelError: no LoRA, or one for another family.
    """
    who = f"model.lora={file}"
    kind = kind_of(read_header(file, who).shapes)
    if kind is None or kind.id != "lora":
        advice = f": {kind.advice}" if kind and kind.id == "lycoris" else "; give a LoRA"
        raise ModelError(f"{who} is {kind.name if kind else 'no LoRA'}{advice}")
    tensors = guarded(lambda: load_file(str(file)), who, "file")
    wanted = sum(name.endswith(_DOWN) for name in tensors)
    pipe = _pipeline(parts) if pipe is None else pipe
    try:
        guarded(lambda: pipe.load_lora_weights(tensors, adapter_name=GIVEN), who, "LoRA")
    except ModelError as error:
        raise ModelError(f"{who} does not fit model '{parts.model}' ({_reason(error)}); {_FAMILIES}") from error
    found = sum(_layers(part) for part in pipe.components.values())
    if found < wanted:  # a layer of the file may be several here: queries, keys and values in one
        raise ModelError(
            f"{who} has {wanted} layers and {found} of them find a place in model '{parts.model}'; {_FAMILIES}"
        )
    beside = {} if fused else {name: _beside(part, scale) for name, part in pipe.components.items() if _layers(part)}
    if fused:
        guarded(lambda: pipe.fuse_lora(components=_loaded(pipe), lora_scale=scale), who, "LoRA")
    pipe.unload_lora_weights()
    for name, layers in beside.items():
        for layer, added in layers.items():
            pipe.components[name].get_submodule(layer).register_forward_hook(added)
    return dataclasses.replace(
        parts,
        origin=f"{parts.origin}; with the LoRA {file.name} at {scale:g}{'' if fused else ', beside its weights'}",
        fingerprint=fingerprint_files([file], [{"model": parts.fingerprint, "scale": scale}]),
    )


def _pipeline(parts: Any) -> Any:
    """diffusers' pipeline around the parts: it knows the layouts of LoRAs and where their layers belong."""
    import diffusers

    from uce.plugins.backbones._sd.pipeline import own_scheduler
    from uce.plugins.backbones._sd.quiet import quiet_libraries

    shared = {name: getattr(parts, name) for name in ("unet", "vae", "text_encoder", "tokenizer")}
    shared["scheduler"] = own_scheduler(parts.scheduler)
    with quiet_libraries():
        if hasattr(parts, "text_encoder_2"):
            second = {"text_encoder_2": parts.text_encoder_2, "tokenizer_2": parts.tokenizer_2}
            return diffusers.StableDiffusionXLPipeline(**shared, **second, add_watermarker=False)
        return diffusers.StableDiffusionPipeline(
            **shared, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )


def _layers(part: Any) -> int:
    """How many layers of a part the LoRA changes."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch import nn

    return sum(isinstance(module, BaseTunerLayer) for module in part.modules()) if isinstance(part, nn.Module) else 0


class Beside:
    """Adds a LoRA's product to what a layer gives: a hook, so that no module or parameter gets another name."""

    def __init__(self, down: Any, up: Any, scale: float) -> None:
        """
        Args:
            down, up: linear layers or convolutions.
        """
        self.down, self.up, self.scale = down.requires_grad_(False), up.requires_grad_(False), scale

    def __call__(self, module: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        given = inputs[0]
        down, up = (part.to(given.device, given.dtype) for part in (self.down, self.up))
        return output + up(down(given)) * self.scale


def _beside(part: Any, scale: float) -> dict[str, Beside]:
    """For each layer of a part that the LoRA changes what it adds."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    found: dict[str, Beside] = {}
    for name, layer in part.named_modules():
        if isinstance(layer, BaseTunerLayer):
            down, up = layer.lora_A[GIVEN], layer.lora_B[GIVEN]  # type: ignore[index]
            found[name] = Beside(down, up, scale * layer.scaling[GIVEN])  # type: ignore[index]
    return found


def _loaded(pipe: Any) -> list[str]:
    return [name for name, part in pipe.components.items() if _layers(part)]


def _reason(error: ModelError) -> str:
    text = str(error.__cause__ or error)
    return " ".join(text.split())[:120]
