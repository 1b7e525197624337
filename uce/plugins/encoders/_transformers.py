"""Picture encoders in transformers' layout: from a folder or the hub, safetensors only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from uce.core import ModelError, not_damaged, unknown_name
from uce.core.files import user_path

if TYPE_CHECKING:
    from uce.core import Features, RgbArray


@dataclass(frozen=True, eq=False)
class TransformersEncoder:
    """A vision model with its own preprocessing."""

    description: str
    features: Callable[[Any], Any]
    scale: int
    side: int
    mean: Sequence[float]
    deviation: Sequence[float]
    device: str

    def encode(self, pictures: Sequence[RgbArray]) -> Features:
        from uce.core.model import encode_in_batches

        return encode_in_batches(pictures, self.features, self.scale, self.side, self.mean, self.deviation, self.device)


def load(
    name: str, model: str, revision: str | None, kinds: Sequence[str], architecture: Any, fallback: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """(network, preprocessing) of `model`, a folder or hub id.

    Args:
        name: the encoder, for messages.
        kinds: allowed values of `model_type` in its configuration.
        architecture: transformers class, or "auto" class, to load it with.
        fallback: mean and deviation where the folder says nothing about preprocessing.

    Raises:
        ModelError: not there, not to be had without a network, damaged, pickled, or another kind of model.
    """
    from transformers import PretrainedConfig
    from transformers.image_processing_base import ImageProcessingMixin

    folder = user_path(model)
    local = folder.is_dir()
    if not local and (folder.is_absolute() or model.startswith((".", "~")) or model.count("/") != 1):
        raise ModelError(f"encoder {name}: there is no folder {model!r}; {_allowed(name)}")
    if local and not (folder / "config.json").is_file():
        raise ModelError(f"encoder {name}: the folder {model} holds no config.json; {_allowed(name)}")
    where = str(folder) if local else model
    try:
        facts, _ = PretrainedConfig.get_config_dict(where, revision=revision)
        kind = str(facts.get("model_type"))
        if kind not in kinds:
            raise ModelError(f"encoder {name}: {model} is not its kind: {unknown_name('model_type', kind, kinds)}")
        network = architecture.from_pretrained(where, revision=revision, use_safetensors=True)
    except ModelError:
        raise
    except Exception as error:  # whatever the libraries raise, the model is what is at fault
        not_damaged(error, f"{model} of encoder {name}", "use a smaller encoder, or close other programs")
        reason = " ".join(str(error).split())[:160]
        if local:
            raise ModelError(f"encoder {name}: {model} cannot be loaded ({reason}); {_allowed(name)}") from error
        raise ModelError(
            f"encoder {name}: {model} is not in the cache and cannot be had from the hub ({reason}); {_allowed(name)}"
        ) from error
    try:
        steps, _ = ImageProcessingMixin.get_image_processor_dict(where, revision=revision)
    except Exception:  # the folder says nothing about preprocessing
        steps = {}
    return network.eval(), {**fallback, **steps}


def sizes(steps: dict[str, Any], native: int) -> tuple[int, int]:
    """(scale, side): to what a square picture is scaled, and how much of its centre is seen.

    Args:
        steps: what `preprocessor_config.json` says.
        native: the network's own side.
    """

    def number(value: Any) -> int | None:
        if isinstance(value, dict):
            value = value.get("shortest_edge") or value.get("height")
        return int(value) if value else None

    scale = number(steps.get("size")) or native
    side = number(steps.get("crop_size")) if steps.get("do_center_crop") else None
    return max(scale, side or scale), side or scale


def _allowed(name: str) -> str:
    return (
        f"give a folder in transformers' layout with a .safetensors file as --set encoder.{name}.model=FOLDER, connect "
        "to the network, or use --encoder efficientnet-lite0"
    )
