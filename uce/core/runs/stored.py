"""A finished (or localised) run and its concepts, read from its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from uce.core.errors import RunFolderError, not_damaged
from uce.core.files.masks import read_mask
from uce.core.files.paths import shown_path, typed_path
from uce.core.files.token_files import ENCODERS
from uce.core.runs.folder import RunFolder

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


C = TypeVar("C", bound="StoredConcept")


@dataclass(frozen=True, eq=False)
class StoredConcept:
    """One thing found in the picture.

    Attributes:
        index: its number in the run.
        token: such as "<asset0>".
        label: its name: yours, a plugin's, or the model's where it is sure enough; None where nobody is.
        area: pixels of the mask. share: of the picture, in [0, 1].
        score: mean saliency inside over mean saliency of the picture.
        words: those nearest to it, right or not, best first.
        confidences: how likely each of `words` is right, in [0, 1]; empty where nobody measured that for the model.
        bbox: (left, top, right, bottom) in pixels, right and bottom exclusive.
        mask_path: within the folder; "" for an imported token, which has no picture, so that area, share, score and
            bbox are 0.
    """

    index: int
    token: str
    label: str | None
    area: int
    share: float
    score: float
    bbox: tuple[int, int, int, int]
    folder: Path
    mask_path: str
    words: tuple[str, ...] = ()
    confidences: tuple[float, ...] = ()

    @property
    def nearest(self) -> str:
        """The nearest words for people, such as "boot .40, teapot .38"; "" where there are none."""
        if not self.confidences:
            return ", ".join(self.words)
        shown = [
            f"{word} {f'{sure:.2f}'.removeprefix('0')}" for word, sure in zip(self.words, self.confidences, strict=True)
        ]
        return ", ".join(shown)

    @cached_property
    def mask(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """bool (H, W) at the picture's own size.

        Raises:
            RunFolderError: an imported token, or a mask that is missing or damaged.
        """
        if not self.mask_path:
            raise RunFolderError(f"{self.token} of {self.folder} was imported: it has no picture, so no mask")
        return read_mask(self.folder / self.mask_path)

    @cached_property
    def vectors(self) -> dict[str, Tensor]:
        """Per text encoder float32 (n, d).

        Raises:
            RunFolderError: nothing was learned yet.
        """
        path = self.folder / "embeddings.safetensors"
        if not path.is_file():
            raise RunFolderError(
                f"{self.folder} holds no learned tokens yet; learn them with uce learn {typed_path(self.folder)}"
            )
        tensors = _read_tensors(path)
        if self.token in tensors:
            found = {"clip": tensors[self.token]}
        else:
            prefix = f"{self.token}."
            found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        if not found:
            raise RunFolderError(
                f"{path} holds no {self.token}; learn again with uce learn {typed_path(self.folder)} --overwrite"
            )
        if any(vector.ndim not in (1, 2) for vector in found.values()):
            raise RunFolderError(f"{path}: {self.token} is no vector; learn again with --overwrite")
        last = len(ENCODERS)  # a safetensors file sorts its names; here they stand as models have them
        ordered = sorted(found, key=lambda encoder: ENCODERS.index(encoder) if encoder in ENCODERS else last)
        return {e: found[e][None] if found[e].ndim == 1 else found[e] for e in ordered}

    @property
    def embedding(self) -> Tensor:
        """float32 (d,), or (n, d) for a token of several vectors; the first text encoder's where there are two."""
        first = next(iter(self.vectors.values()))
        return first[0] if first.shape[0] == 1 else first


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A run folder, read. `uce.Run` adds the model."""

    folder: RunFolder

    @property
    def path(self) -> Path:
        return self.folder.path

    @cached_property
    def info(self) -> dict[str, Any]:
        """run.json."""
        return self.folder.read_run()

    @cached_property
    def document(self) -> dict[str, Any]:
        """concepts.json, looked through.

        Raises:
            RunFolderError: it is missing or damaged.
        """
        return self.folder.read_concepts()

    @cached_property
    def concepts(self) -> Sequence[StoredConcept]:
        return self._read_concepts(StoredConcept)

    def _read_concepts(self, kind: type[C]) -> list[C]:
        document = self.document
        return [
            kind(
                index=int(entry["index"]),
                token=str(entry["token"]),
                label=entry.get("label"),
                area=int(entry["area"]),
                share=float(entry["share"]),
                score=float(entry["score"]),
                bbox=tuple(entry["bbox"]),
                folder=self.path,
                mask_path=f"masks/{int(entry['index'])}.png" if document.get("image", {}) is not None else "",
                words=tuple(entry.get("words", ())),
                confidences=tuple(map(float, entry.get("confidences", ()))),
            )
            for entry in document["concepts"]
        ]

    @property
    def has_picture(self) -> bool:
        """Whether there is a picture with masks: not where tokens were imported."""
        return all(concept.mask_path for concept in self.concepts)

    @property
    def learned(self) -> bool:
        return (self.path / "embeddings.safetensors").is_file()

    def tokens(self) -> dict[str, dict[str, Tensor]]:
        """Concept token -> per text encoder float32 (n, d)."""
        return {concept.token: concept.vectors for concept in self.concepts}

    @cached_property
    def weights(self) -> dict[str, Tensor] | None:
        """Trained tensors of the model (`uce.core.model.tuning` says how they are named), None where only tokens were
        learned."""
        path = self.path / "weights.safetensors"
        return _read_tensors(path) if path.is_file() else None

    def summary(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "folder": shown_path(self.path),
            "status": self.info.get("status"),
            "model": (self.info.get("model") or {}).get("name"),
            "seconds": {stage["stage"]: stage["seconds"] for stage in self.info.get("stages", [])},
            **self.document,
            "files": {**({"overlay": "overlay.png"} if self.has_picture else {}), **self._learned_files()},
        }

    def _learned_files(self) -> dict[str, str]:
        files = {name: f"{name}.safetensors" for name in ("embeddings", "weights")} | {"report": "report.html"}
        return {name: file for name, file in files.items() if (self.path / file).is_file()}

    def __len__(self) -> int:
        return len(self.concepts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.path)!r})"


def _read_tensors(path: Path) -> dict[str, Tensor]:
    import torch
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except Exception as error:  # the reader raises whatever it meets in a damaged file
        not_damaged(error, str(path), "close other programs")
        cause = " ".join(str(error).split())[:160]
        raise RunFolderError(f"{path} is not readable ({cause}); learn again with --overwrite") from error
    for name, value in tensors.items():
        if not (value.is_floating_point() and value.numel() and bool(torch.isfinite(value).all())):
            raise RunFolderError(
                f"{path}: {name[:60]!r} holds no numbers that can be used; learn again with --overwrite"
            )
    return tensors
