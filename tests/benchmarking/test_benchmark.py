"""`uce benchmark` from end to end on a tiny random model."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

import uce

Cli = Callable[..., tuple[int, str, str]]
COMMON = ["optimizer.schedule=batched", "optimizer.steps=2", "optimizer.merge_step=1", "clusterer.clusters=2"]
METHODS = ["plain=clusterer=kmeans,refiner=none", "lower-bound"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures of two boxes with truth and labels."""
    folder = tmp_path_factory.mktemp("set")
    (folder / "truth").mkdir()
    for number, name in enumerate(("a", "b")):
        scene, truth = Image.new("RGB", (64, 64), (190, 210, 230)), Image.new("L", (64, 64))
        for thing, box in enumerate([(4 + 6 * number, 10, 26, 40), (36, 20 + 8 * number, 60, 56)]):
            ImageDraw.Draw(scene).rectangle(box, fill=[(200, 40, 40), (30, 110, 60)][thing])
            ImageDraw.Draw(truth).rectangle(box, fill=thing + 1)
        scene.save(folder / f"{name}.png")
        truth.save(folder / "truth" / f"{name}.png")
    rows = [{"name": "a", "labels": ["easy"]}, {"name": "b", "labels": ["easy", "apart"]}]
    (folder / "index.json").write_text(json.dumps({"scenes": rows}))
    return folder


@pytest.fixture(scope="module")
def flags(tiny_pipeline: Path) -> list[str]:
    settings = [word for text in COMMON for word in ("--set", text)]
    return ["--model", str(tiny_pipeline), "-n", "1", "--steps", "1", *settings]


@pytest.fixture(scope="module")
def done(pictures: Path, tiny_pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished benchmark."""
    out = tmp_path_factory.mktemp("benchmark") / "out"
    uce.benchmark(out, pictures=pictures, methods=METHODS, set=COMMON, model=str(tiny_pipeline), count=1, steps=1)
    return out


def refused(cli: Cli, *arguments: Any) -> str:
    code, out, err = cli("benchmark", *arguments)
    lines = [line for line in err.splitlines() if line.startswith("uce: ")]
    assert code == 2 and not out and len(lines) == 1 and "Traceback" not in err, (code, out, err)
    return lines[0]


def test_tables(done: Path) -> None:
    rows = list(csv.DictReader((done / "table.csv").open()))
    assert [(row["label"], row["method"]) for row in rows] == [
        (label, method) for label in ("all", "easy", "apart") for method in ("plain", "lower-bound")
    ]
    plain, lower = rows[:2]
    assert plain["pictures"] == "2" and plain["concepts"] == "4" and plain["failed"] == "0"
    for key in ("sim_i", "sim_c", "acc_1", "acc_3", "iou", "recall", "precision", "ari", "count_error", "exact_count"):
        assert float(plain[f"{key}_low"]) <= float(plain[key]) <= float(plain[f"{key}_high"])
    assert lower["iou"] == "" and lower["sim_i"] != ""  # its masks are the other method's
    for key in ("bled", "both_recognised", "recomposed", "background_leak"):
        assert 0 <= float(plain[key]) <= 1 and 0 <= float(lower[key]) <= 1
    assert "prompt_following" not in plain  # the encoder reads no texts
    text = (done / "table.md").read_text()
    assert text.startswith("| method | n | concepts | SIM^I | SIM^C | ACC^1 | ACC^3 | IoU |")
    assert "| apart | plain | 1 | 2 |" in text and "ACC among 4 prototypes means little" in text
    per_picture = list(csv.DictReader((done / "pictures.csv").open()))
    assert {(row["method"], row["picture"]) for row in per_picture} == {
        (method, picture) for method in ("plain", "lower-bound") for picture in "ab"
    }
    total = sum(float(row["iou"]) for row in per_picture if row["method"] == "plain")
    assert total / 2 == pytest.approx(float(plain["iou"]), abs=1e-4)


def test_matrices_of_bleed(done: Path) -> None:
    """In benchmark.json for programs, on the page as pictures, of the lower bound, too."""
    bleed = json.loads((done / "benchmark.json").read_text())["bleed"]
    assert list(bleed) == ["plain", "lower-bound"]
    matrices = [matrix for encoders in bleed.values() for matrix in encoders["efficientnet-lite0"].values()]
    assert len(matrices) == 4 and all(sum(row) == pytest.approx(1) for matrix in matrices for row in matrix)
    page = (done / "index.html").read_text()
    assert page.count('<svg class="matrix"') == 4 and "drawn (rows), recognised (columns)" in page


def test_page_shows_pictures_that_exist(done: Path) -> None:
    text = (done / "index.html").read_text()
    links = re.findall(r'src="([^"]+)"', text)
    assert len(links) >= 2 * (2 + 1 + 3)
    assert all((done / link).is_file() for link in links)
    assert str(done) not in text  # links are relative: the folder can be moved


def test_names_are_escaped_on_the_page(done: Path, pictures: Path, tiny_pipeline: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "set", tmp_path / "out"
    shutil.copytree(pictures, folder)
    (folder / "index.json").write_text(json.dumps({"scenes": [{"name": "a", "labels": ["<script>"]}]}))
    uce.benchmark(out, pictures=folder, methods=METHODS[:1], set=COMMON, model=str(tiny_pipeline), masks_only=True)
    assert "<script>" not in (out / "index.html").read_text()
    assert "&lt;script&gt;" in (out / "index.html").read_text()


def test_resuming_a_finished_benchmark_runs_nothing(
    cli: Cli, done: Path, pictures: Path, flags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = {name: (done / name).read_text() for name in ("table.csv", "pictures.csv")}
    monkeypatch.setattr("uce.many.engine.attempt", lambda *a, **k: pytest.fail("ran again"))
    monkeypatch.setattr("uce.api.draw", lambda *a, **k: pytest.fail("drew again"))
    arguments = ["benchmark", "-o", done, "--pictures", pictures, "--methods", *METHODS, *flags]
    code, out, err = cli(*arguments, "--resume", "--json")
    assert code == 0 and "plain on b: 2 concepts, kept from before" in err
    assert {name: (done / name).read_text() for name in tables} == tables
    document = json.loads(out)
    assert document["rows"][0]["method"] == "plain" and document["rows"][0]["acc_1"] is not None
    assert all((done / name).is_file() for name in document["files"].values())


def test_methods_and_pictures_may_be_added(
    cli: Cli, done: Path, pictures: Path, flags: list[str], tmp_path: Path
) -> None:
    out = Path(shutil.copytree(done, tmp_path / "out"))
    before = (out / "runs" / "plain" / "a" / "run.json").read_bytes()
    line = refused(
        cli, "-o", out, "--pictures", pictures, "--methods", *METHODS, *flags, "--set", "optimizer.steps=9", "--resume"
    )
    assert "was begun with another options.set" in line
    code, _, err = cli("benchmark", "-o", out, "--pictures", pictures, "--methods", *METHODS,
                       "twice=clusterer=kmeans,refiner=none,initializer=random", *flags, "--resume")  # fmt: skip
    assert code == 0, err
    assert (out / "runs" / "plain" / "a" / "run.json").read_bytes() == before
    assert (out / "runs" / "twice" / "b" / "run.json").is_file()
    line = refused(cli, "-o", out, "--pictures", pictures, "--methods", "plain=clusterer=kmeans,refiner=saliency",
                   *flags, "--resume")  # fmt: skip
    assert "was begun with another methods.plain" in line


def test_killed_and_resumed(done: Path, pictures: Path, flags: list[str], tmp_path: Path) -> None:
    """kill -9 after the first run; the rest follows, the first is not touched, and the numbers are the same."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "uce.cli", "benchmark", "-o", out, "--pictures", pictures, "--methods", *METHODS,
               *flags, "--json"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("[2/2]"):
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = out / "runs" / "plain" / "a"
    stamp = (first / "embeddings.safetensors").stat().st_mtime_ns
    assert not (out / "table.csv").exists()
    time.sleep(0.01)
    subprocess.run([*command, "--resume"], check=True, capture_output=True, env=environment)
    assert (first / "embeddings.safetensors").stat().st_mtime_ns == stamp
    found, wanted = (list(csv.DictReader((folder / "pictures.csv").open())) for folder in (out, done))
    drop = ("seconds",)
    assert [{k: v for k, v in row.items() if k not in drop} for row in found] == [
        {k: v for k, v in row.items() if k not in drop} for row in wanted
    ]


def test_a_picture_in_which_nothing_is_found_counts_as_missed(
    cli: Cli, pictures: Path, tiny_pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = tmp_path / "blind.py"
    plugin.write_text(
        "import torch, uce\nfrom uce.core import Clusters\n\n\nclass Blind:\n    '''Sees nothing.'''\n\n"
        "    name = 'blind'\n\n    @uce.hookimpl\n    def uce_cluster(self, attention):\n"
        "        return Clusters(torch.full(attention.grid, -1))\n"
    )
    out = tmp_path / "out"
    arguments = ["benchmark", "-o", out, "--pictures", pictures, "--methods", "blind=clusterer=blind", "--masks-only",
                 "--model", tiny_pipeline, "--plugin", plugin]  # fmt: skip
    code, _, err = cli(*arguments)
    assert code == 0 and "blind found nothing in 2 pictures (a, b)" in err
    [row] = [row for row in csv.DictReader((out / "table.csv").open()) if row["label"] == "all"]
    assert (row["failed"], row["iou"], row["recall"], row["count_error"]) == ("2", "0", "0", "2")
    assert "left every cell unassigned" in (out / "index.html").read_text()
    monkeypatch.setattr("uce.many.engine.attempt", lambda *a, **k: pytest.fail("ran again"))
    assert cli(*arguments, "--resume")[0] == 0


def test_overwrite_leaves_other_files(cli: Cli, done: Path, pictures: Path, flags: list[str], tmp_path: Path) -> None:
    out = Path(shutil.copytree(done, tmp_path / "out"))
    (out / "notes.txt").write_text("mine")
    again = ["--pictures", pictures, "--methods", METHODS[0], *flags, "--masks-only"]
    assert "holds another benchmark; continue it with --resume" in refused(cli, "-o", out, *again)
    assert cli("benchmark", "-o", out, *again, "--overwrite")[0] == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert json.loads((out / "runs" / "plain" / "a" / "run.json").read_text())["status"] == "localized"
    assert not (out / "runs" / "plain" / "a" / "evaluation").exists()


def test_wrong_input_is_refused_before_anything_runs(
    cli: Cli, pictures: Path, flags: list[str], tmp_path: Path
) -> None:
    out, good = tmp_path / "out", ["--pictures", str(pictures), "--methods", METHODS[0], *flags]
    cases = {
        "there is no such folder": ["--pictures", "nowhere"],
        "unknown method 'pictures/'": ["--methods", "pictures/"],
        "method x: unknown clusterer 'finsh'": ["--pictures", pictures, "--methods", "x=clusterer=finsh"],
        "Did you mean 'finch'?": ["--pictures", pictures, "--methods", "x=clusterer=finsh"],
        "method plain: unknown key 'optimizer.stepz'": [*good, "--set", "optimizer.stepz=3"],
        "unknown encoder 'dinno'": [*good, "--encoder", "dinno"],
        "unknown label 'esy'; available: apart, easy. Did you mean 'easy'?": [*good, "--label", "esy"],
        "needs at least 2 pictures": [*good, "lower-bound", "--limit", "1"],
        "lower-bound needs tokens": [*good, "lower-bound", "--masks-only"],
        "--objects composes scenes of one split": [*good, "--objects", pictures],
        "found 0 validation objects": [*good[2:], "--objects", pictures],
        "no such folder; give one": [*good, "--truth", tmp_path / "none"],
        "exclude each other": [*good, "--resume", "--overwrite"],
        "--methods-file": [*good[:2], "--methods-file", tmp_path / "none.yaml"],
    }
    for text, arguments in cases.items():
        line = refused(cli, "-o", out, *arguments)
        assert text in line, line
        assert not (out / "runs").exists()
    (tmp_path / "taken").write_text("a file")
    assert "is a file" in refused(cli, "-o", tmp_path / "taken", *good)
    assert "which is not a benchmark's" in refused(cli, "-o", tmp_path, *good)
    part = tmp_path / "part"
    shutil.copytree(pictures, part)
    (part / "truth" / "b.png").unlink()
    assert "unknown picture 'b'" in refused(cli, "-o", out, "--pictures", part, *good[2:])
    (part / "b.jpg").write_bytes((part / "b.png").read_bytes())
    assert "two pictures are called 'b'" in refused(cli, "-o", out, "--pictures", part, *good[2:])
    (part / "index.json").write_text("[]")
    assert "index.json is not readable" in refused(cli, "-o", out, "--pictures", part, *good[2:])


@pytest.mark.slow
def test_quick_finishes_within_ten_minutes(tmp_path: Path) -> None:
    """Time of the processor, so that other work on the machine does not matter; two cores have twice that a minute."""
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    command = [sys.executable, "-m", "uce.cli", "benchmark", "-o", tmp_path / "out", "--quick"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 600
    assert {line.split()[0] for line in done.stdout.splitlines()[:4]} == {
        "method",
        "default",
        "random-masks",
        "lower-bound",
    }
