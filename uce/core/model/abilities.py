"""What only some backbones can do: train and use weights besides tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from uce.core.errors import ModelError
from uce.core.model.tuning import TrainedWeights, Tuning

if TYPE_CHECKING:
    from torch import Tensor

    from uce.core.model.backbone import Backbone, Prompt


@contextmanager
def train_weights(backbone: Backbone, tuning: Tuning) -> Iterator[TrainedWeights]:
    """`backbone.train_weights`, with a sentence where the model has no such thing.

    Raises:
        ModelError: this kind of model trains tokens only.
        StageInputError: a name in `tuning.modules` chooses nothing.
    """
    with _offered(backbone, "train_weights")(tuning) as trained:
        yield trained


@contextmanager
def use_weights(backbone: Backbone, weights: Mapping[str, Tensor] | None) -> Iterator[None]:
    """`backbone.use_weights`; without weights the model stays as it is.

    Raises:
        ModelError: the weights belong to another model, or this kind of model has no such thing.
    """
    if not weights:
        yield
        return
    with _offered(backbone, "use_weights")(weights):
        yield


def _offered(backbone: Backbone, method: str) -> Any:
    found = getattr(backbone, method, None)
    if found is None:
        raise ModelError(
            f"model '{backbone.model}' comes from a backbone without {method}, so only tokens can be learned with it; "
            "use --optimizer masked-denoising"
        )
    return found


def read_prompt(backbone: Backbone, text: str, slots: Mapping[str, Sequence[int]]) -> Prompt:
    """`backbone.tokenize` where every word of `slots` stands for those learned vectors in a row.

    Raises:
        ModelError: a word stands for several, and the backbone has no `tokenize_multi`.
        StageInputError: the text is longer than the model reads.
    """
    if all(len(rows) == 1 for rows in slots.values()):
        return backbone.tokenize(text, {word: rows[0] for word, rows in slots.items()})
    several = getattr(backbone, "tokenize_multi", None)
    if several is None:
        raise ModelError(
            f"model '{backbone.model}' comes from a backbone that reads one vector per token (it has no "
            "tokenize_multi); use initializer.vectors=1"
        )
    found: Prompt = several(text, slots)
    return found


def times(backbone: Backbone, timesteps: Tensor) -> Tensor:
    """Places on an even schedule, int64 (B,) in [0, num_timesteps), as the times at which the model is trained: shifted
    towards noise where its scheduler says so; as they are where the backbone has no `times`."""
    own = getattr(backbone, "times", None)
    found: Tensor = timesteps if own is None else own(timesteps)
    return found


def joint_layers(backbone: Backbone) -> tuple[str, ...]:
    """Names of the layers in which text and picture attend together, in the order in which they run; none in a UNet."""
    return tuple(getattr(backbone, "joint_layers", ()))


MIDDLE = (0.25, 0.4)
"""From where to where, as parts of the depth, a transformer's layers say best where things are: Seg4Diff reads layer 9
of 24 in Stable Diffusion 3, ConceptAttention 15 to 18 of 57 in FLUX."""


def middle_layers(backbone: Backbone) -> tuple[str, ...] | None:
    """The layers that attention is read from where nobody chooses; None (all) in a UNet."""
    names = joint_layers(backbone)
    if not names:
        return None
    first = min(int(MIDDLE[0] * len(names)), len(names) - 1)
    return names[first : max(first + 1, int(MIDDLE[1] * len(names)))]


def attention_modules(backbone: Backbone) -> tuple[str, ...]:
    """Parts of the names of attention layers, which `lora` trains where nobody chooses."""
    return tuple(getattr(backbone, "attention_modules", ("attn1", "attn2")))
