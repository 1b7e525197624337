"""Formats that live long: a folder of each is kept and read; newer ones are refused in a sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import uce
from uce.ablation.folder import AblationFolder
from uce.batching.folder import BatchFolder
from uce.core import RunFolderError
from uce.core.runs.folder import FORMAT
from uce.tokens.library import FORMAT as LIBRARY_FORMAT
from uce.tokens.library import Library

FIXTURES = Path(__file__).parent / "fixtures"
RUNS = sorted(FIXTURES.glob("run-format-*"))
BATCHES = sorted(FIXTURES.glob("batch-format-*"))
LIBRARIES = sorted(FIXTURES.glob("library-format-*"))

Cli = Callable[..., tuple[int, str, str]]


def test_each_format_has_its_folder() -> None:
    assert [path.name for path in RUNS] == [f"run-format-{n}" for n in range(1, FORMAT + 1)]
    assert [path.name for path in BATCHES] == [f"batch-format-{n}" for n in range(1, BatchFolder.FORMAT + 1)]
    assert [path.name for path in LIBRARIES] == [f"library-format-{n}" for n in range(1, LIBRARY_FORMAT + 1)]
    size = sum(path.stat().st_size for path in FIXTURES.rglob("*"))
    assert size < 200_000, "fixtures are to be small"


@pytest.mark.parametrize("folder", RUNS, ids=lambda path: path.name)
def test_runs_of_every_format_are_read(folder: Path) -> None:
    run = uce.load(folder)
    assert run.learned and [concept.token for concept in run.concepts] == ["<asset0>", "<asset1>"]
    for concept in run.concepts:
        assert concept.mask.sum() == concept.area and concept.embedding.shape == (6,)
    assert run.summary()["status"] == "done"


@pytest.mark.parametrize("folder", RUNS, ids=lambda path: path.name)
def test_runs_of_every_format_go_on(folder: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn with, exported, and resumed: settings that came later take their defaults."""
    out = tmp_path / "run"
    shutil.copytree(folder, out)
    monkeypatch.chdir(Path(__file__).parent)  # the run names its plugin file from here
    plugin = ["--plugin", "toy_plugin.py"]
    code, _, err = cli("generate", "a photo of <asset0>", "--run", out, "-o", tmp_path / "p", "--steps", 1, *plugin)
    assert code == 0, err
    assert cli("export", out, "--to", "a1111", "-o", tmp_path / "webui")[0] == 0
    before = uce.load(out).concepts[0].embedding
    document = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**document, "status": "interrupted"}))
    code, _, err = cli("run", out / "input.png", "-o", out, "--resume", "--no-report", *plugin)
    assert code == 0, err
    assert (uce.load(out).concepts[0].embedding - before).abs().max() < 1e-4  # another torch may round otherwise


@pytest.mark.parametrize("folder", BATCHES, ids=lambda path: path.name)
def test_batches_of_every_format_go_on(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "batch"
    monkeypatch.chdir(Path(__file__).parent)
    shutil.copytree(folder, out)
    picture = RUNS[0] / "input.png"
    names = [json.loads(line) for line in (out / "pictures.jsonl").read_text().splitlines()]
    (out / "pictures.jsonl").write_text(json.dumps({**names[0], "source": str(picture.absolute())}) + "\n")
    done = uce.batch(picture, out, config=out / "runs" / "input" / "config.yaml", plugin=["toy_plugin.py"])
    assert done.document["worked_on"] == 0
    assert [(row["name"], row["status"]) for row in done.rows] == [("input", "done")]


@pytest.mark.parametrize("folder", LIBRARIES, ids=lambda path: path.name)
def test_libraries_of_every_format_are_read(folder: Path) -> None:
    record = Library(folder).record("toys")
    assert [concept["token"] for concept in record["concepts"]] == ["<asset0>", "<asset1>"]


def newer(path: Path, document: dict[str, Any], number: int) -> None:
    path.write_text(json.dumps({**document, "format": number + 1}))


def test_newer_formats_are_refused(tmp_path: Path) -> None:
    for source in (RUNS[-1], LIBRARIES[-1], BATCHES[-1]):
        shutil.copytree(source, tmp_path / source.name)
    run, library, batch = (tmp_path / path[-1].name for path in (RUNS, LIBRARIES, BATCHES))
    newer(run / "run.json", json.loads((run / "run.json").read_text()), FORMAT)
    with pytest.raises(
        RunFolderError, match=rf"has format {FORMAT + 1}, this uce reads up to {FORMAT}; install a newer"
    ):
        uce.load(run)
    entry = library / "toys" / "entry.json"
    newer(entry, json.loads(entry.read_text()), LIBRARY_FORMAT)
    with pytest.raises(RunFolderError, match="install a newer uce"):
        Library(library).get("toys")
    newer(batch / "batch.json", json.loads((batch / "batch.json").read_text()), BatchFolder.FORMAT)
    with pytest.raises(RunFolderError, match="install a newer uce"):
        BatchFolder(batch).read()
    (tmp_path / "ablation.json").write_text(json.dumps({"format": AblationFolder.FORMAT + 1}))
    with pytest.raises(RunFolderError, match="install a newer uce"):
        AblationFolder(tmp_path).read()
