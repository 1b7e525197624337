"""Single-file checkpoints of Stable Diffusion XL, with configurations that ship with us."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core.model import resolve_dtype
from uce.plugins.backbones._sd import layout, prediction
from uce.plugins.backbones._sd.extras import find_vae, with_extras
from uce.plugins.backbones._sd.files import read_header
from uce.plugins.backbones._sd.fingerprint import fingerprint_files
from uce.plugins.backbones._sd.parts import describe, guarded, vae_dtype
from uce.plugins.backbones._sd.pool import Pool, empty, fill
from uce.plugins.backbones._sd.single_file import (
    is_xl,
    load_unet,
    load_vae,
    read_config,
    require_channels,
    require_nothing_left,
    require_parts,
)
from uce.plugins.backbones._sd.vocabulary import clip_tokenizer
from uce.plugins.backbones._sdxl.parts import XLParts

if TYPE_CHECKING:
    import torch

CONFIGS = Path(__file__).parent / "configs"
_FIRST, _SECOND = "conditioner.embedders.0.", "conditioner.embedders.1."
_INPUT = f"{layout.UNET}input_blocks.0.0.weight"
PARTS = {
    "unet": _INPUT,
    "vae": layout.VAE,
    "text_encoder": f"{_FIRST}transformer.",
    "text_encoder_2": f"{_SECOND}model.",
}
_COMPARING = rf"{_FIRST}(.*\.)?(text_projection|vision_model\.|visual_projection\.)|{_SECOND}model\.visual\."


def load_xl_file(model: str, path: Path, settings: Any, precision: str) -> XLParts | None:
    """Load a `.safetensors` checkpoint in the original layout; None for one of another family.

    Raises:
        ModelError: damaged, a part is missing, a refiner or inpainting model, or it holds tensors that nobody knows.
    """
    header = read_header(path, model)
    if not is_xl(header):
        return None
    vae_place = find_vae(settings)
    require_parts(header, PARTS, model, "a whole Stable Diffusion XL checkpoint", vae_given=vae_place is not None)
    require_channels(header.shapes[_INPUT][1], model)
    pool, dtype = Pool(header), resolve_dtype(precision)
    unet = guarded(lambda: load_unet(pool, CONFIGS, dtype, model), model, "unet")
    scheduler = read_config(CONFIGS / "scheduler" / "scheduler_config.json")
    zero_snr = prediction.ends_in_noise(pool, scheduler, model)
    found = prediction.of_checkpoint(header, settings, "Stable Diffusion XL", zero_snr=zero_snr)
    scheduler = found.scheduler(scheduler)
    few = prediction.few_steps(path.stem, header.metadata, {})
    if few:
        scheduler["timestep_spacing"] = "trailing"
    first, second = _load_text_encoders(pool, dtype, model)
    vae = None
    if vae_place is None:
        vae = guarded(lambda: load_vae(pool, CONFIGS, vae_dtype(dtype), model), model, "vae")
    require_nothing_left(pool, [_COMPARING, *([] if vae_place is None else [layout.VAE])], model)
    parts = XLParts(
        model=model,
        origin=describe(f"{path.name}, a Stable Diffusion XL checkpoint", found, few),
        unet=unet,
        vae=vae,
        text_encoder=first,
        text_encoder_2=second,
        tokenizer=clip_tokenizer(CONFIGS / "tokenizer"),
        tokenizer_2=clip_tokenizer(CONFIGS / "tokenizer_2"),
        scheduler=scheduler,
        zero_empty=True,
        fingerprint=fingerprint_files([path], [scheduler]),
        few_steps=few,
    )
    done: XLParts = with_extras(parts, settings, vae_place, CONFIGS / "vae", dtype)
    return done


def _load_text_encoders(pool: Pool, dtype: torch.dtype, model: str) -> tuple[Any, Any]:
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

    loaded = []
    for cls, part in ((CLIPTextModel, "text_encoder"), (CLIPTextModelWithProjection, "text_encoder_2")):
        config = CLIPTextConfig(**read_config(CONFIGS / part / "config.json"))
        text = guarded(lambda cls=cls, config=config: empty(lambda: cls(config)), model, part)  # type: ignore[misc]
        if part == "text_encoder":
            origins = layout.clip_origins(text, (f"{_FIRST}transformer.",))
        else:
            origins = layout.open_clip_origins(text, f"{_SECOND}model.")
        loaded.append(fill(text, origins, pool, dtype, part, model))
    return loaded[0], loaded[1]
