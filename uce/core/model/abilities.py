"""What only some backbones can do: train and use weights besides tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from uce.core.errors import ModelError
from uce.core.model.tuning import TrainedWeights, Tuning

if TYPE_CHECKING:
    from torch import Tensor

    from uce.core.model.backbone import Backbone


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
