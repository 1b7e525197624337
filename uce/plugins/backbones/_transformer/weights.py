"""Training a diffusers transformer's weights, and computing with trained ones.

The work is that of a UNet (`_sd/weights.py`); here names are those of diffusers' transformers: "transformer.", a
module's name, and for LoRA ".lora_A.weight" (rank, inputs) and ".lora_B.weight" (outputs, rank).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager

from torch import Tensor, nn

from uce.core import ModelError, TrainedWeights, Tuning
from uce.core.model import LORA_DOWN, LORA_UP, PREFIX, TRANSFORMER_DOWN, TRANSFORMER_PREFIX, TRANSFORMER_UP

_NAMES = ((PREFIX, TRANSFORMER_PREFIX), (LORA_DOWN, TRANSFORMER_DOWN), (LORA_UP, TRANSFORMER_UP))


def as_transformer(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From a UNet's names to a transformer's."""
    return {_renamed(name, _NAMES): value for name, value in weights.items()}


def as_unet(weights: Mapping[str, Tensor], model: str) -> dict[str, Tensor]:
    """From a transformer's names to a UNet's.

    Raises:
        ModelError: the weights are a UNet's.
    """
    for name in weights:
        if not name.startswith(TRANSFORMER_PREFIX):
            raise ModelError(
                f"the weights' {name} does not fit model '{model}', which is a transformer; use the model that they "
                "were trained with"
            )
    return {_renamed(name, [(b, a) for a, b in _NAMES]): value for name, value in weights.items()}


def _renamed(name: str, pairs: Sequence[tuple[str, str]]) -> str:
    (prefix, to), *ends = pairs
    name = to + name.removeprefix(prefix)
    for end, other in ends:
        if name.endswith(end):
            return name.removesuffix(end) + other
    return name


@contextmanager
def trained_transformer(transformer: nn.Module, tuning: Tuning) -> Iterator[TrainedWeights]:
    """See `uce.core.model.backbone.Backbone.train_weights`."""
    from uce.plugins.backbones._sd.weights import trained_unet

    with trained_unet(transformer, tuning) as trained:
        yield TrainedWeights(trained.parameters, lambda: as_transformer(trained.export()))


def weighted_transformer(
    transformer: nn.Module, weights: Mapping[str, Tensor], model: str
) -> AbstractContextManager[None]:
    """See `uce.core.model.backbone.Backbone.use_weights`."""
    from uce.plugins.backbones._sd.weights import weighted_unet

    return weighted_unet(transformer, as_unet(weights, model), model)
