"""The tensors of a checkpoint, taken one by one, so that what nobody took can be named."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from uce.core import ModelError
from uce.plugins.backbones._sd.files import Header
from uce.plugins.backbones._sd.layout import Origin, Origins

_SCALES = (".scale_weight", ".weight_scale")  # "scaled fp8": the weight is the stored number times this

IGNORED = re.compile(
    r"model_ema\.|.*\.model_ema\."  # running means of training; the network itself is there, too
    r"|(sqrt_|log_)?(one_minus_|recip_|recipm1_)?alphas_cumprod(_prev)?$|betas$|posterior_|logvar$|lvlb_weights$"
    r"|scale_factor$|denoiser\.(sigmas|log_sigmas)|sigma_(min|max)$|global_step$|epoch$"
    r"|first_stage_model\.loss\.|(first_stage_model\.)?loss\."  # what the VAE was trained against
    r"|.*\.position_ids$|.*logit_scale$|.*attn_mask$"  # numbered anew, or used only to compare text with pictures
    r"|.*\.scale_input$|.*\.input_scale$|.*scaled_fp8$"  # of fp8 arithmetic
    r"|(v_pred|ztsnr)$"  # read with the header
    r"|embedding_manager\.|safety_checker\.|feature_extractor\."
)
"""What files hold besides a model, without an effect on it."""


class Pool:
    """A file's tensors.

    Attributes:
        header: names, shapes and metadata.
        used: names that were taken.
    """

    def __init__(self, header: Header) -> None:
        from safetensors import safe_open

        self.header, self.used = header, set[str]()
        self._file: Any = safe_open(str(header.path), framework="pt")

    def take(self, origin: Origin, dtype: torch.dtype) -> Tensor | None:
        """A tensor of its own memory, or None where the file has none of the names."""
        name = next((name for name in origin.names if name in self.header.shapes), None)
        if name is None:
            return None
        tensor = self._whole(name)
        if origin.third is not None:
            tensor = tensor.chunk(3)[origin.third]
        if origin.turned and name == origin.names[0]:
            tensor = tensor.T
        return tensor.to(dtype, copy=True).contiguous()

    def _whole(self, name: str) -> Tensor:
        self.used.add(name)
        tensor: Tensor = self._file.get_tensor(name)
        for suffix in _SCALES:
            scale = name.removesuffix(".weight") + suffix
            if name.endswith(".weight") and scale in self.header.shapes:
                self.used.add(scale)
                factor: Tensor = self._file.get_tensor(scale).float()
                tensor = tensor.float() * factor.reshape(-1, *[1] * (tensor.ndim - 1) if factor.numel() > 1 else [])
        return tensor

    def left(self, ignored: Iterable[str] = ()) -> list[str]:
        """Names that nobody took and that are not known to be without an effect.

        Args:
            ignored: regular expressions of further names that this family may leave out.
        """
        own = [re.compile(pattern) for pattern in ignored]
        unused = (name for name in self.header.shapes if name not in self.used and not IGNORED.match(name))
        return [name for name in unused if not any(pattern.match(name) for pattern in own)]


def empty(make: Any) -> Any:
    """A module without memory for its parameters."""
    from accelerate import init_empty_weights

    with init_empty_weights(include_buffers=False):
        return make()


def fill(module: Any, origins: Origins, pool: Pool, dtype: torch.dtype, part: str, model: str) -> Any:
    """Give a module that was made without memory its tensors.

    Raises:
        ModelError: some are missing, or of another shape.
    """
    state, missing, other = {}, [], []
    for own, wanted in module.state_dict().items():
        found = pool.take(origins[own], dtype)
        if found is None:
            missing.append(origins[own].names[0])
        elif found.numel() != wanted.numel() or _core(found) != _core(wanted):
            other.append(f"{origins[own].names[0]} is {tuple(found.shape)}, not {tuple(wanted.shape)}")
        else:
            state[own] = found.reshape(wanted.shape)  # a matrix may be stored as a convolution of one cell
    if missing or other:
        what = f"lacks {len(missing)} of {len(origins)} tensors (first: {missing[0]})" if missing else other[0]
        raise ModelError(
            f"model '{model}': the {part} {what if missing else f'has another shape ({what})'}; the file is not whole, "
            "or its model has another shape than the published one (a pruned or distilled one): give the whole file, "
            "or the model's diffusers folder"
        )
    module.load_state_dict(state, strict=True, assign=True)
    return module


def _core(tensor: Tensor) -> tuple[int, ...]:
    """The shape without the ones at its end."""
    shape = list(tensor.shape)
    while len(shape) > 1 and shape[-1] == 1:
        shape.pop()
    return tuple(shape)
