"""Single-file checkpoints of Stable Diffusion 1.x and 2.x, with configurations that ship with us.

No hub is asked: what diffusers would download (configurations, the vocabulary) lies in `configs/` and beside it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from uce.core import ModelError
from uce.core.model import resolve_dtype
from uce.plugins.backbones._sd import layout, prediction
from uce.plugins.backbones._sd.extras import find_vae, with_extras
from uce.plugins.backbones._sd.files import Header, read_header
from uce.plugins.backbones._sd.fingerprint import fingerprint_files
from uce.plugins.backbones._sd.kinds import QUANTISED, Kind, kind_of
from uce.plugins.backbones._sd.parts import Parts, describe, guarded, vae_dtype
from uce.plugins.backbones._sd.pool import Pool, empty, fill
from uce.plugins.backbones._sd.vocabulary import clip_tokenizer

CONFIGS = Path(__file__).parent / "configs"
PARTS = {"unet": layout.UNET, "vae": layout.VAE, "text_encoder": layout.TEXT}
_CLIP = tuple(layout.TEXT + place for place in ("transformer.", "clip_l.transformer.", ""))
_OPEN_CLIP = f"{layout.TEXT}model."
_COMPARING = rf"{layout.TEXT}(.*\.)?(text_projection|vision_model\.|visual_projection\.|visual\.)"
_NAMES = {
    "sd15": "a Stable Diffusion 1.x checkpoint",
    "sd21-base": "a Stable Diffusion 2.x checkpoint (512 px)",
    "sd21": "a Stable Diffusion 2.x checkpoint (768 px)",
}
_CHANNELS = {5: "a depth model", 7: "an upscaler", 8: "an editing model (InstructPix2Pix)", 9: "an inpainting model"}


def is_xl(header: Header) -> bool:
    """Whether a file is laid out as Stable Diffusion XL, with two text encoders among its conditions."""
    return any(name.startswith("conditioner.embedders.") for name in header.shapes)


def load_single_file(model: str, path: Path, settings: Any, precision: str) -> Parts | None:
    """Load a `.safetensors` checkpoint in the original layout; None for one of Stable Diffusion XL.

    Raises:
        ModelError: damaged, a part is missing, not Stable Diffusion 1.x or 2.x, or it holds tensors that nobody knows.
    """
    header = read_header(path, model)
    if is_xl(header):
        return None
    vae_place = find_vae(settings)
    require_parts(header, PARTS, model, "a whole Stable Diffusion checkpoint", vae_given=vae_place is not None)
    kind = detect(header, model)
    pool, dtype, folder = Pool(header), resolve_dtype(precision), CONFIGS / kind
    unet = guarded(lambda: load_unet(pool, folder, dtype, model), model, "unet")
    scheduler = read_config(folder / "scheduler" / "scheduler_config.json")
    zero_snr = prediction.ends_in_noise(pool, scheduler, model)
    probe = (lambda: _ask(unet)) if kind == "sd21-base" else None
    usual = "Stable Diffusion 1.x" if kind == "sd15" else "Stable Diffusion 2.x"
    found = prediction.of_checkpoint(header, settings, usual, probe, zero_snr)
    if kind == "sd21-base" and (_side(header) or (768 if found.kind == "v_prediction" else 512)) > 512:
        kind = "sd21"
        unet.register_to_config(sample_size=read_config(CONFIGS / kind / "unet" / "config.json")["sample_size"])
    scheduler = found.scheduler(scheduler)
    few = prediction.few_steps(path.stem, header.metadata, {})
    if few:
        scheduler["timestep_spacing"] = "trailing"
    text_encoder, left_out = _load_text_encoder(pool, folder, dtype, model)
    vae = None
    if vae_place is None:
        vae = guarded(lambda: load_vae(pool, folder, vae_dtype(dtype), model), model, "vae")
    require_nothing_left(pool, [left_out, *([] if vae_place is None else [layout.VAE])], model)
    parts = Parts(
        model=model,
        origin=describe(f"{path.name}, {_NAMES[kind]}", found, few),
        unet=unet,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=clip_tokenizer(folder / "tokenizer"),
        scheduler=scheduler,
        fingerprint=fingerprint_files([path], [scheduler]),
        few_steps=few,
    )
    done: Parts = with_extras(parts, settings, vae_place, folder / "vae", dtype)
    return done


def require_parts(header: Header, parts: dict[str, str], model: str, whole: str, *, vae_given: bool) -> None:
    """Refuse whatever is no whole checkpoint, by its name where its tensors tell it.

    Args:
        parts: name -> what some tensor's name begins with.
        whole: what to give instead.
        vae_given: the file's own VAE is not needed.

    Raises:
        ModelError: it is another kind of file, or lacks a part.
    """
    missing = [part for part, prefix in parts.items() if not any(name.startswith(prefix) for name in header.shapes)]
    if vae_given:
        missing = [part for part in missing if part != "vae"]
    if any(QUANTISED.match(name) for name in header.shapes):
        raise ModelError(
            f"model '{model}' holds quantised weights (first: {_first(header, QUANTISED)}), which cannot be used; give "
            "the version in float16, bfloat16 or float8"
        )
    kind = kind_of(header.shapes, whole=not missing or missing == ["vae"])
    if kind is not None and not (kind.alone and len(missing) < 2):
        raise ModelError(f"model '{model}' is {kind.name}{_joint(kind)}{kind.advice}")
    if missing == ["vae"]:
        raise ModelError(
            f"model '{model}' has no vae; name one with --set model.vae=FILE (or a diffusers folder), such as the one "
            "that its author recommends"
        )
    if missing:
        raise ModelError(
            f"model '{model}' has no {' and no '.join(missing)}; give {whole} (unet, vae and text encoder in one file) "
            "or a diffusers folder"
        )


def _joint(kind: Kind) -> str:
    return ", " if kind.advice.startswith("which") else ": "


def _first(header: Header, pattern: Any) -> str:
    return next(name for name in header.shapes if pattern.match(name))


def require_nothing_left(pool: Pool, ignored: list[str], model: str) -> None:
    """Every tensor must have been used, or be known to have no effect.

    Raises:
        ModelError: one is neither; it is named.
    """
    left = pool.left(ignored)
    if not left:
        return
    kind = kind_of(left)
    what = f", as {kind.name} has" if kind else ""
    if any("label_emb." in name for name in left):
        what = ", as unCLIP models have, which draw from a picture's embedding"
    raise ModelError(
        f"model '{model}' holds {len(left)} tensors that Stable Diffusion does not have (first: {left[0]}){what}; "
        "without them it would be another model, so it is refused: give the plain version of it"
    )


def detect(header: Header, model: str) -> str:
    """Which shipped configuration fits, told from the shapes alone.

    Returns:
        "sd15" or "sd21-base" (what a 2.x model predicts cannot be seen in its shapes).

    Raises:
        ModelError: the shapes are of another family.
    """
    first = header.shapes.get(f"{layout.UNET}input_blocks.0.0.weight")
    states = header.shapes.get(f"{layout.UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight")
    if first is None or states is None:
        raise ModelError(f"model '{model}' is not laid out as Stable Diffusion 1.x or 2.x; give a diffusers folder")
    require_channels(first[1], model)
    kinds = {768: "sd15", 1024: "sd21-base"}
    if states[1] not in kinds:
        raise ModelError(
            f"model '{model}' reads text states of width {states[1]}; Stable Diffusion 1.x has 768, 2.x has 1024"
        )
    return kinds[states[1]]


def require_channels(channels: int, model: str) -> None:
    """ModelError where the UNet takes more than a latent."""
    if channels != 4:
        what = _CHANNELS.get(channels, "an inpainting or depth model")
        raise ModelError(
            f"model '{model}' takes {channels} input channels ({what}); choose the plain text-to-image version, which "
            "takes 4"
        )


def read_config(path: Path) -> dict[str, Any]:
    """One of the configurations that ship with us."""
    value = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def load_unet(pool: Pool, folder: Path, dtype: torch.dtype, model: str) -> Any:
    """The UNet, with the configuration in `folder`."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    unet = empty(lambda: UNet2DConditionModel.from_config(read_config(folder / "unet" / "config.json")))
    return fill(unet, layout.unet_origins(unet), pool, dtype, "unet", model)


def load_vae(pool: Pool, folder: Path, dtype: torch.dtype, model: str) -> Any:
    """The VAE, with the configuration in `folder`."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    vae = empty(lambda: AutoencoderKL.from_config(read_config(folder / "vae" / "config.json")))
    return fill(vae, layout.vae_origins(vae), pool, dtype, "vae", model)


def _load_text_encoder(pool: Pool, folder: Path, dtype: torch.dtype, model: str) -> tuple[Any, str]:
    """The text encoder, and a pattern of names that it may leave out."""
    from transformers.models.clip.configuration_clip import CLIPTextConfig
    from transformers.models.clip.modeling_clip import CLIPTextModel

    config = CLIPTextConfig(**read_config(folder / "text_encoder" / "config.json"))
    text = guarded(lambda: empty(lambda: CLIPTextModel(config)), model, "text_encoder")
    open_clip = any(name.startswith(_OPEN_CLIP) for name in pool.header.shapes)
    origins = layout.open_clip_origins(text, _OPEN_CLIP) if open_clip else layout.clip_origins(text, _CLIP)
    guarded(lambda: fill(text, origins, pool, dtype, "text_encoder", model), model, "text_encoder")
    unread = rf"{_OPEN_CLIP}transformer\.resblocks\.{config.num_hidden_layers}\."  # 2.x reads the layer before the last
    return text, f"{_COMPARING}|{unread}"


def _side(header: Header) -> int | None:
    """Pixels per side that the file says it was trained at."""
    first = header.metadata.get("modelspec.resolution", "").partition("x")[0]
    return int(first) if first.isdecimal() else None


def _ask(unet: Any) -> str:
    """What a 2.x UNet predicts, asked of the network.

    At the last timestep a noise predictor gives its input back, a velocity predictor about minus the picture (a test
    that AUTOMATIC1111's web UI made popular).
    """
    weight = next(unet.parameters())
    sample = torch.full((1, 4, 16, 16), 0.5, dtype=weight.dtype)
    text = torch.full((1, 2, int(unet.config.cross_attention_dim)), 0.5, dtype=weight.dtype)
    with torch.no_grad():
        output = unet(sample, torch.tensor([999]), encoder_hidden_states=text, return_dict=False)[0]
    return "v_prediction" if float((output - sample).float().mean()) < -1 else "epsilon"
