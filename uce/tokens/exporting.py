"""Taking tokens where people draw: what an exporter is given, and how its files come to where the user wants them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core.errors import ConfigError, PluginError, RunFolderError, UceError, unknown_name
from uce.core.files.writing import open_aside
from uce.core.runs.facts import token_facts
from uce.core.runs.token_export import TokenExport

if TYPE_CHECKING:
    from uce.core.config.assigned import Assignments
    from uce.core.flow.plugin_info import PluginInfo
    from uce.core.flow.settings import Settings
    from uce.core.registry.manager import Manager
    from uce.core.runs.stored import StoredConcept, StoredRun
    from uce.core.work.held import Run


@dataclass(frozen=True)
class Exported:
    """What `uce export` wrote.

    Attributes:
        folder: where. files: paths within it. usage: how to use them, for people.
    """

    folder: Path
    files: tuple[str, ...]
    usage: str


def export_run(
    run: Run,
    to: str,
    out: Path,
    *,
    manager: Manager,
    concepts: Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    licence: str | None = None,
    assignments: Assignments = (),
    overwrite: bool = False,
) -> Exported:
    """Write a run's tokens as the exporter `to` lays them out.

    Args:
        concepts: indexes of the run's concepts; None: all.
        names: what the tokens are to be called, in order; the rest keep their names.
        licence: goes into every file's header.
        assignments: what `--set` or `set` gives, with keys `exporter.K`.
        overwrite: replace files that are there.

    Raises:
        UceError: nothing was written.
    """
    info = manager.get("exporter", to)
    settings = exporter_settings(info, assignments)
    tokens = chosen_tokens(run, concepts, names, licence)
    if out.exists() and not out.is_dir():
        raise RunFolderError(f"{out} is a file; give a folder with -o")
    with tempfile.TemporaryDirectory(prefix="uce-export-") as aside:
        usage = _call(manager, info, run, tokens, Path(aside), settings)
        files = sorted(path for path in Path(aside).rglob("*") if path.is_file())
        relative = [path.relative_to(aside) for path in files]
        taken = [out / path for path in relative if (out / path).exists()]
        if taken and not overwrite:
            raise RunFolderError(f"{taken[0]} exists; replace it with --overwrite, or give another folder with -o")
        for path, target in zip(files, relative, strict=True):
            _move(path, out / target)
    return Exported(out, tuple(path.as_posix() for path in relative), usage)


def exporter_settings(info: PluginInfo, assignments: Assignments) -> Settings:
    """The exporter's own settings.

    Raises:
        ConfigError: a key that is not the exporter's, or a value that is not allowed.
    """
    from uce.core.config.assigned import keys_of, read_settings, without
    from uce.core.config.resolving import validate_settings

    settings = read_settings(assignments)
    for key in without(settings, "exporter"):
        known = [f"exporter.{name}" for name in info.settings_class.model_fields]
        raise ConfigError(f"--set: {unknown_name('key', key, known)}")
    return validate_settings(info.settings_class, keys_of(settings, "exporter"), "exporter", info)


def chosen_tokens(
    run: StoredRun, indexes: Sequence[int] | None, names: Sequence[str] | None, licence: str | None
) -> list[TokenExport]:
    """The run's tokens at `indexes`, renamed.

    Raises:
        ConfigError: an index that the run does not have, or a name that is not allowed.
        RunFolderError: nothing was learned yet.
    """
    from uce.core.runs.token_names import token_stem

    by_index = {concept.index: concept for concept in run.concepts}
    wanted = list(by_index) if indexes is None else list(indexes)
    for index in wanted:
        if index not in by_index:
            raise ConfigError(f"--concepts: there is no concept {index}; found {', '.join(map(str, by_index))}")
    if len(set(wanted)) != len(wanted) or not wanted:
        raise ConfigError(f"--concepts {','.join(map(str, wanted))}: give each index once, such as 0,2")
    tokens = renamed([by_index[index].token for index in wanted], names)
    return [
        TokenExport(token, token_stem(token), concept.vectors, concept, _facts(run, token, concept, licence))
        for token, concept in zip(tokens, (by_index[index] for index in wanted), strict=True)
    ]


def renamed(tokens: Sequence[str], names: Sequence[str] | None) -> list[str]:
    """`tokens` under the user's names as far as there are any.

    Raises:
        ConfigError: more names than tokens, a name that is not allowed, or one twice.
    """
    from uce.core.runs.token_names import token_stem

    names = list(names or [])
    if len(names) > len(tokens):
        raise ConfigError(f"--names: {len(names)} names for {len(tokens)} tokens; give at most {len(tokens)}")
    chosen = [f"<{name.strip().removeprefix('<').removesuffix('>')}>" for name in names] + list(tokens[len(names) :])
    for token in chosen:
        token_stem(token)
        if chosen.count(token) > 1:
            raise ConfigError(f"--names: two tokens would be called {token}; give each its own name")
    return chosen


def _facts(run: StoredRun, token: str, concept: StoredConcept, licence: str | None) -> dict[str, Any]:
    """As `token_facts`, under the name that the token is to have."""
    return {**token_facts(run.info, concept.token, concept.label, licence), "token": token}


def _call(
    manager: Manager, info: PluginInfo, run: Run, tokens: Sequence[TokenExport], out: Path, settings: Settings
) -> str:
    from uce.core.files.writing import write_traceback

    try:
        usage = manager.caller("exporter", info)(run=run, tokens=tokens, out=out, settings=settings)
    except (UceError, MemoryError):
        raise
    except Exception as error:
        if info.origin == "built-in":
            raise
        cause = " ".join(str(error).split())[:200]
        raise PluginError(
            f"exporter {info} raised {type(error).__name__}: {cause}; traceback in {write_traceback(None)}"
        ) from error
    return str(usage or "")


def _move(source: Path, target: Path) -> None:
    """`target` appears whole: copied aside in its own folder, then renamed."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, aside = open_aside(target)
        os.close(descriptor)
        try:
            shutil.copyfile(source, aside)
            aside.replace(target)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise RunFolderError(
            f"cannot write {target}: {error.strerror or error}; choose another folder with -o, or free space"
        ) from error
