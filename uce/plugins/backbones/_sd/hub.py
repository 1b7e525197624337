"""Fetching a model from the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from uce.core import ModelError
from uce.plugins.backbones._sd.place import Repository

STEMS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
}
_PLAIN = ["model_index.json", "*/config.json", "scheduler/*.json", "tokenizer/*", "tokenizer_2/*.json",
          "tokenizer_2/*.txt"]  # fmt: skip
_PREFERRED = ("fp16", "bf16", "fp32")


def weight_names(names: Iterable[str], stem: str) -> dict[str, list[str]]:
    """A part's safetensors files by variant, "" for the plain one; several where it is split into shards."""
    number = r"-\d{5}-of-\d{5}"
    pattern = re.compile(rf"{stem}(?:\.(\w+))?(?:{number})?(?:\.(\w+))?\.safetensors")
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        match = pattern.fullmatch(name)
        if match:
            found.setdefault(match[1] or match[2] or "", []).append(name)
    return found


def choose_variant(found: Iterable[str], wanted: str | None) -> str | None:
    """Which variant of a part to take: the wanted one, else the plain one, else the one that is there."""
    there = list(found)
    order = [*([wanted] if wanted else []), "", *_PREFERRED, *there]
    return next((name for name in order if name in there), None)


def fetch(place: Repository, variant: str | None, *, index_only: bool = False) -> Path:
    """Download (or find in the cache) only the files that are needed; `index_only`: what tells the model's family.

    Returns:
        the snapshot's folder, or the file that `place` names.

    Raises:
        ModelError: no network and nothing cached, no such repository or revision, or no access.
    """
    if place.file:
        return _guarded(place, lambda: _file(place))
    patterns = _PLAIN[:1] if index_only else [*_PLAIN, *_weights(place, variant)]
    return _guarded(place, lambda: _snapshot(place, patterns))


def _file(place: Repository) -> Path:
    from huggingface_hub import hf_hub_download

    assert place.file is not None
    return Path(hf_hub_download(place.id, place.file, revision=place.revision))


def _snapshot(place: Repository, patterns: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(place.id, revision=place.revision, allow_patterns=list(patterns)))


def _weights(place: Repository, variant: str | None) -> list[str]:
    """The weight files to fetch, part by part: each in the variant that it has. Without a network: any in the cache."""
    from huggingface_hub import list_repo_files

    try:
        names = list_repo_files(place.id, revision=place.revision)
    except Exception:  # offline: the snapshot is what the cache holds, and the loader chooses from that
        return [f"{part}/{stem}*.safetensors*" for part, stem in STEMS.items()]
    chosen = []
    for part, stem in STEMS.items():
        here = [name.removeprefix(f"{part}/") for name in names if name.startswith(f"{part}/")]
        found = weight_names(here, stem)
        best = choose_variant(found, variant)
        if best is not None:
            chosen += [f"{part}/{name}" for name in found[best]]
        chosen += [f"{part}/{name}" for name in here if name.endswith(".json") and ".index" in name]
    return chosen


def _guarded(place: Repository, work: Any) -> Path:
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    repository = place.id
    try:
        path: Path = work()
        return path
    except GatedRepoError as error:
        raise ModelError(
            f"hub model '{repository}' needs its licence accepted; do so on its page and log in with `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise ModelError(
            f"hub model '{repository}' has no revision '{place.revision}'; look at its page for names"
        ) from error
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"hub model '{repository}' does not exist or is private; check the name, or log in with `hf auth login`"
        ) from error
    except HFValidationError as error:
        raise ModelError(f"model '{repository}' is neither a path that exists nor a hub id such as org/name") from error
    except LocalEntryNotFoundError as error:
        raise ModelError(_offline(place)) from error
    except EntryNotFoundError as error:
        raise ModelError(f"hub model '{repository}' has no file {place.file}; look at its page for names") from error
    except (OSError, RuntimeError) as error:
        raise ModelError(_offline(place)) from error


def _offline(place: Repository) -> str:
    """Why a model cannot be had without a network."""
    cached = _cached_revisions(place.id)
    if cached and place.revision:
        return (
            f"revision '{place.revision}' of hub model '{place.id}' is not in the cache and the hub cannot be "
            f"reached; cached: {', '.join(cached)}; choose one of these with --set model.revision=NAME, or connect to "
            "the network"
        )
    return (
        f"model '{place.id}' is no local path, is not in the cache and the hub cannot be reached; "
        "connect to the network, or give a local diffusers folder, a .safetensors file, or --model mini"
    )


def _cached_revisions(repository: str) -> list[str]:
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    names = [path.relative_to(folder / "refs").as_posix() for path in folder.glob("refs/**/*") if path.is_file()]
    return sorted({*names, *(path.name for path in folder.glob("snapshots/*"))})
