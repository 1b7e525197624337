"""What a model predicts, and which noise schedule it knows: found, never guessed without a word."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from uce.core import ModelError
from uce.plugins.backbones._sd.files import Header
from uce.plugins.backbones._sd.pool import Pool

PREDICTIONS = {"epsilon": "epsilon", "velocity": "v_prediction", "sample": "sample"}
"""`model.prediction`, and diffusers' name of it."""
_WORDS = {"epsilon": "the noise", "v_prediction": "velocity", "sample": "the picture"}

SCHEDULERS = (
    "DDPMScheduler", "DDPMParallelScheduler", "DDIMScheduler", "DDIMParallelScheduler", "DDIMInverseScheduler",
    "PNDMScheduler", "LMSDiscreteScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "SASolverScheduler",
    "DPMSolverMultistepScheduler", "DPMSolverMultistepInverseScheduler", "DPMSolverSinglestepScheduler",
    "DPMSolverSDEScheduler", "UniPCMultistepScheduler", "DEISMultistepScheduler", "LCMScheduler", "TCDScheduler",
)  # fmt: skip
"""Samplers over the discrete noise levels that Stable Diffusion was trained with."""

_KEYS = {"v_pred": "v_prediction"}
_METADATA = ("modelspec.predict_key", "modelspec.prediction_type")
_SAID = {
    "epsilon": "epsilon",
    "eps": "epsilon",
    "v": "v_prediction",
    "velocity": "v_prediction",
    "v_prediction": "v_prediction",
    "x0": "sample",
    "sample": "sample",
}


@dataclass(frozen=True)
class Prediction:
    """What the network predicts.

    Attributes:
        kind: diffusers' name: "epsilon", "v_prediction" or "sample".
        found: where that was found, as the end of a sentence.
        zero_snr: the last noise level holds nothing of the picture.
    """

    kind: str
    found: str
    zero_snr: bool = False

    def scheduler(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """A scheduler's configuration with this prediction."""
        changed = {"prediction_type": self.kind}
        return {**config, **changed, **({"rescale_betas_zero_snr": True} if self.zero_snr else {})}

    def __str__(self) -> str:
        return f"predicts {_WORDS[self.kind]} ({self.found})"


def asked(settings: Any) -> str | None:
    """diffusers' name of `model.prediction`; None for "auto"."""
    return PREDICTIONS.get(getattr(settings, "prediction", "auto"))


def of_checkpoint(
    header: Header, settings: Any, usual: str, probe: Callable[[], str] | None = None, zero_snr: bool = False
) -> Prediction:
    """What a single file's model predicts: as the user says; else by a tensor's name, by the file's metadata, by asking
    the network, or what this family usually does.

    Args:
        usual: the family, for the sentence.
        probe: asks the network; None where its answer means nothing.
        zero_snr: the file's own schedule ends in pure noise.

    Raises:
        ModelError: the file says something that is not known.
    """
    zero_snr = zero_snr or "ztsnr" in header.shapes or header.metadata.get("ss_zero_terminal_snr") == "True"
    given = asked(settings)
    if given:
        return Prediction(given, "setting model.prediction", zero_snr)
    for key, kind in _KEYS.items():
        if key in header.shapes:
            return Prediction(kind, f"the file's key {key}", zero_snr)
    for key in _METADATA:
        said = header.metadata.get(key)
        if said is not None and said.lower() not in _SAID:
            raise ModelError(
                f"model '{header.path}' says {key}={said!r:.40}, which is not known; known: {', '.join(_SAID)}; "
                f"say what it predicts with --set model.prediction={'|'.join(PREDICTIONS)}"
            )
        if said is not None:
            return Prediction(_SAID[said.lower()], f"the file's metadata {key}={said}", zero_snr)
    if header.metadata.get("ss_v_parameterization") == "True":
        return Prediction("v_prediction", "the file's metadata ss_v_parameterization", zero_snr)
    architecture = header.metadata.get("modelspec.architecture", "")
    if architecture.startswith("stable-diffusion-v2"):
        kind = "v_prediction" if "-v" in architecture.removeprefix("stable-diffusion-v2") else "epsilon"
        return Prediction(kind, f"the file's metadata modelspec.architecture={architecture}", zero_snr)
    if probe is not None:
        return Prediction(probe(), "probe of the network", zero_snr)
    return Prediction("epsilon", f"as {usual} usually does; the file does not say", zero_snr)


def of_folder(config: Mapping[str, Any], settings: Any, model: str) -> Prediction:
    """What a diffusers folder's model predicts, by its scheduler_config.json unless the user says otherwise.

    Raises:
        ModelError: a noise schedule that is not Stable Diffusion's (flow matching, EDM), or an unknown prediction.
    """
    require_known_schedule(config, model)
    given, zero_snr = asked(settings), bool(config.get("rescale_betas_zero_snr"))
    if given:
        return Prediction(given, "setting model.prediction", zero_snr)
    kind = config.get("prediction_type", "epsilon")
    if kind not in _WORDS:
        raise ModelError(
            f"model '{model}': unknown prediction type {kind!r}; available: {', '.join(_WORDS)}; say what it predicts "
            f"with --set model.prediction={'|'.join(PREDICTIONS)}"
        )
    found = "scheduler_config.json" + ("" if "prediction_type" in config else ", which does not say: epsilon is meant")
    return Prediction(kind, found, zero_snr)


def require_known_schedule(config: Mapping[str, Any], model: str) -> None:
    """ModelError where a scheduler's configuration is of another kind of training than Stable Diffusion's."""
    name = str(config.get("_class_name", "DDPMScheduler"))
    flow = "Flow" in name or config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction"
    if flow:
        what = "by flow matching"
    elif "EDM" in name or config.get("sigma_data") is not None or config.get("timestep_type") == "continuous":
        what = "with the EDM noise schedule"
    elif name not in SCHEDULERS:
        raise ModelError(
            f"model '{model}': its scheduler {name} is not known to be of Stable Diffusion's noise schedule; known: "
            f"{', '.join(SCHEDULERS)}; put the one that it was trained with into scheduler_config.json"
        )
    else:
        return
    raise ModelError(
        f"model '{model}' was trained {what} ({name}), which cannot be used; choose a model that predicts noise "
        "or velocity, such as sd1.5, sd2.1 or sdxl"
    )


def ends_in_noise(pool: Pool, config: Mapping[str, Any], model: str) -> bool:
    """Whether a checkpoint's own schedule, where it holds one, leaves nothing of the picture at the last level.

    Raises:
        ModelError: it is neither Stable Diffusion's nor that with its end rescaled.
    """
    if "alphas_cumprod" not in pool.header.shapes:
        return False
    import torch
    from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

    from uce.plugins.backbones._sd.layout import Origin

    own = pool.take(Origin(("alphas_cumprod",)), torch.float32)
    plain = {key: value for key, value in config.items() if not key.startswith("_")}
    for zero_snr in (False, True):
        expected = DDPMScheduler.from_config({**plain, "rescale_betas_zero_snr": zero_snr}).alphas_cumprod
        if own is not None and own.shape == expected.shape and torch.allclose(own, expected, atol=2e-3):
            return zero_snr
    raise ModelError(
        f"model '{model}' holds a noise schedule (alphas_cumprod) of its own, which cannot be used; give its diffusers "
        "folder, whose scheduler_config.json describes it"
    )


def few_steps(name: str, metadata: Mapping[str, str], scheduler: Mapping[str, Any]) -> str:
    """Why a model is one that draws in a few steps (LCM, Turbo, Lightning, ...), "" where nothing says so.

    Such merges have the shapes of any other model: only their names, their metadata and their sampler tell.
    """
    import re

    kinds = r"(?<![a-z])(lcm|turbo|lightning|hyper-?sd|hyper|dmd2?|flash|pcm|tcd)(?![a-z])"
    said = {"its name": name, **{f"metadata {k}": v for k, v in metadata.items() if k.startswith("modelspec.t")}}
    for where, text in said.items():
        found = re.search(kinds, text.lower().replace("_", "-"))
        if found:
            return f"{where} says {found[0]!r}"
    sampler = str(scheduler.get("_class_name", ""))
    if sampler in ("LCMScheduler", "TCDScheduler"):
        return f"its sampler is {sampler}"
    if sampler == "EulerAncestralDiscreteScheduler" and scheduler.get("timestep_spacing") == "trailing":
        return "its sampler is that of the Turbo models"
    return ""
