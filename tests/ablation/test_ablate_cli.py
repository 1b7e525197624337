"""`uce ablate` from end to end on the embedded model, and what it says where it cannot."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
DESK, TRUTH = ROOT / "examples" / "desk.png", ROOT / "examples" / "truth"
Cli = Callable[..., tuple[int, str, str]]
SMALL = ["--extractor", "self-attention", "--set", "extractor.cells=16", "--set", "run.threads=1"]
QUICK = ["--set", "optimizer.steps=2", "--set", "optimizer.merge_step=1", "--set", "run.samples=0"]


def test_from_pictures_to_tables(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["ablate", DESK, "-o", out, "--clusterer", "kmeans", "--refiner", "none", *SMALL,
                 "--vary", "clusterer.clusters=2,3"]  # fmt: skip
    code, text, said = cli(*arguments, "--vary", "optimizer.steps=1,2", "--truth", TRUTH, *QUICK)
    assert code == 0, said
    assert text.startswith("model mini (cpu, ") and "extractor: computed 1, reused 3\n" in text
    assert "clusterer: computed 2, reused 2\n" in text and "optimizer: computed 4, reused 0\n" in text
    assert "[4/4] desk  clusterer.clusters=3, optimizer.steps=2  done, " in said
    assert sorted(path.name for path in out.iterdir()) == [
        "ablation.csv", "ablation.html", "ablation.json", "ablation.md", "ablation.tex", "cache", "runs",
    ]  # fmt: skip
    with (out / "ablation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and all(0 < float(row["iou"]) <= 1 and float(row["loss.total"]) > 0 for row in rows)
    assert (out / "runs" / "desk" / "clusterer.clusters-2_optimizer.steps-1" / "embeddings.safetensors").is_file()
    code, _, said = cli(*arguments, "--vary", "optimizer.steps=1,2", *QUICK)
    assert code == 2 and "holds another ablation; continue it with --resume" in said
    code, text, said = cli(*arguments, "--vary", "optimizer.steps=1,2", *QUICK, "--resume", "--json")
    assert code == 0 and said.count("done before\n") == 4
    document = json.loads(text)
    assert document["counts"]["extractor"] == {"computed": 1, "reused": 3} and document["folder"] == str(out)
    code, _, said = cli(*arguments, "--vary", "optimizer.steps=1,3", *QUICK, "--resume")
    assert code == 2 and "now --vary clusterer.clusters=2,3 --vary optimizer.steps=1,3; ask for the same" in said


FAILING = '''
import uce

class Failing:
    """Fails."""

    name = "failing"

    @uce.hookimpl
    def uce_cluster(self, attention):
        raise ValueError("no luck")

PLUGIN = Failing()
'''


def test_failed_cells_are_told_and_count_only_where_all_fail(cli: Cli, tmp_path: Path) -> None:
    plugin, out = tmp_path / "failing.py", tmp_path / "out"
    plugin.write_text(FAILING)
    common = ["ablate", DESK, "-o", out, "--plugin", plugin, "--refiner", "none", *SMALL, "--localize-only"]
    code, text, said = cli(*common, "--vary", "clusterer=failing,kmeans")
    assert code == 0 and "1 of 1" in text and "failed: clusterer=failing on desk: clusterer 'failing'" in said
    code, text, said = cli(*common, "--vary", "clusterer=failing", "--overwrite", "--json")
    assert code == 2 and said.rstrip().endswith("uce: every cell failed; mend what the lines above say, then --resume")
    assert json.loads(text)["results"][0]["status"] == "failed"


def test_learning_that_could_be_spared_is_pointed_out(cli: Cli, tmp_path: Path) -> None:
    common = ["ablate", tmp_path / "no.png", "-o", tmp_path / "out"]
    hint = "nothing after stage three varies: --localize-only would compare the masks alone"
    assert hint in cli(*common, "--vary", "clusterer=finch,kmeans", "--vary", "refiner.merge.threshold=1,2")[2]
    assert hint not in cli(*common, "--vary", "clusterer=finch,kmeans", "--localize-only")[2]
    assert hint not in cli(*common, "--vary", "clusterer=finch,kmeans", "--vary", "seed=0,1")[2]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "nothing varies; give --vary KEY=VALUE,VALUE, such as --vary clusterer=finch,kmeans"),
        (["--vary", "cluster=finch"], "unknown key 'cluster'; available: "),
        (["--vary", "clusterer=finhc"], "Did you mean 'finch'?"),
        (["--vary", "seed=0", "--truth", "nowhere"], "--truth nowhere: there is no such folder"),
        (["--vary", "seed=0", "--resume", "--overwrite"], "--resume and --overwrite exclude each other"),
        (["--vary"], "See uce ablate --help"),
    ],
)
def test_wrong_input_is_one_line(cli: Cli, tmp_path: Path, arguments: list[Any], text: str) -> None:
    code, out, said = cli("ablate", DESK, "-o", tmp_path / "out", "--localize-only", *arguments)
    assert code == 2 and not out and text in said and said.startswith("uce: ") and said.count("\n") == 1
    assert not (tmp_path / "out").exists()
