"""Training more than tokens: which of the model's tensors, and how the trained ones are named.

    tuning = Tuning("lora", modules=("attn1", "attn2"), rank=4)
    with train_weights(backbone, tuning) as trained:
        ...  # every `backbone.predict` is now differentiable in `trained.parameters`
        weights = trained.export()  # goes into LearnedConcepts.weights
    with use_weights(backbone, weights):
        backbone.generate(...)

Names in `weights` (and in weights.safetensors) are "unet." and a module's name, then for LoRA, as diffusers saves and
loads it, ".lora.down.weight" (rank, inputs) and ".lora.up.weight" (outputs, rank), whose product is added to the
module's weight; for other tensors the parameter's own name, and the tensor stands in the parameter's place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from uce.core.errors import StageInputError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor


PREFIX, LORA_DOWN, LORA_UP = "unet.", ".lora.down.weight", ".lora.up.weight"
TRANSFORMER_PREFIX, TRANSFORMER_DOWN, TRANSFORMER_UP = "transformer.", ".lora_A.weight", ".lora_B.weight"
"""The same of diffusers' transformers, which have another naming."""


@dataclass(frozen=True)
class Tuning:
    """What of the UNet is to be trained.

    Attributes:
        kind: "lora" adds a product of two small matrices to each chosen linear or convolution layer; "full" trains all
            parameters of the chosen modules themselves.
        modules: parts of module names that choose them and what lies within, such as "attn2" (in diffusers' UNets the
            cross-attention; "attn1" is the self-attention), "attn2.to_k" or "up_blocks". Empty chooses everything.
        rank: of the LoRA matrices.
        alpha: the LoRA product counts alpha / rank times. Exported matrices hold that factor already.
        seed: of the random start of the LoRA matrices, whose product starts at zero.
    """

    kind: Literal["lora", "full"] = "lora"
    modules: tuple[str, ...] = ("attn1", "attn2")
    rank: int = 4
    alpha: float = 4.0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class TrainedWeights:
    """The trained tensors of a model, valid within `train_weights`.

    Attributes:
        parameters: by name, float32 leaves on the model's device that require a gradient; change them in place.
        export: detached float32 copies on the CPU, named as in weights.safetensors.
    """

    parameters: Mapping[str, Tensor]
    export: Callable[[], dict[str, Tensor]]


def chosen_modules(names: Iterable[str], wanted: Sequence[str]) -> list[str]:
    """Those of `names` that hold one of `wanted` as whole dotted parts; all where nothing is wanted.

    Raises:
        StageInputError: one of `wanted` is in no name; the text lists the parts that there are.
    """
    names = list(names)
    for part in wanted:
        if not any(_holds(name, part) for name in names):
            known = {piece for name in names for piece in name.split(".") if not piece.isdecimal()}
            raise StageInputError(unknown_name("module", part, known))
    return [name for name in names if not wanted or any(_holds(name, part) for part in wanted)]


def _holds(name: str, part: str) -> bool:
    return bool(part) and f".{part}." in f".{name}."
