"""The one face of a text-to-image diffusion model that stages work with.

Legend: B batch; C latent channels; h, w latent cells; L text positions; D width of the UNet's text states;
d width of one text encoder; M token positions asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from uce.core.model.tuning import TrainedWeights, Tuning


@dataclass(frozen=True, eq=False)
class Prompt:
    """Tokenised text in which some positions are filled by learned vectors.

    Attributes:
        text: as written.
        ids: per text encoder int64 (L,), begin, text, end-of-text, padding.
        slots: per text encoder int64 (L,): which learned vector stands at a position, -1 where the vocabulary's does.
        end: per text encoder the position of the end-of-text token.
        begins: per text encoder, where its positions begin in the sequence of text states that the picture attends to
            (0 where nothing is said); None where the model reads only a summary of that encoder's text.
    """

    text: str
    ids: Mapping[str, Tensor]
    slots: Mapping[str, Tensor]
    end: Mapping[str, int]
    begins: Mapping[str, int | None] = field(default_factory=dict)

    def positions(self, slot: int) -> list[int]:
        """Where learned vector `slot` stands in the sequence that the picture attends to, by the first encoder that
        has it there; empty where none has."""
        for encoder, slots in self.slots.items():
            begin = self.begins.get(encoder, 0)
            found = [begin + i for i, value in enumerate(slots.tolist()) if value == slot] if begin is not None else []
            if found:
                return found
        return []

    @property
    def ending(self) -> int:
        """Where the text ends in the sequence that the picture attends to, by the first encoder that stands there."""
        places = ((encoder, self.begins.get(encoder, 0)) for encoder in self.end)
        return next(begin + self.end[encoder] for encoder, begin in places if begin is not None)


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Encoded prompts as the UNet takes them.

    Attributes:
        states: (B, L, D) text states for cross-attention.
        added: further conditions by name, each (B, ...), such as SDXL's pooled embedding and size.
    """

    states: Tensor
    added: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Capture:
    """Which attention maps to keep.

    Attributes:
        kind: "self": cells to cells; "cross": cells to text; "text": text to cells. Where text and picture attend
            together, each is a slice of the joint map, so that rows sum to less than 1; a UNet has no "text".
        sides: keep only layers whose query grid has this longer side in cells; None keeps all.
        columns: for "cross" and "text": int64 (B, M) text positions to keep; None keeps all L.
        layers: keep only layers whose name fits one of these patterns (`layer_fits`); None keeps all. A backbone that
            does not know this keeps more than was asked for, which readers leave out.
    """

    kind: Literal["self", "cross", "text"]
    sides: frozenset[int] | None = None
    columns: Tensor | None = None
    layers: tuple[str, ...] | None = None

    def wants(self, kind: str, name: str, grid: tuple[int, int] | None = None) -> bool:
        """Whether a layer's map is asked for; without `grid`, whether it may be, so that it is worth watching."""
        named = self.layers is None or any(layer_fits(name, pattern) for pattern in self.layers)
        return kind == self.kind and named and (grid is None or self.sides is None or max(grid) in self.sides)


def layer_fits(name: str, pattern: str) -> bool:
    """Whether a layer's name fits a pattern with `*`, `?` and `[...]`, in full or in short.

    The short name leaves "_blocks" and "_block" out: "up_blocks.1.attentions.0" is "up.1.attentions.0". So "mid*",
    "up.1*" and "*.attn1" say what they mean, and "*" is all.
    """
    short = name.replace("_blocks", "").replace("_block", "")
    return fnmatchcase(name, pattern) or fnmatchcase(short, pattern)


@dataclass(frozen=True, eq=False)
class LayerMap:
    """One layer's attention probabilities, averaged over its heads.

    Attributes:
        name: the layer's module name in the UNet.
        kind: "self", "cross" or "text".
        grid: (h, w) of the layer's cells.
        heads: how many heads were averaged.
        probs: float32 (B, h*w, keys); with gradient where the UNet ran with gradient. Keys: h*w cells for "self",
            text positions (L, or the M asked for) for "cross". For "text" (B, L or M, h*w).
    """

    name: str
    kind: str
    grid: tuple[int, int]
    heads: int
    probs: Tensor


@dataclass(frozen=True, eq=False)
class Inpainting:
    """A picture that is to be kept but for one place.

    Attributes:
        latents: (1, C, h, w), the picture as `encode_image` gives it.
        mask: float (1, 1, h, w), 1 where something new is to be drawn.
    """

    latents: Tensor
    mask: Tensor


class Backbone(Protocol):
    """A loaded model. Nothing here is a literal: everything comes from the loaded parts.

    What transformers have besides is optional, and `uce.core.model.abilities` says what holds without it:
    `joint_layers` (names, in the order in which they run, of the layers in which text and picture attend together),
    `times` (from places on an even schedule to the model's own times) and `attention_modules` (what `lora` trains). So
    is `folder`, the diffusers folder of the model, where what was measured of it may lie (`uce.core.model.measured`).
    """

    model: str
    """As the user named it."""
    description: str
    """One line: which model this is and what it can and cannot do."""
    device: str
    precision: str
    """"float32", "bfloat16" or "float16"."""
    picture_side: int
    """Pixels per side at which the model works."""
    latent_side: int
    latent_channels: int
    num_timesteps: int
    encoders: tuple[str, ...]
    """Names of the text encoders: ("clip",) for one; ("clip_l", "clip_g") for SDXL."""
    fingerprint: str
    """Hash that changes when the model's weights or configuration do."""

    def encode_image(self, pixels: Tensor) -> Tensor:
        """pixels float (B, 3, side, side) in [-1, 1] -> latents (B, C, h, w), scaled; the distribution's mode."""

    def decode(self, latents: Tensor) -> Tensor:
        """latents (B, C, h, w) -> pixels float32 (B, 3, side, side) in [-1, 1]."""

    def tokenize(self, text: str, slots: Mapping[str, int] | None = None) -> Prompt:
        """Tokenise as the model's pipeline would, with every word of `slots` standing for that learned vector.

        Raises:
            StageInputError: the text is longer than the model reads.
        """

    def encode_prompts(self, prompts: Sequence[Prompt], vectors: Mapping[str, Tensor] | None = None) -> Conditioning:
        """Encode prompts; `vectors`: per text encoder (V, d) learned vectors that slots index; differentiable in
        them. What does not depend on `vectors` carries no gradient."""

    def embedding_table(self, encoder: str) -> Tensor:
        """float (vocabulary, d): the text encoder's own token embeddings (detached; do not change it)."""

    def word_ids(self, word: str, encoder: str) -> list[int]:
        """Token ids of `word` without begin, end and padding."""

    def words(self, encoder: str) -> Mapping[str, int]:
        """Complete words of the vocabulary (letters only, no pieces) and their ids, in the vocabulary's order; empty
        where the vocabulary holds nothing of the kind."""

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """x_t for timesteps (B,), int64 or float."""

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the UNet should predict: noise (epsilon), velocity (v-prediction), the latent (sample), or noise less
        latent (flow matching)."""

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """One UNet pass (B, C, h, w), differentiable in `conditioning`; weights frozen but for `train_weights`."""

    def capture(self, *requests: Capture) -> AbstractContextManager[list[LayerMap]]:
        """Within the block, UNet passes append the asked-for maps in layer order (down, mid, up).

        Layers not asked for keep fused attention; the prediction is the same; the UNet is left as it was found, also
        after an error. The list is filled pass by pass; clear it between passes to keep only the last.
        """

    def capture_features(self, *blocks: int) -> AbstractContextManager[dict[int, Tensor]]:
        """Within the block, every UNet pass stores what these decoder blocks give out: 0 the deepest and coarsest,
        then upwards -> float32 (B, channels, h', w').

        The prediction is the same; the UNet is left as it was found, also after an error.

        Raises:
            StageInputError: the model has no such block.
        """

    def train_weights(self, tuning: Tuning) -> AbstractContextManager[TrainedWeights]:
        """Within the block, `predict` is differentiable in the chosen tensors, which start where the model is (LoRA:
        without effect); everything else stays frozen.

        Afterwards, also after an error, the model is as it was found. `uce.core.model.tuning` says what is chosen and
        how the result is named. Optional: a model without it learns tokens only.

        Raises:
            StageInputError: a name in `tuning.modules` chooses nothing.
        """

    def use_weights(self, weights: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """Within the block, `predict` and `generate` compute with trained weights; the model is left as it was found.

        Optional, like `train_weights`.

        Args:
            weights: as `TrainedWeights.export` gave them, on any device.

        Raises:
            ModelError: they belong to another model.
        """

    def pipeline(
        self, tokens: Mapping[str, Mapping[str, Tensor]] | None = None, weights: Mapping[str, Tensor] | None = None
    ) -> Any:
        """A diffusers pipeline.

        Args:
            tokens: concept token -> per text encoder (n, d), added to its tokenizers.
            weights: as for `use_weights`, loaded into the pipeline's own copy of the UNet. Given only where there are
                any.
        """

    def generate(
        self,
        prompts: Sequence[str],
        tokens: Mapping[str, Mapping[str, Tensor]] | None = None,
        *,
        seeds: Sequence[int],
        steps: int = 25,
        guidance: float = 5.0,
        on_step: Any = None,
    ) -> list[Any]:
        """One PIL picture per prompt, each from its own seed (same seed, same picture, whatever the batch).

        A backbone may also take these, which are given only where the user asked for them: `negative` (text that
        guidance leads away from), `scheduler` (a name of `uce.core.model.schedulers`), `into` (an `Inpainting`: draw
        only within its mask; after every step the rest is the given picture at that step's noise) and `regions`
        (`uce.core.Regions`: each word in a region of its own; `uce.core.model` has what it takes).

        Args:
            on_step: called after every denoising step with its number, from 1, and the number of all.
        """


def resolve_dtype(precision: str) -> torch.dtype:
    """torch dtype of "float32", "bfloat16" or "float16"."""
    import torch

    dtype = getattr(torch, precision)
    assert isinstance(dtype, torch.dtype)
    return dtype
