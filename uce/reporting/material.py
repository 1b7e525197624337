"""All that a run folder holds for its report, read once; what is not there is named.

Legend: K concepts; N cells of the grid, N = h * w; H, W the picture's pixels; V words; d width of a text encoder.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from uce.core.errors import ConfigError, RunFolderError
from uce.core.files.tensors import load_tensors
from uce.core.flow.data import AttentionMaps, Clusters, Concepts
from uce.core.runs.token_names import token_stem
from uce.core.work.cache import StageCache
from uce.core.work.held import Concept, Run
from uce.core.work.learning import WORDS_FILE
from uce.reporting.html import read_rgb

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class Material:
    """A run folder, read piece by piece; a piece that is not there is None or empty."""

    run: Run

    @property
    def path(self) -> Path:
        return self.run.path

    @cached_property
    def info(self) -> dict[str, Any]:
        return self.run.info

    @cached_property
    def concepts(self) -> list[Concept]:
        try:
            return self.run.concepts
        except RunFolderError:
            return []

    @cached_property
    def config(self) -> dict[str, Any]:
        """config.yaml."""
        try:
            document = yaml.safe_load((self.path / "config.yaml").read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            return {}
        return document if isinstance(document, dict) else {}

    @cached_property
    def original(self) -> Array | None:
        """uint8 (H, W, 3)."""
        picture = read_rgb(self.path / "input.png")
        return None if picture is None else np.asarray(picture)

    @cached_property
    def masks(self) -> list[Array | None]:
        """Per concept bool (H, W); None where it is missing, empty or of another size."""
        return [self._mask(concept) for concept in self.concepts]

    def _mask(self, concept: Concept) -> Array | None:
        if self.original is None:
            return None
        try:
            mask = concept.mask
        except RunFolderError:
            return None
        return mask if mask.shape == self.original.shape[:2] and mask.any() else None

    def _stage(self, name: str) -> Any:
        found = StageCache(self.path / "stages").find(name)
        return None if found is None else found[1]

    @cached_property
    def attention(self) -> AttentionMaps | None:
        found = self._stage("extractor")
        return found if isinstance(found, AttentionMaps) else None

    @cached_property
    def clusters(self) -> Clusters | None:
        found = self._stage("clusterer")
        return found if isinstance(found, Clusters) else None

    @cached_property
    def refined(self) -> list[tuple[str, Concepts]]:
        """(refiner, what it left) in the order of the chain, as far as it was kept."""
        chain = mapping(self.config.get("refiner")).get("chain")
        names = [str(name) for name in chain] if isinstance(chain, list) else []
        found = [(name, self._stage(f"refiner-{name}")) for name in names if "/" not in name]
        return [(name, result) for name, result in found if isinstance(result, Concepts)]

    @cached_property
    def found(self) -> dict[int, tuple[Array, Array]]:
        """Concept's index -> its cells bool (h, w) and its map float (h, w), as the localisation found them."""
        kept = StageCache(self.path / "stages").find("concepts")
        if kept is None or not isinstance(kept[1], Concepts):
            return {}
        concepts, names = kept[1], kept[0].split(",")
        maps = concepts.maps.reshape(len(concepts), *concepts.grid).numpy()
        rows = zip(names, concepts.masks.numpy(), maps, strict=False)
        return {int(name): (cells, values) for name, cells, values in rows if name.isdecimal()}

    @cached_property
    def history(self) -> dict[str, list[Any]]:
        """history.csv by column: numbers, and texts for "phase"."""
        try:
            with (self.path / "history.csv").open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
        except (OSError, ValueError, csv.Error):
            return {}
        names = [name for name in (rows[0] if rows else {}) if name]
        return {n: [row[n] or "" if n == "phase" else number(row[n]) for row in rows] for n in names}

    def samples(self, concept: Concept) -> list[Path]:
        try:
            stem = token_stem(concept.token)
        except ConfigError:
            return []
        folder = self.path / "samples"
        several = sorted(folder.glob(f"{stem}-*.png"), key=lambda path: (len(path.name), path.name))
        numbered = [path for path in several if path.stem.removeprefix(f"{stem}-").isdecimal()]
        return [path for path in (folder / f"{stem}.png", *numbered) if path.is_file()]

    def together(self) -> list[Path]:
        """Samples of many tokens in one prompt."""
        several = sorted((self.path / "samples").glob("all-*.png"), key=lambda path: (len(path.name), path.name))
        return [path for path in (self.path / "samples" / "all.png", *several) if path.is_file()]

    @cached_property
    def vectors(self) -> Array | None:
        """float (K, d): the first vector of each token for the first text encoder."""
        try:
            rows = [next(iter(concept.vectors.values()))[0].float().numpy() for concept in self.concepts]
        except RunFolderError:
            return None
        return np.stack(rows) if rows and len({row.shape for row in rows}) == 1 else None

    @cached_property
    def words(self) -> tuple[list[str], Array] | None:
        """The vocabulary's words nearest to the tokens, and their vectors float (V, d)."""
        kept = load_tensors(self.path / "stages" / WORDS_FILE)
        if kept is None or "vectors" not in kept[0] or not isinstance(kept[1].get("words"), list):
            return None
        names, table = [str(word) for word in kept[1]["words"]], kept[0]["vectors"].float().numpy()
        fits = self.vectors is not None and table.shape == (len(names), self.vectors.shape[1])
        return (names, table) if fits else None

    def missing(self) -> list[str]:
        """What the page cannot show, and why."""
        if self.info.get("mode") == "import":
            return ["These tokens were imported: there is no picture, no mask and no training to show."]
        lost = "not in the folder's stages/ (deleted, kept in an ablation's cache, or above 1 GiB)"
        checks = [
            (not self.concepts, f"The run is {self.info.get('status')}: there are no concepts yet."),
            (self.original is None, "The picture input.png is missing."),
            (
                self.original is not None and any(m is None for m in self.masks),
                "Some masks are missing, empty or of another size.",
            ),
            (self.attention is None, f"Affinity and saliency are {lost}."),
            (self.clusters is None, f"Clusters are {lost}."),
            (not self.run.learned, "No tokens were learned yet: uce learn does it."),
            (self.run.learned and not self.history, "The losses, history.csv, are missing."),
            (self.run.learned and not any(map(self.samples, self.concepts)), "No samples were drawn."),
            (self.run.learned and self.vectors is None, "The learned vectors, embeddings.safetensors, do not fit."),
            (self.vectors is not None and self.words is None, "The vectors of the nearest words were not kept."),
            (not self.config, "The settings, config.yaml, are missing."),
        ]
        return [text for lacks, text in checks if lacks]


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return float("nan")


def flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A configuration as "key" -> what one would type after --set."""
    found: dict[str, str] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            found.update(flat(value, f"{prefix}{key}."))
        else:
            found[f"{prefix}{key}"] = typed(value)
    return found


def typed(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(typed, value)) + "]"
    return str(value)
