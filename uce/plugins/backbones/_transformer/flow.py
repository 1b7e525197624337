"""Flow matching: a straight way from the picture to noise, at the times that the model's scheduler says.

    x_t = (1 - s) x_0 + s eps,  target = eps - x_0,  s = t / num_timesteps

Legend: B batch; s share of noise.
Source: Esser et al., "Scaling Rectified Flow Transformers", ICML 2024, section 2 and equation 23 (the shift).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from uce.core import ConfigError

CHOICES = ("euler",)


class Flow:
    """The noise schedule of a model, from its scheduler's configuration."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = {key: value for key, value in config.items() if not key.startswith("_")}
        self.num_timesteps = int(self.config.get("num_train_timesteps", 1000))

    def shares(self, timesteps: Tensor, like: Tensor) -> Tensor:
        """Shares of noise (B, 1, 1, 1)."""
        return (timesteps.to(like.device, torch.float32) / self.num_timesteps)[:, None, None, None]

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        share = self.shares(timesteps, latents)
        return share * noise + (1 - share) * latents

    def times(self, places: Tensor, cells: int) -> Tensor:
        """Places on an even schedule, in [0, num_timesteps), shifted as the scheduler shifts them for so many cells."""
        share = places.to(torch.float32) / self.num_timesteps
        factor = math.exp(self._mu(cells)) if self.config.get("use_dynamic_shifting") else self.config.get("shift", 1.0)
        if self.config.get("use_dynamic_shifting") and self.config.get("time_shift_type") == "linear":
            factor = self._mu(cells)
        return self.num_timesteps * factor * share / (1 + (factor - 1) * share)

    def _mu(self, cells: int) -> float:
        """The shift of a picture of so many cells: linear between two sizes."""
        low, high = self.config.get("base_image_seq_len", 256), self.config.get("max_image_seq_len", 4096)
        least, most = self.config.get("base_shift", 0.5), self.config.get("max_shift", 1.15)
        return float(least + (most - least) * (cells - low) / (high - low))

    def scheduler(self) -> Any:
        """The model's own diffusers scheduler."""
        from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

        return FlowMatchEulerDiscreteScheduler.from_config(dict(self.config))

    def sampler(self, steps: int, cells: int, device: str, *, even: bool) -> Any:
        """The scheduler with its times set, as the model's pipeline sets them.

        Args:
            even: FLUX's pipeline spaces shares of noise evenly before the shift; that of Stable Diffusion 3 leaves the
                spacing to the scheduler.
        """
        scheduler = self.scheduler()
        shifted = {"mu": self._mu(cells)} if self.config.get("use_dynamic_shifting") else {}
        spaced = even and not self.config.get("use_flow_sigmas")
        shares = {"sigmas": np.linspace(1.0, 1 / steps, steps)} if spaced else {"num_inference_steps": steps}
        scheduler.set_timesteps(device=device, **shares, **shifted)
        scheduler.set_begin_index(0)
        return scheduler


def require_flow_scheduler(name: str) -> None:
    """Refuse a sampler made for models that predict noise.

    Raises:
        ConfigError: it is one.
    """
    if name not in CHOICES:
        raise ConfigError(
            f"scheduler {name!r} is for models that predict noise, and this one follows a flow; allowed: "
            f"{', '.join(CHOICES)}, its own"
        )
