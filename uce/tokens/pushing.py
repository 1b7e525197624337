"""Tokens on the Hugging Face hub: the hub-folder exporter's files, with the repository's name in the card."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core.errors import ConfigError
from uce.core.files.writing import write_text
from uce.tokens.exporting import export_run

if TYPE_CHECKING:
    from uce.core.work.held import Run

PLACEHOLDER = "ORG/NAME"


@dataclass(frozen=True)
class Pushed:
    """What `uce push` did.

    Attributes:
        repository: "organisation/name". url: where it is; "" for a dry run.
        folder: what was uploaded, where it was kept. files: paths within it.
    """

    repository: str
    url: str
    folder: Path | None
    files: tuple[str, ...]


def push_run(
    run: Run, repository: str, out: Path | None, *, dry_run: bool, private: bool, plugin: Any = (), **options: Any
) -> Pushed:
    """See `uce.push`."""
    from uce.core.registry.manager import load_manager

    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]{0,95}", repository) or ".." in repository or "--" in repository:
        raise ConfigError(f"{repository!r} is no name of a hub repository; write ORG/NAME, such as my-name/beach-cup")
    if dry_run and out is None:
        raise ConfigError("--dry-run writes a folder and uploads nothing; name the folder with -o")
    options["assignments"] = options.pop("set", ())
    with tempfile.TemporaryDirectory(prefix="uce-push-") as aside:
        folder = out or Path(aside) / "repository"
        done = export_run(run, "hub-folder", folder, manager=load_manager(plugin), **options)
        card = folder / "README.md"
        write_text(card, card.read_text(encoding="utf-8").replace(PLACEHOLDER, repository))
        url = "" if dry_run else _upload(folder, done.files, repository, private)
    return Pushed(repository, url, out, done.files)


def _upload(folder: Path, files: tuple[str, ...], repository: str, private: bool) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = HfApi()
    try:
        url = api.create_repo(repository, repo_type="model", private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository, folder_path=str(folder), allow_patterns=list(files), commit_message="Upload tokens"
        )
    except LocalTokenNotFoundError as error:
        raise ConfigError("the hub does not know you; log in with: hf auth login (or set HF_TOKEN)") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"the hub refused {repository} ({reason}); nothing may have been uploaded") from error
    return str(url)
