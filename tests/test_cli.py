"""Every command from end to end, on a tiny random model."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image, ImageDraw
from safetensors.torch import load_file

import uce
from uce.cli import main

STABLE = ("concepts.json", "embeddings.safetensors", "history.csv", "masks/*.png", "tokens/*.safetensors")
QUICK = [
    "--set",
    "optimizer.schedule=paper",
    "--set",
    "optimizer.steps=3",
    "--set",
    "optimizer.merge_step=1",
    "--set",
    "run.sample_steps=1",
]
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two plain things, not square."""
    path = tmp_path_factory.mktemp("pictures") / "scene.png"
    scene = Image.new("RGB", (120, 90), (190, 210, 230))
    draw = ImageDraw.Draw(scene)
    draw.ellipse((8, 20, 52, 64), fill=(200, 40, 40))
    draw.rectangle((70, 30, 110, 80), fill=(30, 110, 60))
    scene.save(path)
    return path


@pytest.fixture(scope="module")
def common(tiny_pipeline: Path) -> list[str]:
    """Flags of every run here: a tiny model, every cluster kept, few updates."""
    return ["--model", str(tiny_pipeline), "--clusterer", "kmeans", "--set", "clusterer.clusters=2",
            "--refiner", "none", *QUICK]  # fmt: skip


@pytest.fixture(scope="module")
def done(picture: Path, common: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "out"
    with pytest.raises(SystemExit) as ended:
        main(["run", str(picture), "-o", str(folder), *common])
    assert not ended.value.code
    return folder


def stable_bytes(folder: Path) -> dict[str, bytes]:
    """The files that must be the same, byte for byte, for the same input and settings."""
    return {str(p.relative_to(folder)): p.read_bytes() for pattern in STABLE for p in sorted(folder.glob(pattern))}


def test_run_folder_holds_what_the_contract_names(done: Path) -> None:
    info = json.loads((done / "run.json").read_text())
    assert info["format"] == 1 and info["status"] == "done" and info["seed"] == 0
    assert {"torch", "diffusers", "transformers", "uce"} <= set(info["versions"])
    assert {"extractor", "clusterer", "refiner-none", "initializer", "optimizer"} <= {
        s["stage"] for s in info["stages"]
    }
    document = json.loads((done / "concepts.json").read_text())
    assert document["image"] == {"width": 120, "height": 90}
    for entry in document["concepts"]:
        mask = np.asarray(Image.open(done / entry["mask"]))
        assert mask.dtype == np.uint8 and mask.shape == (90, 120) and set(np.unique(mask)) <= {0, 255}
        assert entry["area"] == (mask == 255).sum()
        left, top, right, bottom = entry["bbox"]
        assert (mask[top:bottom, left:right] == 255).sum() == entry["area"]
        stem = entry["token"].strip("<>")
        assert list(load_file(done / "tokens" / f"{stem}.safetensors")) == [entry["token"]]
        assert (done / "samples" / f"{stem}.png").is_file()
    assert set(load_file(done / "embeddings.safetensors")) == {e["token"] for e in document["concepts"]}
    assert (done / "samples" / "all.png").is_file() and (done / "overlay.png").is_file()
    rows = list(csv.DictReader((done / "history.csv").open()))
    # two concepts: 5 * 2 updates in the first step, 2 + 1 in each of the two after the merge
    assert len(rows) == 16 and rows[0]["phase"] == "split" and rows[-1]["phase"] == "merged"
    assert not list(done.rglob("*.part"))


def test_without_a_folder_a_run_is_called_after_its_picture(
    cli: Cli, picture: Path, common: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = cli("localize", picture, *common)
    assert code == 0 and (tmp_path / "scene-uce" / "masks" / "0.png").is_file(), err
    code, _, err = cli("localize", picture, *common)
    assert code == 2 and "scene-uce holds another run" in err


def test_config_of_a_run_repeats_it(cli: Cli, done: Path, picture: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((done / "config.yaml").read_text())
    assert config["run"]["threads"] >= 1 and config["run"]["device"] == "cpu"
    code, _, err = cli("run", picture, "-o", tmp_path / "again", "--config", done / "config.yaml")
    assert code == 0, err
    assert stable_bytes(tmp_path / "again") == stable_bytes(done)


def test_json_is_the_only_thing_on_stdout(cli: Cli, picture: Path, common: list[str], tmp_path: Path) -> None:
    code, out, err = cli("localize", picture, "-o", tmp_path / "out", *common, "--json")
    document = json.loads(out)
    assert code == 0 and document["status"] == "localized" and len(document["concepts"]) == 2
    assert err.startswith("model ")


def test_first_line_names_the_model_and_the_last_says_what_next(
    cli: Cli, picture: Path, common: list[str], tmp_path: Path
) -> None:
    code, out, _ = cli("localize", picture, "-o", tmp_path / "out", *common)
    assert code == 0 and out.startswith("model ") and "(cpu, float32)" in out.splitlines()[0]
    assert "<asset0>" in out and f"uce learn {tmp_path / 'out'}" in out.splitlines()[-1]


def test_localize_then_learn_is_run(cli: Cli, done: Path, picture: Path, common: list[str], tmp_path: Path) -> None:
    assert cli("localize", picture, "-o", tmp_path / "out", *common)[0] == 0
    assert not (tmp_path / "out" / "embeddings.safetensors").exists()
    code, out, err = cli("learn", tmp_path / "out")
    assert code == 0, err
    assert "uce generate" in out
    assert stable_bytes(tmp_path / "out") == stable_bytes(done)


def test_learn_takes_masks_as_they_lie(cli: Cli, picture: Path, common: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    assert cli("localize", picture, "-o", folder, *common)[0] == 0
    (folder / "masks" / "0.png").unlink()
    drawn = Image.new("L", (120, 90))
    ImageDraw.Draw(drawn).ellipse((8, 20, 52, 64), fill=255)
    drawn.save(folder / "masks" / "ball.png")
    code, _, err = cli("learn", folder)
    assert code == 0, err
    run = uce.load(folder)
    assert [concept.token for concept in run.concepts] == ["<asset1>", "<ball>"]
    assert (run.concepts[1].mask == (np.asarray(drawn) > 127)).all()
    assert not (run.concepts[0].mask & run.concepts[1].mask).any()


def test_concepts_and_names(cli: Cli, picture: Path, common: list[str], tmp_path: Path) -> None:
    code, _, err = cli("run", picture, "-o", tmp_path / "out", *common, "--concepts", "1", "--names", "cup")
    assert code == 0, err
    run = uce.load(tmp_path / "out")
    assert [(c.index, c.token, c.mask_path) for c in run.concepts] == [(1, "<cup>", "masks/1.png")]
    assert (tmp_path / "out" / "tokens" / "cup.safetensors").is_file()


def test_generate(cli: Cli, done: Path, tmp_path: Path) -> None:
    arguments = ["a photo of <asset1> in the snow", "a cat", "--run", done, "-o", tmp_path, "-n", 2, "--steps", 2]
    code, out, err = cli("generate", *arguments, "--seed", 3)
    assert code == 0, err
    paths = [Path(line) for line in out.split()]
    assert [p.name for p in paths] == ["a-photo-of-asset1-in-the-snow-s3.png", "a-photo-of-asset1-in-the-snow-s4.png",
                                       "a-cat-s3.png", "a-cat-s4.png"]  # fmt: skip
    first = paths[0].read_bytes()
    code, out, _ = cli("generate", arguments[0], *arguments[2:], "--seed", 3, "--json")
    again = [Path(p) for p in json.loads(out)]
    assert again[0].name.endswith("-s3-2.png"), "an earlier picture is never replaced"
    assert again[0].read_bytes() == first


def test_generate_refuses_a_token_the_run_does_not_have(cli: Cli, done: Path, tmp_path: Path) -> None:
    code, _, err = cli("generate", "a photo of <asset9>", "--run", done, "-o", tmp_path / "pictures")
    assert code == 2
    assert "unknown token '<asset9>'; available: <asset0>, <asset1>. Did you mean '<asset" in err
    assert not (tmp_path / "pictures").exists()


@pytest.mark.parametrize("clusterer", ["finch", "hierarchical", "hdbscan"])
def test_clusterers_by_name(cli: Cli, picture: Path, tiny_pipeline: Path, tmp_path: Path, clusterer: str) -> None:
    arguments = ["--model", tiny_pipeline, "--clusterer", clusterer, "--refiner", "none"]
    code, _, err = cli("localize", picture, "-o", tmp_path / "out", *arguments)
    assert code == 0, err
    assert len(uce.load(tmp_path / "out").concepts) >= 1


def test_plugins_list_and_show(cli: Cli) -> None:
    code, out, _ = cli("plugins")
    assert code == 0 and "clusterer" in out and "hdbscan" in out
    code, out, _ = cli("plugins", "--json")
    names = {(stage, p["name"]) for p in json.loads(out)["plugins"] for stage in p["stages"]}
    assert {("clusterer", "finch"), ("refiner", "merge"), ("optimizer", "masked-denoising")} <= names
    code, out, _ = cli("plugins", "show", "masked-denoising")
    assert code == 0 and "optimizer.steps = 500" in out
    code, _, err = cli("plugins", "show", "finhc")
    assert code == 2 and "Did you mean 'finch'?" in err


def test_doctor(cli: Cli, tiny_pipeline: Path, tmp_path: Path) -> None:
    code, out, _ = cli("doctor", "--model", tiny_pipeline)
    assert code == 0, out
    assert [line.split()[:2] for line in out.splitlines() if line.startswith("ok")] == [
        ["ok", "load"], ["ok", "plan"], ["ok", "localize"], ["ok", "learn"], ["ok", "draw"]]  # fmt: skip
    code, out, _ = cli("doctor", "--model", tmp_path / "missing", "--json")
    assert code == 2 and json.loads(out)["checks"][0]["ok"] is False


def test_version_and_help(cli: Cli) -> None:
    assert cli("--version")[:2] == (0, f"uce {uce.__version__}\n")
    for command in ("run", "localize", "learn", "generate", "plugins", "doctor"):
        code, out, _ = cli(command, "--help")
        assert code == 0 and "Usage" in out


def test_resume_after_an_interruption_gives_the_same_bytes(
    cli: Cli, done: Path, picture: Path, common: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uce.core.registry.manager import Manager

    folder, emit = tmp_path / "out", Manager.emit

    def interrupt(self: Manager, event: Any) -> None:
        emit(self, event)
        if getattr(event, "update", 0) == 12:
            raise KeyboardInterrupt

    monkeypatch.setattr(Manager, "emit", interrupt)
    arguments = ["run", picture, "-o", folder, *common, "--set", "run.checkpoint_every=5"]
    code, _, err = cli(*arguments)
    assert code == 130 and "continue with the same command and --resume" in err
    assert json.loads((folder / "run.json").read_text())["status"] == "interrupted"
    monkeypatch.setattr(Manager, "emit", emit)
    code, _, err = cli(*arguments, "--resume")
    assert code == 0, err
    assert stable_bytes(folder) == stable_bytes(done)


def test_kill_9_and_resume_gives_the_same_bytes(done: Path, picture: Path, common: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    killer = tmp_path / "killer.py"
    killer.write_text(
        "import os, signal, uce\n"
        "class Killer:\n"
        "    @uce.hookimpl\n"
        "    def uce_step(self, event):\n"
        "        if event.update == 9: os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    command = [sys.executable, "-m", "uce.cli", "run", str(picture), "-o", str(folder), *common,
               "--set", "run.checkpoint_every=4"]  # fmt: skip
    killed = subprocess.run([*command, "--plugin", str(killer)], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    resumed = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert resumed.returncode == 0, resumed.stderr
    assert stable_bytes(folder) == stable_bytes(done)


def test_resume_of_a_finished_run_does_nothing(cli: Cli, done: Path, picture: Path, common: list[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*") if path.is_file()}
    assert cli("run", picture, "-o", done, *common, "--resume")[0] == 0
    assert {path: path.stat().st_mtime_ns for path in done.rglob("*") if path.is_file()} == before


def test_run_leaves_other_programs_settings_alone(done: Path) -> None:
    import torch

    assert not torch.are_deterministic_algorithms_enabled()


def test_nearest_words_are_no_names(cli: Cli, done: Path, picture: Path, common: list[str]) -> None:
    """Of a model whose names nobody measured: words in the table and in concepts.json, no label."""
    entries = json.loads((done / "concepts.json").read_text())["concepts"]
    for entry in entries:
        assert 1 <= len(entry["words"]) <= 3 and entry["label"] is None and "confidences" not in entry
    code, out, _ = cli("run", picture, "-o", done, *common, "--resume")
    assert code == 0
    for entry in entries:
        line = next(line for line in out.splitlines() if entry["token"] in line)
        assert f"(nearest words: {', '.join(entry['words'])})" in line and str(done / entry["mask"]) in line
    assert [concept.words for concept in uce.load(done).concepts] == [tuple(e["words"]) for e in entries]


def test_the_users_words_are_labels(
    cli: Cli, picture: Path, common: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uce.core.work import localizing

    drawn: list[list[str]] = []
    draw = localizing.draw_overlay
    monkeypatch.setattr(localizing, "draw_overlay", lambda *a: (drawn.append(a[2]), draw(*a))[1])
    chosen = [*common, "--initializer", "words", "--set"]
    folder, labels = tmp_path / "out", ["cup", "red dog"]
    code, out, err = cli("run", picture, "-o", folder, *chosen, "initializer.words=cup, red dog")
    assert code == 0, err
    assert [entry["label"] for entry in json.loads((folder / "concepts.json").read_text())["concepts"]] == labels
    assert drawn == [["<asset0>", "<asset1>"], ["<asset0> cup", "<asset1> red dog"]]
    assert "red dog  " in out and yaml.safe_load((folder / "config.yaml").read_text())["initializer"]["words"] == labels
    before = stable_bytes(folder)
    assert cli("learn", folder, "--overwrite")[0] == 0
    assert stable_bytes(folder) == before
    code, _, err = cli("run", picture, "-o", tmp_path / "few", *chosen, "initializer.words=cup,dog,cat")
    assert code == 2 and "initializer.words names 3 words (cup, dog, cat) for 2 concepts; give 2, one that" in err
    code, _, err = cli("run", picture, "-o", tmp_path / "none", *common, "--initializer", "words")
    assert (
        code == 2
        and "initializer.words: found [], must name a word per concept, such as" in err
        and not (tmp_path / "none").exists()
    )


def test_textual_inversion_and_nearest_words(cli: Cli, picture: Path, common: list[str], tmp_path: Path) -> None:
    stages = ["--initializer", "nearest-words", "--optimizer", "textual-inversion", "--set", "optimizer.steps=4",
              "--set", "run.sample_steps=1"]  # fmt: skip
    flags = [*common[: -len(QUICK)], *stages]
    code, _, err = cli("run", picture, "-o", tmp_path / "out", *flags)
    assert code == 0, err
    rows = list(csv.DictReader((tmp_path / "out" / "history.csv").open()))
    assert [row["phase"] for row in rows] == ["crop"] * 4 and float(rows[0]["mse"]) > 0
    concepts = uce.load(tmp_path / "out").concepts
    assert all(concept.label is None and len(concept.words) == 3 for concept in concepts)
    assert {word for concept in concepts for word in concept.words} <= {"cat", "dog", "cup", "asset"}
