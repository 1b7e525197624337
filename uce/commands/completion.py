"""What the shell offers after Tab: names of plugins, presets, settings, library entries, and tokens of a run.

Called by the shell, so: quick, silent, and never a traceback in the middle of somebody's command line. Plugins that
only `--plugin` names are not looked at, since that would run their code on a key press.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import typer

from uce.core.flow.stages import STAGES

Offers = list[tuple[str, str]]


def _matching(found: Iterable[tuple[str, str]], incomplete: str) -> Offers:
    return [(name, help_) for name, help_ in found if name.startswith(incomplete)]


def _words(*names: str) -> Callable[[str], Offers]:
    def complete(incomplete: str) -> Offers:
        return _matching(((name, "") for name in names), incomplete)

    return complete


trackers = _words("tensorboard", "trackio", "wandb")
devices = _words("auto", "cpu", "cuda", "mps")
precisions = _words("auto", "float32", "bfloat16", "float16")
stages = _words(*STAGES, "encoder", "exporter", "executor", "backbone", "observer")
models = _words("mini", "sd1.5", "sd2.1", "sdxl")


def plugins(stage: str | None = None) -> Callable[[str], Offers]:
    """Names of one stage's plugins (None: of all), with what each is for."""

    def complete(incomplete: str) -> Offers:
        found = _plugins()
        chosen = [info for info in found if stage is None or stage in info.stages]
        return _matching(sorted({info.name: info.summary for info in chosen}.items()), incomplete)

    return complete


def presets(incomplete: str) -> Offers:
    """Names of presets."""
    from uce.core.config.presets import PRESETS

    return _matching(((name, "") for name in PRESETS), incomplete)


def schedulers(incomplete: str) -> Offers:
    """Names of samplers."""
    from uce.core.model.schedulers import SCHEDULERS

    return _matching(((name, "") for name in SCHEDULERS), incomplete)


def settings(incomplete: str) -> Offers:
    """Keys of `--set`, up to the equals sign."""
    from uce.core.flow.run_settings import ModelSettings, RunSettings

    sections: list[tuple[str, Any]] = [("model", ModelSettings), ("run", RunSettings)]
    for info in _plugins():
        for stage in (stage for stage in info.stages if stage in STAGES):
            sections.append((f"refiner.{info.name}" if stage == "refiner" else stage, info.settings_class))
    keys = {
        f"{prefix}.{key}=": field.description or ""
        for prefix, owner in sections
        for key, field in owner.model_fields.items()
    }
    return _matching(sorted(keys.items()), incomplete)


def entries(ctx: typer.Context, incomplete: str) -> Offers:
    """Names of library entries."""
    return _matching(((name, "") for name in _library(ctx).names()), incomplete)


def picks(ctx: typer.Context, incomplete: str) -> Offers:
    """ENTRY:TOKEN, of a library entry or a run folder."""
    owner, colon, _ = incomplete.rpartition(":")
    if not colon:
        return _matching(((f"{name}:", "") for name in _library(ctx).names()), incomplete)
    library = _library(ctx)
    folder = library.folder / owner if owner in library.names() else Path(owner)
    return _matching(((f"{owner}:{token.strip('<>')}", label) for token, label in _tokens([folder])), incomplete)


def prompts(ctx: typer.Context, incomplete: str) -> Offers:
    """A prompt's last word, where it begins a token of the runs named so far."""
    before, bracket, word = incomplete.rpartition("<")
    if not bracket or ">" in word:
        return []
    found = _tokens(Path(path) for path in ctx.params.get("folder") or [])
    return _matching(((f"{before}{token}", label) for token, label in found), incomplete)


def indexes(incomplete: str) -> Offers:
    """The next index of "0,2", of the run folder that the command names."""
    before, comma, _ = incomplete.rpartition(",")
    taken = before.split(",") if comma else []
    offers = [(str(one.get("index")), str(one.get("token", ""))) for one in _concepts(_typed_folder())]
    return _matching(((f"{before}{comma}{index}", token) for index, token in offers if index not in taken), incomplete)


def _typed_folder() -> Path:
    """The first word of the command line that is a run folder: the parser drops arguments before an unfinished
    option, so it is no help here."""
    typed = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")
    folders = (Path(word.strip("'\"")) for word in typed.split())
    return next((folder for folder in folders if (folder / "concepts.json").is_file()), Path("no such folder"))


def _plugins() -> list[Any]:
    from uce.core.errors import UceError
    from uce.core.registry.manager import load_manager

    try:
        return load_manager().plugins
    except UceError:
        return []


def _library(ctx: typer.Context) -> Any:
    from uce.tokens.library import Library

    return Library.open(ctx.params.get("library"))


def _tokens(folders: Iterable[Path]) -> Offers:
    found = [one for folder in folders for one in _concepts(folder)]
    return [(str(one.get("token", "")), str(one.get("label") or "")) for one in found]


def _concepts(folder: Path) -> list[dict[str, Any]]:
    """Entries of concepts.json; none where there is no such file, or another's."""
    import json

    try:
        document = json.loads((folder / "concepts.json").read_text(encoding="utf-8"))
        return [one for one in document["concepts"] if isinstance(one, dict)]
    except (OSError, ValueError, KeyError, TypeError):
        return []
