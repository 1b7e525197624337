"""All that one run leaves on disk: where each file lies and how it is written. docs/formats.md describes them."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uce.core.errors import RunFolderError
from uce.core.files.documents import parse_json
from uce.core.files.masks import mask_box
from uce.core.files.writing import no_links, write_bytes, write_json, write_picture, write_safetensors, write_text
from uce.core.runs.documents import check_concepts, check_run
from uce.core.runs.facts import header, token_facts
from uce.core.runs.token_names import token_file, token_stem, token_tensors

if TYPE_CHECKING:
    from torch import Tensor

    from uce.core.flow.data import Concepts, LearnedConcepts
    from uce.core.flow.names import Named

FORMAT = 1
_FILES = ("run.json", "config.yaml", "concepts.json", "overlay.png", "input.png", "embeddings.safetensors",
          "history.csv", "weights.safetensors", "report.html", "error.txt", "evaluation.json")  # fmt: skip
TENSORBOARD, TENSORBOARD_SUFFIX = "tensorboard", "tfevents"
_FOLDERS = {"masks": "png", "tokens": "safetensors", "samples": "png", "stages": "safetensors", "evaluation": "png",
            "pictures": "png", TENSORBOARD: TENSORBOARD_SUFFIX}  # fmt: skip  # and what is in them
_PART = re.compile(r"\.(.+)\.[a-z0-9_]{8}\.part")  # what `write_bytes` leaves where it is killed


def _is_part(name: str, files: Sequence[str]) -> bool:
    """Whether `name` is what an interrupted write of one of `files` left."""
    match = _PART.fullmatch(name)
    return match is not None and match[1] in files


def names_in(folder: Path) -> list[str]:
    """What lies in a folder that a command would write, sorted; nothing where it does not exist yet.

    Raises:
        RunFolderError: it is a file, or not readable.
    """
    try:
        if folder.exists() and not folder.is_dir():
            raise RunFolderError(f"{folder} is a file; give a folder with -o")
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    except OSError as error:
        raise unusable(folder, error) from error


def unusable(folder: Path, error: OSError) -> RunFolderError:
    """What to say of a folder that cannot be read or written."""
    return RunFolderError(f"cannot use the folder {folder}: {error.strerror or error}; give another folder with -o")


@dataclass(frozen=True)
class RunFolder:
    """Paths and writers of one run folder. Every file appears whole."""

    path: Path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def checkpoint(self) -> Path:
        """Where a training that was interrupted goes on."""
        return self.path / "stages" / "checkpoint.safetensors"

    @property
    def is_run(self) -> bool:
        return (self.path / "run.json").is_file()

    def check(self, *, overwrite: bool) -> None:
        """Refuse a folder that a new run may not use; nothing is changed.

        Raises:
            RunFolderError: occupied, not a folder, or not readable.
        """
        found = names_in(self.path)
        if self.is_run and not overwrite:
            raise RunFolderError(
                f"{self.path} holds another run; continue it with --resume, replace it with --overwrite, or give "
                "another folder with -o"
            )
        ours = (*_FILES, *_FOLDERS) if self.is_run else ("error.txt",)  # no run: somebody's own masks/ or input.png
        foreign = [n for n in found if n not in ours and not _is_part(n, _FILES)]
        if foreign:
            raise RunFolderError(
                f"{self.path} is not empty and holds {foreign[0]!r}, which is not a run's; give a new or empty "
                "folder with -o"
            )

    def prepare(self, *, overwrite: bool) -> None:
        """Make the folder ready for a new run.

        Raises:
            RunFolderError: as `check`, or not writable.
        """
        self.check(overwrite=overwrite)
        try:
            self.clear()
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unusable(self.path, error) from error

    def clear(self) -> None:
        """Remove what a run wrote, and nothing else."""
        for name in _FILES:
            (self.path / name).unlink(missing_ok=True)
        for name, suffix in _FOLDERS.items():
            for path in no_links(self.path, f"{name}/*.{suffix}"):
                path.unlink()
        self.sweep()
        for name in _FOLDERS:
            with contextlib.suppress(OSError):  # not there, or not empty
                folder = self.path / name
                folder.unlink() if folder.is_symlink() else folder.rmdir()

    def sweep(self) -> None:
        """Remove what a run that was killed while it wrote a file left beside it."""
        halves = [path for path in self.path.glob(".*.part") if _is_part(path.name, _FILES)]
        for name, suffix in _FOLDERS.items():
            halves += no_links(self.path, f"{name}/.*.{suffix}.*.part")
        for path in halves:
            path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Leave no trace of a run that found nothing; a traceback written for the user stays."""
        keep = self.path / "error.txt"
        text = keep.read_bytes() if keep.is_file() else None
        self.clear()
        if text is not None:
            write_bytes(keep, text)
        elif self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    def read_json(self, name: str) -> Any:
        """A JSON file of the run.

        Raises:
            RunFolderError: missing or not readable.
        """
        try:
            return parse_json((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            hint = "" if self.is_run else f"; {self.path} is no run folder: make one with uce run IMAGE -o {self.path}"
            raise RunFolderError(f"{self.path / name} is missing{hint}") from error
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{self.path / name} is not readable ({error}); run again with --overwrite") from error

    def read_run(self) -> dict[str, Any]:
        """run.json.

        Raises:
            RunFolderError: missing, not readable, or of a newer format.
        """
        document = self.read_json("run.json")
        if not isinstance(document, dict) or not isinstance(document.get("format"), int):
            raise RunFolderError(f"{self.path / 'run.json'} is not a run's; give a folder that uce run wrote")
        if document["format"] > FORMAT:
            raise RunFolderError(
                f"{self.path} has format {document['format']}, this uce reads up to {FORMAT}; install a newer uce"
            )
        check_run(document, self.path / "run.json")
        return document

    def read_concepts(self) -> dict[str, Any]:
        """concepts.json.

        Raises:
            RunFolderError: it is missing or damaged.
        """
        document: dict[str, Any] = self.read_json("concepts.json")
        check_concepts(document, self.path / "concepts.json")
        return document

    def update_run(self, **facts: Any) -> None:
        """Change fields of run.json (made where it is missing)."""
        document = self.read_run() if self.is_run else {"format": FORMAT}
        write_json(self.path / "run.json", {**document, **facts})

    def write_masks(self, masks: np.ndarray[Any, Any], indexes: Sequence[int], keep: Sequence[str] = ()) -> None:
        """masks/<index>.png, 0 or 255, at the picture's own size; masks of an earlier state go, but for `keep`."""
        for index, mask in zip(indexes, masks, strict=True):
            write_picture(self.path / "masks" / f"{index}.png", mask)
        for path in no_links(self.path, "masks/*.png"):
            if path.stem not in {*keep, *map(str, indexes)}:
                path.unlink()

    def write_concepts(
        self,
        concepts: Concepts,
        indexes: Sequence[int],
        tokens: Sequence[str],
        words: Sequence[Named] | None = None,
    ) -> None:
        """concepts.json. `words`: per concept those nearest to it, right or not; None where nobody looked for any."""
        assert concepts.pixel_masks is not None
        height, width = concepts.pixel_masks.shape[1:]
        entries = []
        for row, (index, token) in enumerate(zip(indexes, tokens, strict=True)):
            mask = concepts.pixel_masks[row].numpy()
            entries.append(_concept_entry(index, token, mask, float(concepts.scores[row])))
            entries[-1]["label"] = (concepts.labels[row] or None) if concepts.labels else None
            if words is not None:
                entries[-1]["words"] = list(words[row].words)
                if words[row].confidences:
                    entries[-1]["confidences"] = list(words[row].confidences)
        document = {"image": {"width": int(width), "height": int(height)}, "concepts": entries}
        write_json(self.path / "concepts.json", document)

    def write_tokens(
        self, tokens: Mapping[str, Mapping[str, Tensor]], headers: Mapping[str, dict[str, str]] | None = None
    ) -> None:
        """embeddings.safetensors and tokens/*.safetensors; `tokens`: per text encoder (n, d)."""
        everything: dict[str, Tensor] = {}
        for token, vectors in tokens.items():
            everything.update(token_tensors(token, vectors))
            path = self.path / "tokens" / f"{token_stem(token)}.safetensors"
            write_safetensors(path, token_file(token, vectors), (headers or {}).get(token))
        write_safetensors(self.path / "embeddings.safetensors", everything)

    def write_learned(self, learned: LearnedConcepts, labels: Sequence[str] | None = None) -> None:
        """embeddings.safetensors, tokens/*.safetensors, history.csv and, where there are any, weights.safetensors."""
        info = self.read_run() if self.is_run else {}
        names = labels or [""] * len(learned.tokens)
        headers = {
            token: header(token_facts(info, token, label or None))
            for token, label in zip(learned.tokens, names, strict=True)
        }
        self.write_tokens({token: learned.of(row) for row, token in enumerate(learned.tokens)}, headers)
        write_text(self.path / "history.csv", _csv(learned.history))
        if learned.weights:
            write_safetensors(self.path / "weights.safetensors", learned.weights, headers[learned.tokens[0]])
        else:  # those of an earlier method would spoil what the tokens draw
            (self.path / "weights.safetensors").unlink(missing_ok=True)


def _concept_entry(index: int, token: str, mask: np.ndarray[Any, Any], score: float) -> dict[str, Any]:
    (top, bottom), (left, right) = mask_box(mask)
    return {
        "index": index,
        "token": token,
        "mask": f"masks/{index}.png",
        "area": int(mask.sum()),
        "share": round(float(mask.mean()), 6),
        "score": round(score, 6),
        "bbox": [left, top, right, bottom],
    }


def _csv(history: Sequence[Mapping[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in history for name in row))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=names or ["update", "phase"], lineterminator="\n")
    writer.writeheader()
    for row in history:
        writer.writerow({k: f"{v:.8g}" if isinstance(v, float) else v for k, v in row.items()})
    return buffer.getvalue()
