"""What `uce evaluate` lets one choose, and how `--set` reaches it and the encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Literal

from pydantic import Field, field_validator

from uce.core.config.assigned import Assignments, read_settings
from uce.core.config.resolving import validate_settings
from uce.core.errors import ConfigError, PluginError, unknown_name
from uce.core.flow.settings import Settings
from uce.core.model.encoder import Encoder
from uce.core.registry.manager import Manager

DEFAULT_ENCODER = "efficientnet-lite0"


class EvaluationSettings(Settings):
    """Which pictures are drawn, and what they are compared with."""

    count: int = Field(8, ge=1, le=1000, description="pictures drawn per concept, and of all concepts together")
    prompt: str = Field("a photo of {}", description="{} stands for the token, or for all tokens joined by 'and'")
    seed: int = Field(0, ge=0, lt=2**62, description="of the first picture; the others follow")
    steps: int = Field(25, ge=1, le=1000, description="denoising steps")
    guidance: float = Field(5.0, ge=0, le=50, description="classifier-free guidance scale")
    source: Literal["masked", "crop"] = Field(
        "masked", description="a concept's source: the whole frame with the rest filled, or that cropped to the thing"
    )
    fill: Literal["black", "grey", "white"] = Field("black", description="what stands outside the mask")
    prompts: str = Field(
        "default", description="what tokens are asked for: `default` (20 prompts), `none`, or a YAML file of groups"
    )
    per_prompt: int = Field(1, ge=1, le=100, description="pictures drawn of each concept and prompt")
    per_pair: int = Field(2, ge=0, le=100, description="pictures drawn of each two concepts together; 0: none")

    @field_validator("prompts", mode="before")
    @classmethod
    def _text(cls, chosen: object) -> object:
        return str(chosen) if isinstance(chosen, PathLike) else chosen

    @field_validator("prompt")
    @classmethod
    def _holds_token(cls, text: str) -> str:
        if text.count("{}") != 1 or set(text.replace("{}", "")) & set("{}"):
            raise ValueError("write {} once, where the token stands, and no other braces, such as 'a photo of {}'")
        return text

    def text(self, tokens: Sequence[str]) -> str:
        """The prompt for one token, or for several together."""
        return self.prompt.replace("{}", " and ".join(tokens))


@dataclass(frozen=True, eq=False)
class Chosen:
    """A selected encoder, not yet loaded."""

    name: str
    settings: Settings
    manager: Manager

    def load(self, device: str) -> Encoder:
        """Load it.

        Raises:
            ModelError: a package or model is missing.
            PluginError: a third party's plugin returned none.
        """
        info = self.manager.get("encoder", self.name)
        loaded = self.manager.caller("encoder", info)(name=self.name, settings=self.settings, device=device)
        if loaded is None or not hasattr(loaded, "encode"):
            raise PluginError(f"encoder {info} returned {type(loaded).__name__}, which has no method encode")
        encoder: Encoder = loaded
        return encoder


OURS = ("encoder", "evaluate")
"""Sections of `--set` that are for the evaluation rather than for the run."""


def resolve(
    manager: Manager, encoders: Sequence[str], assignments: Assignments, values: Mapping[str, Any]
) -> tuple[list[Chosen], EvaluationSettings]:
    """Selected encoders and settings, everything checked and nothing loaded.

    Args:
        encoders: names; none: the default.
        assignments: what `--set` or `set` gives: `evaluate.K=V`, `encoder.K=V` (where one encoder is chosen) or
            `encoder.NAME.K=V`.
        values: settings from flags; None where not given. They outrank `assignments`.

    Raises:
        ConfigError, PluginError: an unknown encoder or key, or a value that is not allowed.
    """
    names = list(encoders) or [DEFAULT_ENCODER]
    for name in names:
        manager.get("encoder", name)
        if names.count(name) > 1:
            raise ConfigError(f"--encoder {name} is given twice; name each encoder once")
    own: dict[str, Any] = {}
    theirs: dict[str, dict[str, Any]] = {name: {} for name in names}
    for key, value in read_settings(assignments).items():
        parts = key.split(".")
        if parts[0] == "evaluate" and len(parts) == 2:
            own[parts[1]] = value
        elif parts[0] == "encoder" and len(parts) in (2, 3):
            theirs[_encoder_meant(parts, names)][parts[-1]] = value
        else:
            raise ConfigError(
                f"--set {key}: write evaluate.KEY=VALUE or encoder.KEY=VALUE (of several encoders encoder.NAME.KEY)"
            )
    own |= {key: value for key, value in values.items() if value is not None}
    settings = validate_settings(EvaluationSettings, own, "evaluate")
    assert isinstance(settings, EvaluationSettings)
    chosen = []
    for name in names:
        info = manager.get("encoder", name)
        chosen.append(Chosen(name, validate_settings(info.settings_class, theirs[name], "encoder", info), manager))
    return chosen, settings


def _encoder_meant(parts: Sequence[str], names: Sequence[str]) -> str:
    """The encoder to which `encoder.K` or `encoder.NAME.K` belongs."""
    if len(parts) == 3:
        if parts[1] not in names:
            raise ConfigError("--set: " + unknown_name("encoder", parts[1], names))
        return parts[1]
    if len(names) > 1:
        raise ConfigError(
            f"--set {'.'.join(parts)}: {len(names)} encoders are chosen; say which, such as "
            f"encoder.{names[0]}.{parts[1]}"
        )
    return names[0]
