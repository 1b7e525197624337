"""Samplers by the short names that people know from other programs; diffusers has them all."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from uce.core.errors import ConfigError, unknown_name

DEFAULT_SCHEDULER = "dpm++"
SCHEDULERS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
    "ddpm": ("DDPMScheduler", {"clip_sample": False}),
    "deis": ("DEISMultistepScheduler", {}),
    "dpm++": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}),
    "dpm++-karras": ("DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "use_karras_sigmas": True}),
    "dpm++-sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "dpm2": ("KDPM2DiscreteScheduler", {}),
    "dpm2-a": ("KDPM2AncestralDiscreteScheduler", {}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler-a": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "pndm": ("PNDMScheduler", {"skip_prk_steps": True, "set_alpha_to_one": False}),
    "unipc": ("UniPCMultistepScheduler", {}),
}
_SHARED = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type",
           "timestep_spacing", "steps_offset", "rescale_betas_zero_snr")  # fmt: skip


def require_scheduler(name: str) -> str:
    """`name` itself.

    Raises:
        ConfigError: there is no scheduler of that name.
    """
    if name not in SCHEDULERS:
        raise ConfigError(unknown_name("scheduler", name, SCHEDULERS))
    return name


def make_scheduler(name: str, config: Mapping[str, Any]) -> Any:
    """A diffusers scheduler on the noise schedule that a model was trained with.

    Args:
        config: the model's own scheduler configuration; what belongs to its sampler alone is left out.
    """
    import diffusers

    class_name, own = SCHEDULERS[require_scheduler(name)]
    kind = getattr(diffusers, class_name)
    known = inspect.signature(kind.__init__).parameters
    kept = {key: config[key] for key in _SHARED if key in config and key in known}
    return kind.from_config({**kept, **own})


def draws_noise(scheduler: Any) -> bool:
    """Whether its steps take a generator: then all noise must come from the seed's."""
    return "generator" in inspect.signature(scheduler.step).parameters
