"""What people see when tokens are exported, imported, pushed or kept in the library."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uce.core.files.paths import typed_path
from uce.terminal.tables import _print_table

if TYPE_CHECKING:
    from uce.core.work.held import Run
    from uce.tokens.exporting import Exported
    from uce.tokens.library import Library
    from uce.tokens.pushing import Pushed


def show_export(done: Exported, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"folder": str(done.folder), "files": list(done.files), "usage": done.usage}, indent=2))
        return
    for file in done.files:
        print(done.folder / file)
    if done.usage:
        print(f"\n{done.usage}")


def show_push(done: Pushed, as_json: bool) -> None:
    if as_json:
        folder = None if done.folder is None else str(done.folder)
        document = {"repository": done.repository, "url": done.url, "folder": folder, "files": list(done.files)}
        print(json.dumps(document, indent=2))
        return
    for file in done.files:
        print(file if done.folder is None else done.folder / file)
    print(f"\nuploaded to {done.url}" if done.url else f"\nnothing was uploaded (--dry-run): {done.repository}")


def show_import(run: Run, as_json: bool) -> None:
    """Token, vectors and width; then what to try next."""
    if as_json:
        print(json.dumps(run.summary(), indent=2))
        return
    rows = []
    for concept, source in zip(run.concepts, run.info["sources"], strict=True):
        first = next(iter(concept.vectors.values()))
        width = " + ".join(str(value.shape[1]) for value in concept.vectors.values())
        rows.append([concept.token, str(first.shape[0]), width, source["file"]])
    _print_table(["token", "vectors", "width", "from"], rows)
    print(f"\nfor the model {run.info['model']['name']}")
    prompt = shlex.quote(f"a photo of {run.concepts[0].token}")
    print(f"next: uce generate {prompt} --run {typed_path(run.path)} -o pictures")


def show_library(library: Library, names: Sequence[str], as_json: bool, sheet: Path | None = None) -> None:
    """An entry per row."""
    records = [library.record(name) for name in names]
    if as_json:
        document: dict[str, Any] = {"library": str(library.folder), "entries": records}
        print(json.dumps(document | ({"sheet": str(sheet)} if sheet else {}), indent=2, ensure_ascii=False))
        return
    if not records:
        print(f"the library {library.folder} is empty; fill it with: uce library add DIR --name NAME")
        return
    rows = []
    for record in records:
        labels = [f" ({concept['label']})" if concept["label"] else "" for concept in record["concepts"]]
        tokens = [f"{one['token']}{label}" for one, label in zip(record["concepts"], labels, strict=True)]
        rows.append([record["name"], ", ".join(tokens), str(record["model"]), record["added"][:10]])
    _print_table(["name", "tokens", "model", "added"], rows)
    if sheet:
        print(f"\nseen in {sheet}")
    first = records[0]
    pick = f"{first['name']}:{first['concepts'][0]['token'].strip('<>')}"
    prompt = shlex.quote(f"a photo of {first['concepts'][0]['token']}")
    print(f"\nnext: uce generate {prompt} --concept {pick} -o pictures")
