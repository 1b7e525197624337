"""The grid at work: shared stages, failures, resume, and what is written."""

from __future__ import annotations

import base64
import csv
import io
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from PIL import Image

import uce
from uce.core import ConfigError, ImageError, ModelError, PluginError, RunFolderError
from uce.evaluation.judging import Judging
from uce.evaluation.settings import EvaluationSettings

STABLE = ("concepts.json", "masks/*.png", "embeddings.safetensors", "tokens/*.safetensors", "history.csv")
Options = dict[str, Any]


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "ablation.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def stable_bytes(folder: Path) -> dict[str, bytes]:
    runs = folder / "runs"
    return {
        str(path.relative_to(runs)): path.read_bytes()
        for pattern in STABLE
        for path in sorted(runs.glob(f"*/*/{pattern}"))
    }


def test_every_shared_stage_is_computed_once(
    pictures: list[Path], base: Options, counting: Counter[str], tmp_path: Path
) -> None:
    vary = {"clusterer.strength": [0, 1, 2], "refiner.counting.things": [1, 2]}
    done = uce.ablate(pictures, tmp_path / "out", vary=vary, localize_only=True, **base)
    assert counting == {"load tiny": 1, "extractor": 2, "clusterer": 6, "refiner": 12}
    assert done.counts == {
        "extractor": {"computed": 2, "reused": 10},
        "foreground": {"computed": 2, "reused": 10},
        "clusterer": {"computed": 6, "reused": 6},
        "refiner-counting": {"computed": 12, "reused": 0},
    }
    assert len(done) == 6 and len(done.rows) == 12 and not done.failures
    assert [row["concepts"] for row in done.means] == [1, 2] * 3


def test_learning_is_shared_where_the_masks_agree(
    pictures: list[Path], base: Options, counting: Counter[str], tmp_path: Path
) -> None:
    done = uce.ablate(
        pictures[0], tmp_path / "out", vary={"clusterer.strength": [0, 1], "optimizer.steps": [2]}, **base
    )
    assert counting["clusterer"] == 2
    assert done.counts["initializer"] == done.counts["optimizer"] == {"computed": 1, "reused": 1}
    a, b = (done.run(cell["cell"]) for cell in done.means)
    assert a.concepts[0].embedding.equal(b.concepts[0].embedding)
    assert [stage.get("reused", False) for stage in b.info["stages"]] == [True, True, False, False, True, True, False]


def test_learning_is_not_shared_where_the_masks_differ(pictures: list[Path], base: Options, tmp_path: Path) -> None:
    done = uce.ablate(pictures[0], tmp_path / "out", vary=["refiner.counting.things=1,2"], **base)
    assert done.counts["optimizer"] == {"computed": 2, "reused": 0}


def test_each_model_is_loaded_once(pictures: list[Path], base: Options, counting: Counter[str], tmp_path: Path) -> None:
    vary = {"seed": [0, 1], "model": ["tiny", "tiny2"]}
    uce.ablate(pictures, tmp_path / "out", vary=vary, localize_only=True, **base)
    assert counting["load tiny"] == counting["load tiny2"] == 1


def test_a_cell_is_a_run_that_other_commands_open(pictures: list[Path], base: Options, tmp_path: Path) -> None:
    done = uce.ablate(pictures[0], tmp_path / "out", vary=["refiner.counting.things=1,2"], **base)
    folder = tmp_path / "out" / "runs" / "scene" / "refiner.counting.things-2"
    assert done.run("refiner.counting.things-2").path == folder
    assert len(uce.generate("a photo of <asset1>", folder, steps=1)) == 1
    alone = uce.run(pictures[0], tmp_path / "alone", **{**base, "set": {**base["set"], "refiner.counting.things": 2}})
    for name in ("concepts.json", "embeddings.safetensors", "history.csv", "masks/1.png"):
        assert (alone.path / name).read_bytes() == (folder / name).read_bytes(), name
    assert alone.info["input"]["name"] == uce.load(folder).info["input"]["name"] == "scene.png"


def test_a_localised_cell_can_be_learned_later(pictures: list[Path], base: Options, tmp_path: Path) -> None:
    done = uce.ablate(pictures[0], tmp_path / "out", vary=["refiner.counting.things=1,2"], localize_only=True, **base)
    run = done.run("refiner.counting.things-1")
    assert not run.learned and uce.learn(run.path).learned


@pytest.mark.parametrize(
    ("fault", "text"), [("raise", "ZeroDivisionError: a <b>mess</b>"), ("nothing", "left every cell unassigned")]
)
def test_the_failure_of_a_cell_costs_the_others_nothing(
    pictures: list[Path], base: Options, truth: Path, tmp_path: Path, fault: str, text: str
) -> None:
    vary = {"clusterer.fault": [fault, ""]}
    done = uce.ablate(pictures, tmp_path / "out", vary=vary, localize_only=True, truth=truth, **base)
    assert [(row["failed"], row["pictures"]) for row in done.means] == [(2, 2), (0, 2)]
    assert [text in failure["error"] for failure in done.failures] == [True, True]
    scored = [row.get("iou") for row in done.means]
    assert scored[0] == (0.0 if fault == "nothing" else None), "nothing found is all missed; a crash has no score"
    assert scored[1] == pytest.approx(0.5, abs=0.15)
    mean, other, *single = rows_of(tmp_path / "out")
    assert (mean["status"], other["status"]) == ("2 of 2 failed", "done")
    assert [row["status"] for row in single] == ["failed", "failed", "localized", "localized"]
    assert text in single[0]["error"] and not single[2]["error"]
    markdown = (tmp_path / "out" / "ablation.md").read_text()
    assert "## Failed" in markdown and f"clusterer.fault={fault} on scene: " in markdown and "<b>" not in markdown
    page = (tmp_path / "out" / "ablation.html").read_text()
    assert escape(text) in page and "<b>mess" not in page


def test_a_built_in_that_raises_is_survived_and_leaves_its_traceback(
    pictures: list[Path], base: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: Any, **more: Any) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("uce.core.localisation.finch.finch", broken)
    done = uce.ablate(pictures[0], tmp_path / "out", vary=["clusterer=finch,counting"], localize_only=True, **base)
    (failure,) = done.failures
    path = tmp_path / "out" / "runs" / "scene" / "clusterer-finch" / "error.txt"
    assert failure["error"] == f"ZeroDivisionError: ours; traceback in {path}"
    assert "Traceback" in path.read_text()


def test_an_interrupted_ablation_resumes_to_the_same_bytes(
    pictures: list[Path], base: Options, counting: Counter[str], fault: Callable[[], None], tmp_path: Path
) -> None:
    vary = {"clusterer.fault": ["", "interrupt"], "refiner.counting.things": [1, 2]}
    whole = uce.ablate(pictures, tmp_path / "whole", vary=vary, **base)
    counting.clear()
    fault()
    with pytest.raises(KeyboardInterrupt):
        uce.ablate(pictures, tmp_path / "out", vary=vary, **base)
    assert json.loads((tmp_path / "out" / "ablation.json").read_text())["finished"] is None
    assert counting["extractor"] == 1 and counting["clusterer"] == 2
    done = uce.ablate(pictures, tmp_path / "out", vary=vary, resume=True, **base)
    assert counting["extractor"] == 2 and counting["clusterer"] == 5, "only what was interrupted is called again"
    assert stable_bytes(tmp_path / "out") == stable_bytes(tmp_path / "whole") != {}
    assert done.counts == whole.counts
    drop = re.compile(r"seconds|folder")
    tables = [
        [{k: v for k, v in row.items() if not drop.search(k)} for row in rows_of(tmp_path / name)]
        for name in ("out", "whole")
    ]
    for one, other in zip(*tables, strict=True):
        assert one == other


def test_resuming_a_finished_ablation_runs_nothing_and_may_add_truth(
    pictures: list[Path], base: Options, counting: Counter[str], truth: Path, tmp_path: Path
) -> None:
    vary = ["refiner.counting.things=1,2"]
    first = uce.ablate(pictures, tmp_path / "out", vary=vary, localize_only=True, **base)
    assert "iou" not in first.rows[0]
    counting.clear()
    again = uce.ablate(pictures, tmp_path / "out", vary=vary, localize_only=True, truth=truth, resume=True, **base)
    assert not counting["extractor"] and not counting["clusterer"] and not counting["refiner"]
    assert again.counts == first.counts
    assert {"iou", "precision", "recall", "ari", "count_error"} <= set(again.rows[0])


def test_a_cell_whose_folder_is_gone_is_run_again_from_what_is_shared(
    pictures: list[Path], base: Options, counting: Counter[str], tmp_path: Path
) -> None:
    vary = ["refiner.counting.things=1,2"]
    uce.ablate(pictures[0], tmp_path / "out", vary=vary, localize_only=True, **base)
    before = stable_bytes(tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "runs" / "scene" / "refiner.counting.things-1")
    counting.clear()
    uce.ablate(pictures[0], tmp_path / "out", vary=vary, localize_only=True, resume=True, **base)
    assert stable_bytes(tmp_path / "out") == before and not counting["extractor"]


@pytest.fixture
def begun(pictures: list[Path], base: Options, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """A copy of one ablation, made by the first test that wants it."""
    made = tmp_path_factory.getbasetemp() / "begun"
    if not made.is_dir():
        uce.ablate(pictures, made, vary=["seed=0,1"], localize_only=True, **base)
    return Path(shutil.copytree(made, tmp_path / "out"))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"vary": ["seed=1,2"]}, "was begun with --vary seed=0,1, now --vary seed=1,2; ask for the same, with more"),
        ({"vary": ["seed=0,1", "refiner.counting.things=1"]}, "now --vary seed=0,1 --vary refiner.counting.things=1"),
        ({"one_at_a_time": True}, "was begun with no --one-at-a-time, now with it"),
        ({"localize_only": False}, "was begun with --localize-only, now without it"),
        ({"images": 1}, "was begun with the pictures scene, a & b, now scene"),
        ({"images": "other"}, "was begun with another picture under the name a & b"),
        ({"set": {"clusterer.strength": 3}}, r"was begun with clusterer\.strength=0\.0, now 3\.0; leave the setting"),
        ({"clusterer": "kmeans"}, r"was begun with clusterer\."),
    ],
)
def test_a_changed_grid_is_refused_with_the_difference(
    pictures: list[Path], base: Options, begun: Path, tmp_path: Path, change: Options, text: str
) -> None:
    given = {"vary": ["seed=0,1"], "localize_only": True, **base}
    images: list[Any] = list(pictures)
    if change.get("images") == 1:
        images = pictures[:1]
    elif change.get("images") == "other":
        images[1] = tmp_path / "a & b.png"
        Image.new("RGB", (36, 36), "red").save(images[1])
    change = {key: value for key, value in change.items() if key != "images"}
    with pytest.raises((RunFolderError, ConfigError), match=text):
        uce.ablate(images, begun, resume=True, **{**given, **change})


def test_a_folder_is_refused_unless_it_may_be_used(pictures: list[Path], base: Options, tmp_path: Path) -> None:
    given: Options = {"vary": ["refiner.counting.things=1,2"], "localize_only": True, **base}
    out = tmp_path / "out"
    uce.ablate(pictures[0], out, resume=True, **given)  # nothing there: it begins
    with pytest.raises(RunFolderError, match="holds another ablation; continue it with --resume, replace it with"):
        uce.ablate(pictures[0], out, **given)
    with pytest.raises(RunFolderError, match="exclude each other"):
        uce.ablate(pictures[0], out, resume=True, overwrite=True, **given)
    uce.ablate(pictures[0], out, overwrite=True, **{**given, "vary": ["refiner.counting.things=2"]})
    assert [path.name for path in (out / "runs" / "scene").iterdir()] == ["refiner.counting.things-2"]
    (out / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match=r"holds 'notes.txt', which is not an ablation's"):
        uce.ablate(pictures[0], out, overwrite=True, **given)
    with pytest.raises(RunFolderError, match=r"notes.txt is a file; give a folder with -o"):
        uce.ablate(pictures[0], out / "notes.txt", **given)
    run = uce.load(out / "runs" / "scene" / "refiner.counting.things-2")
    with pytest.raises(RunFolderError, match="which is not an ablation's"):
        uce.ablate(pictures[0], run.path, overwrite=True, **given)
    (out / "notes.txt").unlink()
    (out / "ablation.json").write_text('{"format": 99}')
    with pytest.raises(RunFolderError, match="has format 99, this uce reads up to 1"):
        uce.ablate(pictures[0], out, resume=True, **given)


def test_what_is_wrong_is_said_before_anything_is_written(
    pictures: list[Path], base: Options, truth: Path, tmp_path: Path
) -> None:
    out, vary = tmp_path / "out", ["seed=0,1"]
    missing = [*pictures, tmp_path / "nothing.png"]
    for arguments, error, text in (
        ({"images": missing}, ImageError, "nothing.png' does not exist"),
        ({"images": []}, ConfigError, "no picture to work on"),
        ({"images": [pictures[0], pictures[0]]}, ConfigError, "two pictures are called 'scene'"),
        ({"truth": tmp_path}, ConfigError, "unknown picture 'scene'"),
        ({"model": "tinny"}, ModelError, "model 'tinny' does not exist"),
        ({"vary": ["clusterer=finhc"]}, PluginError, "Did you mean 'finch'"),
    ):
        given = {"images": pictures, "out": out, "vary": vary, **base, **arguments}
        with pytest.raises(error, match=text):
            uce.ablate(**given)
    assert not out.exists()


def test_a_model_of_several_that_cannot_be_loaded_is_a_failure_of_its_cells(
    pictures: list[Path], base: Options, tmp_path: Path
) -> None:
    done = uce.ablate(pictures[0], tmp_path / "out", vary=["model=tiny,tinny"], localize_only=True, **base)
    assert [row["status"] for row in done.rows] == ["localized", "failed"]
    assert "model 'tinny' does not exist" in done.failures[0]["error"]


def test_the_csv_has_means_and_single_rows_with_every_measure(
    pictures: list[Path], base: Options, truth: Path, tmp_path: Path
) -> None:
    done = uce.ablate(pictures, tmp_path / "out", vary=["refiner.counting.things=1,2"], truth=truth, **base)
    rows = rows_of(tmp_path / "out")
    ends = ("_sd", "_difference", "_low", "_high")
    assert [name for name in rows[0] if not name.endswith(ends)] == [
        "cell", "picture", "refiner.counting.things", "settings", "status", "n", "concepts", "share", "iou",
        "precision", "recall", "ari", "count_error", "exact_count",
        "loss.attention", "loss.contrastive", "loss.masked_mse", "loss.total",
        "seconds.extractor", "seconds.foreground", "seconds.clusterer", "seconds.refiner", "seconds.initializer",
        "seconds.optimizer",
        "seconds.samples", "seconds.total", "reused", "error", "folder",
    ]  # fmt: skip
    assert [row["picture"] for row in rows] == ["(mean)"] * 2 + ["scene", "a & b"] * 2
    assert rows[2]["folder"] == "runs/scene/refiner.counting.things-1"
    assert (tmp_path / "out" / rows[2]["folder"] / "run.json").is_file()
    assert [row["reused"] for row in rows[2:]] == ["", "", *["extractor+foreground+clusterer"] * 2]
    for name in ("concepts", "iou", "loss.total", "seconds.extractor"):
        single = [float(row[name]) for row in rows[2:4]]
        assert float(rows[0][name]) == pytest.approx(sum(single) / 2, rel=1e-4), name
        assert done.means[0][name] == pytest.approx(float(rows[0][name]), rel=1e-4)
    assert rows[2]["count_error"] == "1" and rows[4]["count_error"] == "0"


def test_the_page_needs_no_other_file_and_shows_every_overlay(
    pictures: list[Path], base: Options, truth: Path, tmp_path: Path
) -> None:
    uce.ablate(pictures, tmp_path / "out", vary=["refiner.counting.things=1,2"], truth=truth, **base)
    page = (tmp_path / "out" / "ablation.html").read_text()
    sources = re.findall(r'<img src="([^"]*)"', page)
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    sides = []
    for source in sources:
        with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as picture:
            sides.append(max(picture.size))
    assert len([side for side in sides if side > 112]) == 2 * 2 + 2, "two overlays and the truth of each picture"
    assert "a &amp; b" in page and "a & b" not in page
    assert not re.search(r"<script|<link|url\(|@import|https?://", page)
    for link in re.findall(r'href="(runs[^"]+)"', page):
        assert (tmp_path / "out" / unquote(link)).is_file()


def test_names_from_outside_are_escaped(base: Options, tmp_path: Path) -> None:
    path = tmp_path / "<i>x.png"
    Image.new("RGB", (40, 40), "white").save(path)
    vary = {"model": ["tiny", "<script>alert(1)</script>|"]}
    uce.ablate(path, tmp_path / "out", vary=vary, localize_only=True, **base)
    page = (tmp_path / "out" / "ablation.html").read_text()
    assert "<script" not in page and "<i>" not in page and "&lt;script&gt;alert(1)" in page
    markdown = (tmp_path / "out" / "ablation.md").read_text()
    assert "<" not in markdown and "&lt;/script>\\|" in markdown


def test_pictures_may_be_arrays(base: Options, tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 40), "white")
    done = uce.ablate([picture, picture], tmp_path / "out", vary=["seed=0"], localize_only=True, **base)
    assert [row["picture"] for row in done.rows] == ["picture1", "picture2"]


def test_observers_hear_of_every_cell(pictures: list[Path], base: Options, tmp_path: Path) -> None:
    heard: list[Any] = []

    class Observer:
        @uce.hookimpl
        def uce_cell_finished(self, event: Any) -> None:
            heard.append((event.number, event.total, event.picture, event.cell, event.status, event.error is None))

    vary = ["clusterer.fault=raise,''"]
    uce.ablate(pictures[0], tmp_path / "out", vary=vary, localize_only=True, observers=[Observer()], **base)
    assert heard == [
        (1, 2, "scene", "clusterer.fault=raise", "failed", False),
        (2, 2, "scene", "clusterer.fault=", "localized", True),
    ]


def test_a_grid_grows_by_values_and_pictures(
    pictures: list[Path], base: Options, counting: Counter[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    common: Options = {"localize_only": True, "resume": True, **base}
    uce.ablate(pictures[:1], out, vary={"clusterer.strength": [1, 2]}, **common)
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*.png")}
    counting.clear()
    more = uce.ablate(pictures[:1], out, vary={"clusterer.strength": [0, 1, 2]}, **common)
    assert (counting["extractor"], counting["clusterer"]) == (0, 1), "what is new, and nothing else"
    assert [row["clusterer.strength"] for row in more.means] == ["0", "1", "2"]
    counting.clear()
    both = uce.ablate(pictures, out, vary={"clusterer.strength": [0, 1, 2]}, **common)
    assert (counting["extractor"], counting["clusterer"]) == (1, 3)
    assert [(row["runs"], row["failed"]) for row in both.means] == [(2, 0)] * 3
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    whole = uce.ablate(pictures, tmp_path / "whole", vary={"clusterer.strength": [0, 1, 2]}, **common)
    assert stable_bytes(out) == stable_bytes(tmp_path / "whole") and whole.counts == both.counts


def test_single_changes_may_be_added_with_new_keys(pictures: list[Path], base: Options, tmp_path: Path) -> None:
    common: Options = {"localize_only": True, "one_at_a_time": True, "resume": True, **base}
    uce.ablate(pictures[:1], tmp_path / "out", vary={"clusterer.strength": [1]}, **common)
    vary = {"clusterer.strength": [1], "refiner.counting.things": [1]}
    done = uce.ablate(pictures[:1], tmp_path / "out", vary=vary, **common)
    assert [row["title"] for row in done.means] == ["base", "clusterer.strength=1", "refiner.counting.things=1"]
    with pytest.raises(RunFolderError, match=r"now --vary clusterer\.strength=1 --vary seed=0,1"):
        uce.ablate(pictures[:1], tmp_path / "out", vary={"clusterer.strength": [1], "seed": [0, 1]}, **common)


def test_cells_that_are_added_keep_the_settings_that_were_begun_with(
    pictures: list[Path], base: Options, tmp_path: Path
) -> None:
    uce.ablate(pictures[:1], tmp_path / "out", vary={"clusterer.strength": [1]}, localize_only=True, **base)
    given = {key: value for key, value in base.items() if key != "set"}
    vary = {"clusterer.strength": [1, 2]}
    done = uce.ablate(pictures[:1], tmp_path / "out", vary=vary, localize_only=True, resume=True, **given)
    assert [cell["config"]["optimizer"]["steps"] for cell in done.document["cells"]] == [3, 3]


def test_a_plugin_whose_code_changed_makes_its_cells_stale(
    pictures: list[Path], base: Options, counting: Counter[str], tmp_path: Path
) -> None:
    plugin = tmp_path / "mine.py"
    code = (
        "import uce\nfrom uce.testing import tiny_labels\nfrom uce.core import Clusters\n\n\nclass Mine:\n"
        "    '''Halves.'''\n\n    name = 'mine'\n\n    @uce.hookimpl\n    def uce_cluster(self, attention):\n"
        "        return Clusters(tiny_labels(things=2) - 1)\n"
    )
    plugin.write_text(code)
    common: Options = {"vary": ["clusterer=counting,mine"], "localize_only": True, **base, "plugin": [str(plugin)]}
    first = uce.ablate(pictures, tmp_path / "out", **common)
    assert [row["concepts"] for row in first.means] == [2, 2]
    plugin.write_text(code.replace("tiny_labels(things=2) - 1", "tiny_labels(things=2).clamp(max=1) - 1"))
    counting.clear()
    again = uce.ablate(pictures, tmp_path / "out", resume=True, **common)
    assert [row["concepts"] for row in again.means] == [2, 1] and counting["clusterer"] == 0
    assert again.document["notes"] == ["the clusterer mine changed: 2 runs computed again"]
    for name in ("ablation.md", "ablation.html", "ablation.tex"):
        assert "the clusterer mine changed: 2 runs computed again" in (tmp_path / "out" / name).read_text()
    assert uce.ablate(pictures, tmp_path / "out", resume=True, **common).document["notes"] == []


def test_a_cell_that_exits_keeps_its_reason_and_costs_the_others_nothing(
    pictures: list[Path], base: Options, tmp_path: Path
) -> None:
    vary = {"clusterer.fault": ["exit", ""]}
    done = uce.ablate(pictures[:1], tmp_path / "out", vary=vary, localize_only=True, **base)
    assert [row["status"] for row in done.rows] == ["failed", "localized"]
    path = tmp_path / "out" / "runs" / "scene" / "clusterer.fault-exit" / "error.txt"
    assert done.failures[0]["error"] == (
        f"clusterer 'counting' (uce-counting 1.0) raised ExitedError: sys.exit(3); traceback in {path}"
    )


def test_tokens_are_judged_and_drawn_once(
    pictures: list[Path], base: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base["set"] |= {"evaluate.count": 1, "evaluate.steps": 1}
    common: Options = {"vary": {"refiner.counting.things": [1, 2]}, "evaluate": True, **base}
    done = uce.ablate(pictures, tmp_path / "out", **common)
    for row in done.rows:
        assert -1 <= row["sim_i"] <= 1 and -1 <= row["sim_c"] <= 1 and 0 <= row["acc_1"] <= row["acc_3"] <= 1
    assert {"sim_i", "sim_c", "acc_1", "acc_3"} <= done.means[0]["difference"].keys(), "the second is the base"
    assert "both_recognised" in done.means[1] and (tmp_path / "out" / "ablation.html").read_text().count("<svg class=")
    matrix = next(row["bleed"] for row in done.document["results"] if row["cell"] == done.means[1]["cell"])
    assert len(matrix) == 2 and all(sum(row) == pytest.approx(1) for row in matrix)
    paths = [run.path for run in (done.run(cell, "scene") for cell in (row["cell"] for row in done.means))]
    alone = uce.evaluate([done.run(done.means[1]["cell"], p.stem) for p in pictures], count=1, steps=1).summary()
    for name in ("sim_i", "sim_c", "acc_1", "acc_3"):
        assert done.means[1][name] == pytest.approx(alone["encoders"]["efficientnet-lite0"][name], abs=1e-6), name
    assert all(list((path / "evaluation").glob("*.png")) for path in paths)
    monkeypatch.setattr("uce.api.draw", lambda *a, **k: pytest.fail("drew again"))
    assert uce.ablate(pictures, tmp_path / "out", resume=True, **common).means == done.means


def test_drawing_that_fails_is_a_failure_of_its_cell(
    pictures: list[Path], base: Options, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(self: Any, run: uce.Run) -> None:
        if run.path.name.endswith("things-1"):
            raise ZeroDivisionError("no paint")

    monkeypatch.setattr("uce.evaluation.judging.Judging.draw", draw)
    monkeypatch.setattr("uce.evaluation.judging.Judging.of", lambda *_: Judging(EvaluationSettings(), {}))
    vary = {"refiner.counting.things": [1, 2]}
    done = uce.ablate(pictures[:1], tmp_path / "out", vary=vary, evaluate=True, **base)
    assert [row["status"] for row in done.rows] == ["failed", "done"]
    assert done.failures[0]["error"].startswith("ZeroDivisionError: no paint; traceback in ")
    monkeypatch.setattr("uce.evaluation.judging.Judging.draw", lambda *_: None)
    again = uce.ablate(pictures[:1], tmp_path / "out", vary=vary, evaluate=True, resume=True, **base)
    assert not again.failures and again.counts == done.counts


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"evaluate": True, "localize_only": True}, "--evaluate draws from tokens, which --localize-only does not"),
        ({"encoder": "clip"}, "--encoder is for --evaluate; add that, or leave it out"),
        ({"set": ["evaluate.count=2"]}, "evaluate.count=2 is for --evaluate; add that"),
        ({"evaluate": True, "encoder": "clop"}, "unknown encoder 'clop'.* Did you mean 'clip'"),
    ],
)
def test_what_does_not_go_with_drawing_is_said(
    pictures: list[Path], base: Options, tmp_path: Path, given: Options, text: str
) -> None:
    with pytest.raises((ConfigError, PluginError), match=text):
        uce.ablate(pictures[:1], tmp_path / "out", vary=["seed=0,1"], **{**base, **given})
    assert not (tmp_path / "out").exists()
