"""report.html: whole, escaped, small, the same every time, and honest about what is missing."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import uce
from uce.reporting import maps, outline, plots
from uce.reporting.page import open_run, render_report

Read = Callable[[Path], Any]
Cli = Callable[..., tuple[int, str, str]]
HOSTILE = "<script>alert('x')</script>"


def test_every_concept_is_shown_with_all_it_has(folder: Path, read: Read) -> None:
    page = read(uce.report(folder))
    concepts = uce.load(folder).concepts
    assert len(concepts) == 2
    outlines = [tag for tag in page.all("path") if "data-concept" in tag]
    assert [tag["data-concept"] for tag in outlines] == ["0", "1"]
    assert all(tag["tabindex"] == "0" and tag["role"] == "button" and tag["d"].startswith("M") for tag in outlines)
    alts = [tag["alt"] for tag in page.all("img")]
    for concept in concepts:
        assert f'id="concept-{concept.index}"' in (folder / "report.html").read_text()
        assert concept.token in page.text and all(word in page.text for word in concept.words)
        for beginning in ("saliency inside ", "where the cells of "):
            assert any(alt.startswith(f"{beginning}{concept.token}") for alt in alts)
        for end in ("the part of the picture that shows it", "the picture inside its mask"):
            assert any(alt.startswith(concept.token) and alt.endswith(end) for alt in alts)
        assert f"sample 1 drawn from: a photo of {concept.token}" in alts
    assert "sample drawn from all tokens in one prompt" in alts
    assert {"clusters: ", "saliency: ", "concepts: "} <= {alt.split(": ")[0] + ": " for alt in alts}
    assert "refiner none changed nothing" in " ".join(page.text.split())
    labels = [tag.get("aria-label", "") for tag in page.all("figure")]
    assert {"total", "masked_mse", "attention"} <= {label.split(":")[0] for label in labels}
    assert "uce run input.png --config config.yaml -o ../again" in page.text
    assert "a & b.png" in page.text and "optimizer" in page.text and "torch" in page.text


def test_it_needs_nothing_else(folder: Path, read: Read) -> None:
    path = uce.report(folder)
    text, page = path.read_text(), read(path)
    assert path == folder / "report.html" and path.stat().st_size < 5_000_000
    assert not page.all("link") and not page.all("iframe")
    assert all(tag["alt"] for tag in page.all("img"))
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), "no handlers in attributes"
            if name in ("src", "href", "xlink:href", "data", "poster"):
                assert value.startswith(("data:image/jpeg;base64,", "#"))
    assert not re.search(r"url\((?!#)|@import", text)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)


def test_what_others_wrote_is_escaped(folder: Path, read: Read) -> None:
    document = json.loads((folder / "run.json").read_text())
    document["input"]["name"] = f"</title>{HOSTILE}"
    (folder / "run.json").write_text(json.dumps(document))
    path = uce.report(folder)
    page, text = read(path), path.read_text()
    assert text.count("<script") == 2 and "alert('x')</script>" not in text
    assert HOSTILE in page.text  # as words
    labels = [tag["aria-label"] for tag in page.all("path") if "data-concept" in tag]
    assert HOSTILE in labels[0]


def test_the_same_run_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    assert uce.report(folder).read_bytes() == uce.report(folder, tmp_path / "again.html").read_bytes()


LACKS: list[tuple[str, list[str], str]] = [
    ("stages", ["stages"], "Affinity and saliency are not in the folder"),
    ("picture", ["input.png"], "The picture input.png is missing"),
    ("tokens", ["embeddings.safetensors", "samples", "history.csv"], "No tokens were learned yet"),
    ("mask", ["masks/0.png"], "Some masks are missing"),
    ("settings", ["config.yaml"], "The settings, config.yaml, are missing"),
    ("concepts", ["concepts.json"], "there are no concepts yet"),
]


@pytest.mark.parametrize(("names", "said"), [row[1:] for row in LACKS], ids=[row[0] for row in LACKS])
def test_what_is_missing_is_said(folder: Path, read: Read, names: list[str], said: str) -> None:
    for name in names:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    page = read(uce.report(folder))
    assert "Not on this page" in page.text and said in page.text


def test_a_sparse_old_run_still_gives_a_page(tmp_path: Path, read: Read) -> None:
    (tmp_path / "run.json").write_text('{"format": 1, "status": "imported", "mode": "import", "stages": null}')
    entry = {"index": 0, "token": "<cup>", "area": 0, "share": 0, "score": 0, "bbox": [0, 0, 0, 0], "label": "cup"}
    (tmp_path / "concepts.json").write_text(json.dumps({"image": None, "concepts": [entry]}))
    page = read(uce.report(tmp_path))
    assert "These tokens were imported" in page.text and "<cup>" in page.text


def test_a_broken_plotting_library_costs_the_plots_only(
    folder: Path, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ImportError("no backend")

    monkeypatch.setattr(plots, "_drawn", broken)
    page = read(uce.report(folder))
    assert "The loss curves could not be drawn (ImportError: no backend)." in page.text
    assert "The token plot could not be drawn" in page.text or "nearest words were not kept" in page.text


def test_too_large_a_page_shows_less(folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    Image.fromarray(noise).save(folder / "samples" / "asset0.png")
    run = open_run(folder)
    whole = render_report(run)
    assert len(render_report(run, limit=len(whole) - 1)) < len(whole)


def test_the_command(cli: Cli, folder: Path, tmp_path: Path, plugin: Path, picture: Path) -> None:
    code, text, said = cli("report", folder)
    assert code == 0 and text.startswith(f"{folder / 'report.html'} (") and not said
    code, text, said = cli("report", folder, "--json", "-o", tmp_path / "x.html")
    assert code == 0, said
    assert json.loads(text) == {"file": str(tmp_path / "x.html"), "bytes": (tmp_path / "x.html").stat().st_size}
    (tmp_path / "notes.txt").write_text("mine")
    newer = json.loads((folder / "run.json").read_text()) | {"format": 99}
    later = Path(shutil.copytree(folder, tmp_path / "later"))
    (later / "run.json").write_text(json.dumps(newer))
    for arguments, expected in [
        ((tmp_path / "none",), "is no run folder"),
        ((folder, folder), "a report is about one run, found 2 folders"),
        ((folder, "-o", tmp_path / "notes.txt"), "is no page that uce wrote"),
        ((folder, "-o", tmp_path), "is a folder; give a file name"),
        ((folder, "--compare"), "found 1 run in what was given; give at least two"),
        ((later,), "format"),
    ]:
        code, text, said = cli("report", *arguments)
        assert code == 2 and expected in said and said.count("\n") == 1 and not text
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_run_ends_with_its_report(
    cli: Cli, tmp_path: Path, plugin: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from uce.reporting import page

    common = ["--plugin", plugin, "--model", "tiny", "--extractor", "small", "--clusterer", "small",
              "--refiner", "none", "--set", "optimizer.steps=2",
              "--set", "optimizer.merge_step=1", "--set", "run.samples=0"]  # fmt: skip
    out, seen = tmp_path / "out", []
    write = page.write_report
    monkeypatch.setattr(page, "write_report", lambda f: (seen.append(uce.load(f).info["status"]), write(f)))
    code, text, said = cli("run", picture, "-o", out, *common)
    assert code == 0, said
    assert seen == ["done"] and (out / "report.html").is_file() and "seen in " + str(out / "report.html") in text
    code, text, _ = cli("learn", out, "--plugin", plugin, "--overwrite", "--no-report", "--json")
    assert code == 0 and not (out / "report.html").exists() and "report" not in json.loads(text)["files"]
    monkeypatch.setattr(page, "write_report", lambda f: 1 / 0)
    code, _, said = cli("run", picture, "-o", out, *common, "--overwrite")
    assert code == 0 and "without report.html: division by zero; uce report tries again" in said
    assert uce.load(out).info["status"] == "done"


def test_compare(cli: Cli, folder: Path, made: Path, tmp_path: Path, read: Read) -> None:
    config = (folder / "config.yaml").read_text().replace("steps: 4", "steps: 7")
    (folder / "config.yaml").write_text(config)
    out = tmp_path / "compare.html"
    code, _, said = cli("report", "--compare", folder, made, "-o", out)
    assert code == 0, said
    page = read(out)
    assert "2 runs compared" in page.text and "optimizer.steps" in page.text and "optimizer.merge_step" not in page.text
    assert len([tag for tag in page.all("img") if tag["alt"].startswith("what ")]) == 2
    assert all(tag["src"].startswith("data:") and tag["alt"] for tag in page.all("img"))
    first = out.read_bytes()
    assert HOSTILE.encode() not in first
    assert uce.report([folder, made], out, compare=True).read_bytes() == first


def test_an_ablation_stands_for_its_runs(cli: Cli, made: Path, tmp_path: Path, read: Read) -> None:
    whole = tmp_path / "ablation"
    for cell in ("steps-1", "steps-2"):
        shutil.copytree(made, whole / "runs" / "desk" / cell)
    (whole / "ablation.json").write_text("{}")
    code, _, said = cli("report", whole)
    assert code == 2 and "is an ablation's; open " in said
    page = read(uce.report(whole, tmp_path / "c.html", compare=True))
    assert "steps-1" in page.text and "steps-2" in page.text and "the runs had the same settings" in page.text


def test_outline_follows_the_mask() -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:15, 10:20] = True
    path = outline.svg_path(mask)
    assert path.count("M") == 1 and path.count("L") <= 8
    numbers = np.array(re.findall(r"[\d.]+", path), float).reshape(-1, 2)
    assert numbers.min(axis=0) == pytest.approx([10, 5], abs=0.51)
    assert numbers.max(axis=0) == pytest.approx([20, 15], abs=0.51)
    mask[8:12, 13:17] = False
    assert outline.svg_path(mask).count("M") == 2


def test_heat_lies_over_the_part_that_the_model_saw() -> None:
    wide = np.zeros((40, 80, 3), np.uint8)
    grid = np.zeros((8, 8))
    grid[2:6, 4:] = 1  # padded: rows 2 to 5 show the picture; its right half is hot
    heat = np.asarray(maps.Sheet.of(wide, "pad", 80).heat(grid)).astype(int).sum(axis=2)
    assert heat.shape == (40, 80) and heat[20, 70] > 500 and heat[20, 10] < 150 and heat[8, 70] > 500
    cropped = np.asarray(maps.Sheet.of(wide, "crop", 80).heat(np.ones((8, 8))))
    assert (cropped[:, :20] == 128).all() and (cropped[:, 60:] == 128).all() and (cropped[:, 21:59] != 128).any()


def test_reduced_affinity_keeps_what_matters() -> None:
    import torch

    affinity = torch.full((16, 16), 0.5 / 16)
    affinity[:, :2] += 0.25  # everybody looks at the first two cells
    rows, small = maps.blocks(affinity, (4, 4), 2)
    assert small == (2, 2) and rows.shape == (4, 16) and torch.allclose(rows.sum(dim=1), torch.ones(4))
    values = maps.quantised(rows, (4, 4), small)
    assert values.dtype == np.uint8 and (values.argmax(axis=1) == 0).all() and (values.max(axis=1) == 255).all()
    labels = np.full((4, 4), -1)
    labels[0, :2] = 0
    assert maps.shares(rows, labels, 1).ravel().tolist() == [112] * 4  # 56.25 % in half percents


def test_labels_of_the_plot_keep_apart() -> None:
    points = np.random.default_rng(0).normal(size=(9, 6))
    svg = plots.embedding_plot(["<a>", "<b$1$>", "<c>"], ["#ff0000"] * 3, points[:3], list("uvwxyz"), points[3:])
    assert "&lt;b$1$&gt;" in svg and "<a>" not in svg and "var(--ink)" in svg and "#010101" not in svg


def test_both_commands_are_told_where_a_folder_was_learned_later(folder: Path, read: Read) -> None:
    info = json.loads((folder / "run.json").read_text())
    info |= {"command": "uce localize a.png", "learn_command": "uce learn out --names cup"}
    (folder / "run.json").write_text(json.dumps({**info, "mode": "learn"}))
    assert all(command in read(uce.report(folder)).text for command in (info["command"], info["learn_command"]))
    (folder / "run.json").write_text(json.dumps({**info, "mode": "run"}))
    assert info["learn_command"] not in read(uce.report(folder)).text, "it was run anew since"


def test_runs_of_equal_loss_are_told_apart() -> None:
    curve = ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0])
    drawn = plots.losses_together({"a": curve, "b": curve}, ["#aa0000", "#00aa00"])
    first, second = (
        next(line for line in drawn.splitlines() if f"stroke: {c}" in line) for c in ("#aa0000", "#00aa00")
    )
    assert "stroke-dasharray" not in first and "stroke-dasharray" in second


def test_a_thing_from_several_pictures_is_shown_in_each(tmp_path: Path) -> None:
    from uce.core.files.writing import write_picture
    from uce.testing import tiny_run

    run = tiny_run(tmp_path / "run")
    concept = run.concepts[0]
    picture, mask = np.full((20, 30, 3), 90, np.uint8), np.zeros((20, 30), bool)
    mask[4:12, 6:20] = True
    write_picture(run.path / "pictures" / "1.png", picture)
    write_picture(run.path / "pictures" / f"1-{concept.index}.png", mask)
    rows = [{"name": name, "digest": name, "concepts": {concept.token: 0}} for name in ("a.png", "kitchen.png")]
    run.folder.update_run(pictures=rows)
    text = uce.report(run.path).read_text(encoding="utf-8")
    name = f"{concept.token} ({concept.label})".replace("<", "&lt;").replace(">", "&gt;")
    assert f"{name} in kitchen.png" in text
    assert "cp -r . ../again" in text and "in a.png" not in text
