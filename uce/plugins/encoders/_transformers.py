"""Encoders in transformers' layout: from a folder or the hub, safetensors only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
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


@dataclass(frozen=True, eq=False)
class ImageTextEncoder(TransformersEncoder):
    """One that reads texts, too, into the same space.

    Attributes:
        texts: token ids int64 (B, L), attention mask (B, L) -> (B, D).
        tokenizer: of transformers.
        padding: how its texts were padded in training, as arguments of the tokenizer.
    """

    texts: Callable[[Any, Any], Any]
    tokenizer: Any
    padding: Mapping[str, Any]

    def encode_texts(self, texts: Sequence[str]) -> Features:
        """Texts -> float32 (B, D); their cosines with pictures say how well these fit."""
        import torch

        lowered = [text.lower() for text in texts]  # as all of these were trained
        found = self.tokenizer(lowered, truncation=True, return_tensors="pt", **self.padding)
        ids = found["input_ids"].to(self.device)
        mask = found.get("attention_mask", torch.ones_like(ids)).to(self.device)
        with torch.no_grad():
            features: Features = self.texts(ids, mask).float().cpu().numpy()
        return features


Texts = tuple[Callable[[Any, Any], Any], Any, Mapping[str, Any]]
"""What `ImageTextEncoder` needs more: its function, tokenizer and padding."""


def put_together(
    description: str,
    features: Callable[[Any], Any],
    scale: int,
    side: int,
    steps: Mapping[str, Any],
    device: str,
    texts: Texts | None = None,
) -> TransformersEncoder:
    """An encoder; one that reads texts where it can.

    Args:
        scale, side: as `sizes` gives them. steps: as `Source.preprocessing` does.
    """
    own = (description, features, scale, side, steps["image_mean"], steps["image_std"], device)
    return TransformersEncoder(*own) if texts is None else ImageTextEncoder(*own, *texts)


@dataclass(frozen=True, eq=False)
class Source:
    """Where an encoder's parts come from: a folder, or a hub id.

    Attributes:
        name: the encoder, for messages.
        model: as the user gave it. where: as transformers takes it.
        kind: `model_type` of its configuration.
    """

    name: str
    model: str
    where: str
    revision: str | None
    kind: str

    def part(self, architecture: Any, without: Sequence[str] = ()) -> Any:
        """A network of that transformers class (or "auto" class), or None where the weights of `without` are missing.

        Raises:
            ModelError: not to be had, damaged, pickled, or weights are missing.
        """
        with self._said():
            network, found = architecture.from_pretrained(
                self.where, revision=self.revision, use_safetensors=True, output_loading_info=True
            )
        missing = sorted(key for key in found["missing_keys"] if not key.startswith("pooler."))  # nobody looks at these
        needed = [key for key in missing if not key.startswith(tuple(without))]
        if needed:
            raise ModelError(
                f"encoder {self.name}: {self.model} lacks {len(needed)} weights, such as {needed[0]}; "
                f"{_allowed(self.name)}"
            )
        return None if missing else network.eval()

    def tokenizer(self) -> Any | None:
        """What cuts texts for it; None where the folder holds none."""
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(self.where, revision=self.revision)
        except Exception as error:  # whatever the libraries raise, pictures can be encoded without
            not_damaged(error, f"the tokenizer of encoder {self.name}", "close other programs")
            return None

    def preprocessing(self, mean: Sequence[float], deviation: Sequence[float]) -> dict[str, Any]:
        """What the folder says about preprocessing; mean and deviation where it says nothing."""
        from transformers.image_processing_base import ImageProcessingMixin

        try:
            steps, _ = ImageProcessingMixin.get_image_processor_dict(self.where, revision=self.revision)
        except Exception:  # the folder says nothing about preprocessing
            steps = {}
        return {"image_mean": mean, "image_std": deviation, **steps}

    @contextmanager
    def _said(self) -> Iterator[None]:
        """Whatever the libraries raise, the model is what is at fault."""
        from uce.plugins.backbones._sd.quiet import quiet_libraries

        try:
            with quiet_libraries():
                yield
        except Exception as error:
            not_damaged(error, f"{self.model} of encoder {self.name}", "use a smaller encoder, or close other programs")
            reason = " ".join(str(error).split())[:160]
            if Path(self.where).is_dir():
                raise ModelError(
                    f"encoder {self.name}: {self.model} cannot be loaded ({reason}); {_allowed(self.name)}"
                ) from error
            raise ModelError(
                f"encoder {self.name}: {self.model} is not in the cache and cannot be had from the hub ({reason}); "
                f"{_allowed(self.name)}"
            ) from error


def find(name: str, model: str, revision: str | None, kinds: Sequence[str]) -> Source:
    """A model that is there and of an allowed kind; nothing of it is loaded yet.

    Args:
        name: the encoder, for messages.
        model: a folder or hub id.
        kinds: allowed values of `model_type` in its configuration.

    Raises:
        ModelError: not there, not to be had without a network, pickled, or another kind of model.
    """
    from transformers import PretrainedConfig

    folder = user_path(model)
    local = folder.is_dir()
    if not local and (folder.is_absolute() or model.startswith((".", "~")) or model.count("/") != 1):
        raise ModelError(f"encoder {name}: there is no folder {model!r}; {_allowed(name)}")
    if local and not (folder / "config.json").is_file():
        raise ModelError(f"encoder {name}: the folder {model} holds no config.json; {_allowed(name)}")
    source = Source(name, model, str(folder) if local else model, revision, "")
    with source._said():
        facts, _ = PretrainedConfig.get_config_dict(source.where, revision=revision)
    kind = str(facts.get("model_type"))
    if kind not in kinds:
        raise ModelError(f"encoder {name}: {model} is not its kind: {unknown_name('model_type', kind, kinds)}")
    if local:
        _refuse_pickle(name, folder)
    return replace(source, kind=kind)


def _refuse_pickle(name: str, folder: Path) -> None:
    pickled = sorted(folder.glob("pytorch_model*.bin"))
    if pickled and not any(folder.glob("*.safetensors")):
        code = (
            "import glob, torch, safetensors.torch as s; s.save_file({k: v.contiguous().clone() for f in "
            "glob.glob('pytorch_model*.bin') for k, v in torch.load(f, weights_only=True).items()}, "
            "'model.safetensors', {'format': 'pt'})"
        )
        raise ModelError(
            f"encoder {name}: {folder} holds its weights as {pickled[0].name} alone, a pickle, which can run code when "
            f'it is read, and is not read; convert it once, in that folder, with: python -c "{code}"'
        )


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
