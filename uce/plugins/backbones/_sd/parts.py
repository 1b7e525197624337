"""The loaded parts of a model, and what everything that loads them shares."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core import ModelError, not_damaged

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Parts:
    """A loaded model, still on the CPU.

    Attributes:
        model: as the user named it.
        origin: one line that says what it is and where it came from.
        scheduler: the model's own scheduler configuration.
        few_steps: why it is taken for a model that draws in few steps (LCM, Turbo, Lightning); "" for any other.
        folder: the diffusers folder that it came from, where measurements of it may lie; None for a single file.
    """

    model: str
    origin: str
    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: dict[str, Any]
    fingerprint: str
    few_steps: str = ""
    folder: Path | None = None


@dataclass(frozen=True)
class Manner:
    """How a backbone works with its parts: what does not change what it computes, but for rounding.

    Attributes:
        offload: keep on the device only what is in use.
        compiled: mode of torch.compile, "off" for none.
        checkpointing: compute blocks anew in the backward pass, in place of keeping what they held; None: if needed.
        tiling: encode and decode large pictures tile by tile; None: if needed.
        sample_latent: draw a picture's latent from the VAE's distribution, not its mode (this changes results).
    """

    offload: bool = False
    compiled: str = "off"
    checkpointing: bool | None = None
    tiling: bool | None = None
    sample_latent: bool = False

    @classmethod
    def of(cls, settings: Any) -> Manner:
        """As the validated `model.*` settings say; what they lack is at its default."""
        names = {"offload", "checkpointing", "tiling", "sample_latent"}
        chosen = {name: getattr(settings, name) for name in names if hasattr(settings, name)}
        return cls(compiled=getattr(settings, "compile", "off"), **chosen)


PLAIN = Manner()


def drawn_latent(distribution: Any, pixels: Tensor) -> Tensor:
    """One draw from the VAE's distribution: the same picture always gives the same."""
    import torch

    content = hashlib.sha256(pixels.detach().float().cpu().contiguous().numpy().tobytes()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(content[:7], "big"))
    noise = torch.randn(distribution.mean.shape, generator=generator).to(distribution.mean)
    drawn: Tensor = distribution.mean + distribution.std * noise
    return drawn


def drawing_of(few_steps: str) -> dict[str, Any]:
    """How a model draws where the user says nothing: {} for as any other; LCM has a sampler of its own."""
    if not few_steps:
        return {}
    return {"steps": 8, "guidance": 1.0, **({"scheduler": "lcm"} if "lcm" in few_steps.lower() else {})}


def describe(what: str, prediction: object, few_steps: str = "", *more: str) -> str:
    """The line that says which model a run works with, and what was found about it and where.

    Args:
        few_steps: why it is taken for a model that draws in few steps; "" for any other.
    """
    few = f"draws in few steps without guidance ({few_steps})" if few_steps else ""
    return "; ".join(text for text in (what, str(prediction), few, *more) if text)


def vae_dtype(dtype: torch.dtype) -> torch.dtype:
    """Stable Diffusion's VAE overflows in float16, so that it runs in float32 then."""
    import torch

    return torch.float32 if dtype is torch.float16 else dtype


def guarded(load: Callable[[], Any], model: str, part: str) -> Any:
    """Call `load` without the libraries' progress bars; whatever goes wrong there becomes one sentence."""
    from uce.plugins.backbones._sd.quiet import quiet_libraries

    try:
        with quiet_libraries():
            return load()
    except ModelError:
        raise
    except Exception as error:
        not_damaged(error, f"the {part} of model '{model}'", "use a smaller model, or close other programs")
        cause = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(
            f"model '{model}': the {part} cannot be loaded ({cause}); compare its files with their source"
        ) from error
