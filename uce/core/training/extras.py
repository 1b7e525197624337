"""What plugins may add to a training: a rate of their own, and a further loss.

    train(plan, concepts, backbone, image, options, context, rate=rate, extra_loss=extra_loss)

    rate(update, total) -> float        what the learning rate is multiplied by; `update` counts from 1 to `total`
    extra_loss(view) -> Tensor          a number, added to the loss of the update

An update whose prompts take several passes of the model (`run.micro_batch`) asks for the extra loss once per pass, and
weighs each by its share of the prompts. So let it be a mean over the prompts, not a sum. What chance decides in it must
follow from `view` (its noise, its timesteps), so that a training that was interrupted continues with the same bytes.

Legend: B prompts of a pass; R token rows; C, h, w latent; d width of a text encoder.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from uce.core.errors import PluginError
from uce.core.model.backbone import Backbone, Prompt


@dataclass(frozen=True, eq=False)
class UpdateView:
    """One pass of an update, as an extra loss sees it. Do not change the tensors.

    Attributes:
        rows: per text encoder float32 (R, d), what is learned, with gradient. Before the merge of S split tokens per
            concept R = S * K, row s * K + k being split s of concept k; after it R = K.
        prompts: the B prompts that the model was shown; their slots are rows.
        latents: float32 (B, C, h, w), what the prompts show, without noise; some are mirrored.
        noise: float32 (B, C, h, w).
        timesteps: int64 (B,).
        prediction: (B, C, h, w), what the model predicted, with gradient.
        target: (B, C, h, w), what it should have predicted.
        masks: float (B, 1, h, w) in {0, 1}: the cells of the concepts that a prompt shows.
        backbone: the model; a pass of your own over it is differentiable, too.
    """

    rows: Mapping[str, Tensor]
    prompts: Sequence[Prompt]
    latents: Tensor
    noise: Tensor
    timesteps: Tensor
    prediction: Tensor
    target: Tensor
    masks: Tensor
    backbone: Backbone


Rate = Callable[[int, int], float]
ExtraLoss = Callable[[UpdateView], Tensor]


def checked_rate(rate: Rate, update: int, total: int) -> float:
    """`rate(update, total)`.

    Raises:
        PluginError: it is not a number from 0 up.
    """
    value: object = rate(update, total)
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < math.inf:
        raise PluginError(
            f"rate({update}, {total}) of the optimizer gave {value!r}; it must give a finite number from 0 up, which "
            "the learning rate is multiplied by"
        )
    return float(value)


def checked_loss(extra_loss: ExtraLoss, view: UpdateView) -> Tensor:
    """`extra_loss(view)` as float32 ().

    Raises:
        PluginError: it is not one floating-point number in a tensor.
    """
    value = extra_loss(view)
    if not isinstance(value, Tensor) or value.numel() != 1 or not value.dtype.is_floating_point:
        found = f"a tensor {tuple(value.shape)} of {value.dtype}" if isinstance(value, Tensor) else f"{value!r}"
        raise PluginError(
            f"extra_loss of the optimizer gave {found}; it must give a tensor of one floating-point number, such as "
            "error.mean()"
        )
    return value.reshape(()).to(view.prediction.device, torch.float32)
