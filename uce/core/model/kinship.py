"""Tokens and the models they meet: the very one, one that has changed since, another of its family."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uce.core.flow.run_settings import ModelSettings

log = logging.getLogger(__name__)


def word_on_model(backbone: Any, owners: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Say in one line where tokens meet a model whose weights are not those that they were learned with.

    Args:
        owners: where the tokens come from, with the "model" of its run.json; tokens that do not fit by their width
            were refused before.
    """
    said = set()
    for owner, model in owners:
        stored, name = model.get("fingerprint"), str(model.get("name"))
        if stored is None or stored == backbone.fingerprint or owner in said:
            continue
        said.add(owner)
        if name == str(backbone.model):
            log.warning("the model %s has changed since %s was made: its tokens may draw something else", name, owner)
        else:
            log.warning(
                "tokens of %s were learned with %s and are drawn with %s, another model of its family: they may look "
                "different", owner, name, backbone.model,
            )  # fmt: skip


def stamp(model: ModelSettings) -> tuple[Any, ...]:
    """What changes when files of a model, its VAE, text encoders or LoRA are replaced: names, sizes and times."""
    found: list[Any] = []
    for name in (model.name, model.vae, model.text_encoders, model.lora):
        path = Path(name).expanduser() if name else None
        try:
            if path is None or not path.exists():
                continue
            files = sorted(path.glob("**/*")) if path.is_dir() else [path]
            chosen = [file for file in files if file.suffix in (".safetensors", ".sft", ".json") and file.is_file()]
            found += [(str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in chosen[:1000]]
        except OSError:  # a name that is no path, or a folder that nobody may read: the loader says so
            continue
    return tuple(found)
