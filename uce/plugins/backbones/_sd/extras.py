"""What the user lays beside a model: another VAE, a LoRA."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core import ModelError
from uce.core.files import exists
from uce.plugins.backbones._sd import layout
from uce.plugins.backbones._sd.files import read_header, require_safetensors
from uce.plugins.backbones._sd.fingerprint import fingerprint_files
from uce.plugins.backbones._sd.kinds import kind_of
from uce.plugins.backbones._sd.parts import Parts, guarded, vae_dtype
from uce.plugins.backbones._sd.pool import Pool, empty, fill

if TYPE_CHECKING:
    import torch


def find_vae(settings: Any) -> Path | None:
    """The file or folder that `model.vae` names; None where it names none.

    Raises:
        ModelError: nothing is there.
    """
    return _given(getattr(settings, "vae", None), "model.vae")


def find_lora(settings: Any) -> Path | None:
    """The file that `model.lora` names; None where it names none.

    Raises:
        ModelError: nothing is there.
    """
    return _given(getattr(settings, "lora", None), "model.lora")


def _given(value: str | None, key: str) -> Path | None:
    if value is None:
        return None
    path = Path(value).expanduser()
    if not exists(path):
        raise ModelError(f"{key}={value} does not exist; give a .safetensors file{_FOLDER.get(key, '')} on this disk")
    return path


_FOLDER = {"model.vae": " or a diffusers folder"}


def with_extras(parts: Any, settings: Any, vae_place: Path | None, vae_config: Path, dtype: torch.dtype) -> Any:
    """`parts` with the user's VAE and LoRA; the fingerprint is theirs, too.

    Args:
        vae_config: folder of the configuration that a VAE without one has in this family.

    Raises:
        ModelError: one of them is missing, damaged, or made for another family.
    """
    if vae_place is not None:
        parts = _with_vae(parts, vae_place, vae_config, vae_dtype(dtype))
    lora = find_lora(settings)
    if lora is not None:
        from uce.plugins.backbones._sd.lora import with_lora

        fused = getattr(settings, "lora_as", "fused") == "fused"
        parts = with_lora(parts, lora, float(getattr(settings, "lora_scale", 1.0)), fused=fused)
    if vae_place is not None or lora is not None:  # what was measured was measured of the model alone
        parts = dataclasses.replace(parts, folder=None)
    return parts


def _with_vae(parts: Parts, place: Path, config: Path, dtype: torch.dtype) -> Parts:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    folder = _vae_folder(place)
    wanted = AutoencoderKL.load_config(str(config))
    own = AutoencoderKL.load_config(str(folder)) if folder else wanted
    file = place if folder is None else next(iter(sorted(folder.glob("*.safetensors"))), None)
    if file is None:
        raise ModelError(f"model.vae={place} holds no .safetensors file; give one, or a folder that does")
    if own.get("latent_channels") != wanted.get("latent_channels") or not _close(own, wanted):
        raise ModelError(
            f"model.vae={place} is the VAE of another family (scaling_factor {own.get('scaling_factor')}, "
            f"{own.get('latent_channels')} channels; {parts.model} has {wanted.get('scaling_factor')} and "
            f"{wanted.get('latent_channels')}); give one that was made for this model"
        )
    vae = guarded(lambda: read_vae(file, own, dtype, f"{place}"), str(place), "vae")
    return dataclasses.replace(
        parts,
        vae=vae,
        origin=f"{parts.origin}; vae of {place.name}",
        fingerprint=_joined(parts.fingerprint, file),
    )


def _close(own: Any, wanted: Any) -> bool:
    first, second = (float(config.get("scaling_factor", 0.18215)) for config in (own, wanted))
    return abs(first - second) < 1e-3


def _vae_folder(place: Path) -> Path | None:
    """The folder with a VAE's config.json; None for a file."""
    if place.is_file():
        return None
    for folder in (place, place / "vae"):
        if (folder / "config.json").is_file():
            return folder
    raise ModelError(f"model.vae={place} is a folder without a VAE's config.json; give its vae folder, or the file")


def read_vae(file: Path, config: Any, dtype: torch.dtype, who: str) -> Any:
    """A VAE from a file of its own, or out of a whole checkpoint, in the original layout or diffusers'.

    Raises:
        ModelError: it is something else.
    """
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    require_safetensors(file, f"model.vae={who}")
    header = read_header(file, who)
    names = header.shapes
    prefix = layout.VAE if any(name.startswith(layout.VAE) for name in names) else ""
    if f"{prefix}decoder.conv_in.weight" not in names:
        kind = kind_of(names)
        raise ModelError(f"model.vae={who} is {kind.name if kind else 'no VAE'}; give a VAE of Stable Diffusion")
    vae = empty(lambda: AutoencoderKL.from_config(config))
    own = any(name.startswith(f"{prefix}decoder.mid_block.") for name in names)
    origins = layout.own_origins(vae, prefix) if own else layout.vae_origins(vae, prefix)
    if own:
        origins = {name: layout.with_old_attention(origin) for name, origin in origins.items()}
    pool = Pool(header)
    fill(vae, origins, pool, dtype, "vae", who)
    left = [name for name in pool.left() if name.startswith(prefix)]
    if left:
        raise ModelError(f"model.vae={who} holds {len(left)} tensors that its VAE does not have (first: {left[0]})")
    return vae


def _joined(fingerprint: str, file: Path, **facts: Any) -> str:
    return fingerprint_files([file], [{"model": fingerprint, **facts}])
