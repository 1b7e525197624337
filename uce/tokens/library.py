"""A folder of concepts from many pictures, each entry under a name.

An entry is a run folder without what only learning needs, and a file entry.json that says when it came in. So
everything that reads run folders reads entries, and the folder can be copied, shared and kept under version control.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core.errors import ConfigError, RunFolderError, unknown_name
from uce.core.files.locks import alone_in
from uce.core.files.paths import typed_path, user_path
from uce.core.files.writing import exists, write_json, write_text
from uce.core.runs.facts import now
from uce.core.runs.folder import RunFolder
from uce.core.work.held import Run

if TYPE_CHECKING:
    from PIL import Image

FORMAT = 1
VARIABLE = "UCE_LIBRARY"
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,40}")
_KEPT = ("run.json", "concepts.json", "input.png", "overlay.png", "embeddings.safetensors", "weights.safetensors",
         "masks/*.png", "tokens/*.safetensors", "samples/*.png")  # fmt: skip


def default_folder() -> Path:
    """UCE_LIBRARY, else where this platform keeps a user's data."""
    if os.environ.get(VARIABLE):
        return user_path(os.environ[VARIABLE])
    try:
        return _users_data() / "uce" / "library"
    except RuntimeError:  # no HOME, and a user that the system does not know
        return NOWHERE


NOWHERE = Path("~") / "uce" / "library"
"""Stands for a library where nobody knows a place for one: it is empty, and takes nothing."""


def _users_data() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support"
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


@dataclass(frozen=True)
class Library:
    """Named entries in one folder.

    Attributes:
        folder: where; made when the first entry comes in.
    """

    folder: Path

    @classmethod
    def open(cls, folder: str | Path | None = None) -> Library:
        """The library in `folder`; None: UCE_LIBRARY, or the platform's place for a user's data."""
        return cls(default_folder() if folder is None else user_path(folder))

    def names(self) -> list[str]:
        """Every entry's name, in order."""
        if not self.folder.is_dir():
            return []
        return sorted(
            path.parent.name for path in self.folder.glob("*/entry.json") if _NAME.fullmatch(path.parent.name)
        )

    def get(self, name: str) -> Run:
        """An entry as a run.

        Raises:
            ConfigError: there is no such entry.
            RunFolderError: it is damaged, or of a newer format.
        """
        self.added(name)
        return Run.read(RunFolder(self.folder / name))

    def added(self, name: str) -> str:
        """When an entry came in (UTC, ISO 8601).

        Raises:
            ConfigError, RunFolderError: as `get`.
        """
        if name not in self.names():
            raise ConfigError(f"{unknown_name('library entry', name, self.names())} Library: {self.folder}")
        document = RunFolder(self.folder / name).read_json("entry.json")
        if not isinstance(document, dict) or not isinstance(document.get("format"), int):
            raise RunFolderError(f"{self.folder / name / 'entry.json'} is not a library entry's; add the run again")
        if document["format"] > FORMAT:
            raise RunFolderError(
                f"{self.folder / name} has format {document['format']}, this uce reads up to {FORMAT}; "
                "install a newer uce"
            )
        return str(document.get("added", ""))

    def add(self, run: Run, name: str, *, overwrite: bool = False) -> Run:
        """Copy a run's tokens, masks and pictures into the library; it appears whole or not at all.

        Raises:
            ConfigError: the name is not allowed, or taken.
            RunFolderError: the run has no tokens, or the library cannot be written.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"--name {name!r} is not allowed; use small letters, digits, '-' and '_', at most 41, such as "
                "beach-trip"
            )
        if not run.learned:
            raise RunFolderError(
                f"{run.path} holds no learned tokens yet; learn them with uce learn {typed_path(run.path)}"
            )
        _ = run.tokens()  # damaged files are refused before anything is copied
        target = self.folder / name
        if target.exists() and not overwrite:
            raise ConfigError(f"the library {self.folder} has an entry {name!r} already; replace it with --overwrite")
        if target.exists() and name not in self.names():
            raise RunFolderError(f"{target} is not a library entry; move it away, or choose another --name")
        with alone_in(target), self._aside(name) as aside:
            for pattern in _KEPT:
                for path in run.path.glob(pattern):
                    place = aside / path.relative_to(run.path)
                    place.parent.mkdir(exist_ok=True)
                    shutil.copyfile(path, place)
            write_text(aside / "config.yaml", _portable_config(run))
            write_json(aside / "entry.json", {"format": FORMAT, "name": name, "added": now()})
            if target.exists():
                shutil.rmtree(target)
            aside.replace(target)
        return self.get(name)

    def add_files(self, files: Sequence[Path], name: str, *, model: str | None = None, overwrite: bool = False) -> Run:
        """Add embeddings of any layout.

        Args:
            model: the one that they belong to.

        Raises:
            TokenFileError: a file is no embedding.
            ConfigError, RunFolderError: as `add`, or no model.
        """
        from uce.core.config.options import Options
        from uce.tokens.importing import import_files

        with tempfile.TemporaryDirectory(prefix="uce-import-") as aside:
            import_files(files, Path(aside) / "run", Options(model=model))
            return self.add(Run(RunFolder(Path(aside) / "run")), name, overwrite=overwrite)

    def remove(self, name: str) -> None:
        """Delete an entry.

        Raises:
            ConfigError: there is no such entry.
        """
        if name not in self.names():
            raise ConfigError(f"{unknown_name('library entry', name, self.names())} Library: {self.folder}")
        path = self.folder / name
        try:
            path.unlink() if path.is_symlink() else shutil.rmtree(path)
        except OSError as error:
            raise RunFolderError(f"cannot remove {path}: {error.strerror or error}") from error

    def record(self, name: str) -> dict[str, Any]:
        """What `uce library list --json` prints of one entry."""
        run = self.get(name)
        return {
            "name": name,
            "folder": str(run.path),
            "added": self.added(name),
            "model": (run.info.get("model") or {}).get("name"),
            "picture": run.has_picture,
            "concepts": [{"token": one.token, "label": one.label, "index": one.index} for one in run.concepts],
        }

    def sheet(self, name: str | None = None) -> Image.Image:
        """A contact sheet of one entry, or of all."""
        from uce.core.runs.contact_sheet import contact_sheet, run_tiles

        names = [name] if name is not None else self.names()
        if not names:
            raise ConfigError(f"the library {self.folder} is empty; fill it with uce library add DIR --name NAME")
        rows = []
        for one in names:
            tiles, title = run_tiles(self.get(one), one), one
            for start in range(0, len(tiles), 6):
                rows.append((title, tiles[start : start + 6]))
                title = ""
        return contact_sheet(rows)

    @contextmanager
    def _aside(self, name: str) -> Iterator[Path]:
        """A new folder beside the entries, gone afterwards unless it was renamed."""
        if self.folder == NOWHERE:
            raise ConfigError(f"there is no home folder for a library here; say where it is with {VARIABLE}=FOLDER")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f".{name}.{secrets.token_hex(4)}.part"
            path.mkdir()
        except OSError as error:
            raise RunFolderError(f"cannot write the library {self.folder}: {error.strerror or error}") from error
        try:
            yield path
        except OSError as error:
            raise RunFolderError(f"cannot write the library {self.folder}: {error.strerror or error}") from error
        finally:
            shutil.rmtree(path, ignore_errors=True)


def _portable_config(run: Run) -> str:
    """The run's configuration, with a model folder named in full: the entry lies elsewhere than the run."""
    import yaml

    from uce.core.config.resolving import load_config_file

    document = load_config_file(run.path / "config.yaml")
    model = document.get("model", {})
    if isinstance(model, dict) and "name" in model and model["name"] != "mini" and exists(Path(str(model["name"]))):
        model["name"] = str(Path(str(model["name"])).resolve())
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def write_sheet(sheet: Image.Image, path: Path) -> None:
    """As PNG.

    Raises:
        RunFolderError: not writable.
    """
    from uce.core.errors import ConfigError
    from uce.core.files.writing import write_picture

    if path.suffix.lower() != ".png" or path.is_dir():
        raise ConfigError(f"-o {path}: the contact sheet is a PNG; give a name that ends in .png")
    write_picture(path, sheet)
