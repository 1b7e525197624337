"""`uce evaluate` from end to end on a tiny random model."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_erosion

import uce
from uce.core.flow.picture import read_picture
from uce.evaluation.pictures import gather, masked_source
from uce.evaluation.settings import EvaluationSettings
from uce.truth.reading import read_truth
from uce.truth.scoring import score_masks

Cli = Callable[..., tuple[int, str, str]]
FEW = ["-n", "2", "--steps", "1"]
PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "photos"


@pytest.fixture
def flags(encoder_file: Path) -> list[str]:
    return [*FEW, "--encoder", "mean-colours", "--plugin", str(encoder_file)]


@pytest.fixture
def own(runs: list[Path], tmp_path: Path) -> list[Path]:
    """Copies that a test may change, without earlier evaluations."""
    copies = [Path(shutil.copytree(path, tmp_path / path.name)) for path in runs]
    for path in copies:
        shutil.rmtree(path / "evaluation", ignore_errors=True)
        (path / "evaluation.json").unlink(missing_ok=True)
    return copies


def refused(cli: Cli, *arguments: Any) -> str:
    code, out, err = cli(*arguments)
    lines = [line for line in err.splitlines() if line.startswith("uce: ")]
    assert code == 2 and not out and len(lines) == 1 and "Traceback" not in err, (code, out, err)
    return lines[0]


def test_json_has_the_keys_per_encoder(cli: Cli, runs: list[Path], scenes: Path, flags: list[str]) -> None:
    code, out, err = cli("evaluate", *runs, *flags, "--encoder", "efficientnet-lite0", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert set(document["encoders"]) == {"mean-colours", "efficientnet-lite0"}
    for values in document["encoders"].values():
        assert -1 <= values["sim_i"] <= 1 and -1 <= values["sim_c"] <= 1
        assert 0 <= values["acc_1"] <= values["acc_3"] <= 1
        assert values["prototypes"] == 4 and values["acc_meaningful"] is False
        assert "iou" not in values
    assert "note: ACC among 4 prototypes means little" in err
    document = json.loads(cli("evaluate", *runs, *flags, "--truth", scenes / "truth", "--json")[1])
    values = document["encoders"]["mean-colours"]
    assert {"iou", "recall", "precision", "ari", "count_error"} <= set(values)
    assert document["masks"]["count_error"] == 0.5  # two masks each; two things and one


def test_words_are_measured_beside_the_protocol(
    cli: Cli, own: list[Path], tmp_path: Path, flags: list[str], reader_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Per encoder `prompt_following`, once `bleed` and `both_recognised`; the table, and the runs' own files."""
    (tmp_path / "mine.yaml").write_text("colour: ['a red {}', 'a blue {}']\nplain: ['a photo of {}']\n")
    both = [*flags, "--plugin", str(reader_file), "--encoder", "reader", "--prompts", str(tmp_path / "mine.yaml")]
    calls: list[Any] = []
    draw = uce.api.draw
    monkeypatch.setattr("uce.api.draw", lambda *a, **k: calls.append((a[0], k["seed"], k["count"])) or draw(*a, **k))
    code, out, err = cli("evaluate", *own, *both, "--json")
    assert code == 0, err
    document = json.loads(out)
    assert list(document["bleed"]) == document["runs"]
    for matrix in document["bleed"].values():
        assert np.shape(matrix) == (2, 2) and np.sum(matrix, axis=1) == pytest.approx([1, 1])
    assert document["bled"] == pytest.approx(1 - np.mean([np.diag(m) for m in document["bleed"].values()]))
    assert document["both_recognised"] in (0, 0.25, 0.5, 0.75, 1) and 0 <= document["background_leak"] <= 1
    assert document["background_right"] is None  # known of mini alone
    colours, reader = document["encoders"]["mean-colours"], document["encoders"]["reader"]
    assert colours["prompt_following"] is None and -1 <= reader["prompt_following"] <= 1
    groups = reader["prompt_groups"]
    assert reader["prompt_following"] == pytest.approx((2 * groups["colour"] + groups["plain"]) / 3)
    assert {key for values in (colours, reader) for key in values}.isdisjoint({"bleed", "both_recognised"})
    drawn = [(prompt, seed + n) for prompts, seed, count in calls for prompt in prompts for n in range(count)]
    assert len(drawn) == len(set(drawn)) * 2 == 2 * (2 * 2 + 2 + 2 * 2)  # "a photo of {}" is drawn already
    written = json.loads((own[0] / "evaluation.json").read_text())["encoders"]
    assert written["reader"]["bleed"] == document["bleed"][str(own[0])]
    num = len(calls)
    code, out, _ = cli("evaluate", *own, *both)
    assert code == 0 and len(calls) == num
    head = next(line for line in out.splitlines() if line.startswith("encoder"))
    assert {"prompt", "bleed", "both", "recomposed", "leak"} < set(head.split())
    assert f"{own[0]}: drawn from each token (rows), recognised as each concept (columns)" in out


def test_prompts_are_drawn_only_where_somebody_can_judge_them(
    own: list[Path], encoder_file: Path, reader_file: Path
) -> None:
    """Without an encoder that reads, a model that is not mini is asked for nothing; `none` asks for nothing at all."""
    options: dict[str, Any] = {"count": 1, "steps": 1, "plugin": [str(encoder_file), str(reader_file)]}
    found = uce.evaluate(own[0], encoder="mean-colours", **options)
    assert any("prompt_following needs an encoder that reads texts" in note for note in found.notes)
    found = uce.evaluate(own[0], encoder="reader", prompts="none", **options)
    assert found.summary()["encoders"]["reader"]["prompt_following"] is None
    assert not any("prompt_following" in note for note in found.notes)
    assert not list((own[0] / "evaluation").glob("*-asked-*"))


def test_a_model_that_cannot_localise_costs_only_what_needs_it(
    own: list[Path], encoder_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise uce.UceError("no attention here")

    monkeypatch.setattr("uce.evaluation.things.api.localize", refuse)
    found = uce.evaluate(own[0], encoder="mean-colours", count=1, steps=1, plugin=[str(encoder_file)])
    summary = found.summary()
    assert summary["both_recognised"] is None and summary["encoders"]["mean-colours"]["recomposed"] is None
    assert summary["bled"] is not None
    assert f"{own[0]}: things in drawn pictures could not be looked for: no attention here" in summary["notes"]


def test_settings_and_concepts_are_written_with_the_result(cli: Cli, own: list[Path], flags: list[str]) -> None:
    assert cli("evaluate", *own, *flags, "--seed", "7", "--prompt", "a cup of {}")[0] == 0
    for path in own:
        written = json.loads((path / "evaluation.json").read_text())
        found = written["encoders"]["mean-colours"]
        assert found["settings"] == {
            "count": 2, "prompt": "a cup of {}", "seed": 7, "steps": 1, "guidance": 5.0, "source": "masked",
            "fill": "black", "prompts": "default", "per_prompt": 1, "per_pair": 2,
        }  # fmt: skip
        assert [row["token"] for row in found["concepts"]] == ["<asset0>", "<asset1>"]
        assert found["sim_i"] == pytest.approx(np.mean([row["sim_i"] for row in found["concepts"]]))
        kept = [p.name.removeprefix("things-").split("-") for p in (path / "evaluation").glob("*.png")]
        names = {name[0] + name[1] for name in kept}
        assert names == {"asset0s7", "asset0s8", "asset1s7", "asset1s8", "alls7", "alls8"}


def test_a_second_encoder_draws_nothing_again(
    own: list[Path], encoder_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {"count": 2, "steps": 1, "plugin": [str(encoder_file)]}
    first = uce.evaluate(own, encoder="mean-colours", **options).summary()
    damaged = next(iter((own[0] / "evaluation").glob("all-s1-*.png")))
    before = damaged.read_bytes()
    damaged.write_bytes(before[:50])
    calls: list[Any] = []
    draw = uce.api.draw
    monkeypatch.setattr("uce.api.draw", lambda *a, **k: calls.append((a[0], k["seed"], k["count"])) or draw(*a, **k))
    uce.evaluate(own, encoder="efficientnet-lite0", **options)
    assert calls == [(["a photo of <asset0> and <asset1>"], 1, 1)]  # the damaged one alone
    assert damaged.read_bytes() == before
    document = json.loads((own[0] / "evaluation.json").read_text())
    assert set(document["encoders"]) == {"mean-colours", "efficientnet-lite0"}  # the first one's numbers stay
    assert uce.evaluate(own, encoder="mean-colours", **options).summary() == first
    assert len(calls) == 1


def test_tokens_that_do_not_fit_one_prompt_are_shown_in_several(
    own: list[Path], encoder_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("uce.core.training.schedule.fitting_groups", lambda *arguments: ((0,), (1,)))
    options: dict[str, Any] = {"count": 2, "steps": 1, "encoder": "mean-colours", "plugin": [str(encoder_file)]}
    found = uce.evaluate(own[0], **options).summary()["encoders"]["mean-colours"]
    pictures = gather(uce.load(own[0]), EvaluationSettings(count=2, steps=1), None, ())
    assert len(pictures.together) == 4
    singles = [picture for row in pictures.drawn for picture in row]
    assert all((a == b).all() for a, b in zip(pictures.together, singles, strict=True))  # the same prompts here
    assert found["sim_c"] is not None and found["prototypes"] == 2


def test_new_tokens_are_drawn_anew(own: list[Path], encoder_file: Path) -> None:
    options: dict[str, Any] = {"count": 1, "steps": 1, "encoder": "mean-colours", "plugin": [str(encoder_file)]}
    uce.evaluate(own[0], **options)
    drawn = set((own[0] / "evaluation").glob("*.png"))
    uce.learn(own[0], overwrite=True, set=["optimizer.learning_rate=0.3"])
    uce.evaluate(own[0], **options)
    assert set((own[0] / "evaluation").glob("*.png")) > drawn


def test_order_of_runs_does_not_matter(runs: list[Path], encoder_file: Path) -> None:
    options: dict[str, Any] = {"count": 2, "steps": 1, "encoder": "mean-colours", "plugin": [str(encoder_file)]}
    one, other = (uce.evaluate(order, **options).summary()["encoders"]["mean-colours"] for order in (runs, runs[::-1]))
    assert one.pop("prompt_groups") == other.pop("prompt_groups") == {}
    assert one == pytest.approx(other)


def test_one_concept_has_no_accuracy(own: list[Path], encoder_file: Path) -> None:
    (own[0] / "masks" / "1.png").unlink()
    run = uce.learn(own[0], overwrite=True)
    assert len(run.concepts) == 1
    result = uce.evaluate(run, count=1, steps=1, encoder="mean-colours", plugin=[str(encoder_file)]).summary()
    values = result["encoders"]["mean-colours"]
    assert values["acc_1"] is None and values["acc_3"] is None and values["sim_i"] is not None
    assert "ACC needs at least 2 prototypes, found 1" in result["notes"][0]


def use_truth(run: Path, scenes: Path) -> None:
    """The true masks as the run's own."""
    for index, mask in enumerate(read_truth(scenes / "truth", "one", (64, 80))):
        Image.fromarray(mask.astype(np.uint8) * 255).save(run / "masks" / f"{index}.png")


def test_sources_are_what_the_model_saw(own: list[Path], scenes: Path) -> None:
    use_truth(own[0], scenes)
    run = uce.load(own[0])
    pictures = gather(run, EvaluationSettings(count=1, steps=1), None, ())
    assert pictures.source.shape == (64, 64, 3) and len(pictures.masked) == 2
    top, left, height, width = read_picture(own[0] / "input.png", 64).window
    assert (height, width) == (51, 64)
    for masked, concept in zip(pictures.masked, run.concepts, strict=True):
        assert (masked[:top] == 0).all() and (masked[top + height :] == 0).all()  # the padding is no source
        inside = binary_erosion(concept.mask, iterations=5)
        rows, columns = np.nonzero(inside)
        places = top + (rows + 0.5) * 64 / 80, left + (columns + 0.5) * 64 / 80
        row, column = (place.astype(int) for place in places)
        difference = masked[row, column].astype(int) - pictures.source[row, column]
        assert len(rows) and np.abs(difference).max() <= 1


def test_masked_and_cropped_source_by_hand() -> None:
    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    found = masked_source(picture, mask, EvaluationSettings())
    assert found.shape == picture.shape
    assert (found[mask] == picture[mask]).all() and (found[~mask] == 0).all()
    found = masked_source(picture, mask, EvaluationSettings(source="crop", fill="grey"))
    assert found.shape == (4, 4, 3)  # three pixels and a tenth on either side, rounded
    assert (found[1:3, 0:3] == picture[1:3, 2:5]).all() and (found[0] == 128).all() and (found[:, 3] == 128).all()


def test_masks_only_needs_no_tokens(cli: Cli, scenes: Path, tiny_pipeline: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    uce.localize(scenes / "one.png", out, model=str(tiny_pipeline), clusterer="kmeans", refiner="none")
    code, printed, _ = cli("evaluate", out, "--masks-only", "--truth", scenes / "truth", "--json")
    assert code == 0
    run = uce.load(out)
    truth = read_truth(scenes / "truth", "one", (64, 80))
    wanted = asdict(score_masks(np.stack([concept.mask for concept in run.concepts]), truth))
    assert json.loads(printed)["masks"] == pytest.approx({**wanted, "exact_count": float(wanted["count_error"] == 0)})
    assert json.loads((out / "evaluation.json").read_text())["masks"] == pytest.approx(wanted)
    assert "holds no learned tokens yet; learn them with uce learn" in refused(cli, "evaluate", out)
    assert (
        cli(
            "localize",
            scenes / "one.png",
            "-o",
            out,
            "--model",
            tiny_pipeline,
            "--clusterer",
            "kmeans",
            "--refiner",
            "none",
            "--overwrite",
        )[0]
        == 0
    )  # the evaluation is the run's, and goes with it
    assert not (out / "evaluation.json").exists()


def test_truth_against_itself_is_perfect(cli: Cli, own: list[Path], scenes: Path) -> None:
    use_truth(own[0], scenes)
    found = json.loads(cli("evaluate", own[0], "--masks-only", "--truth", scenes / "truth", "--json")[1])["masks"]
    wanted = {"iou": 1, "recall": 1, "precision": 1, "ari": 1, "count_error": 0, "exact_count": 1}
    assert found == pytest.approx(wanted)


def test_runs_that_cannot_be_measured(
    cli: Cli, own: list[Path], scenes: Path, tmp_path: Path, flags: list[str]
) -> None:
    assert "is missing" in refused(cli, "evaluate", tmp_path / "nowhere", *flags)
    assert "is given twice" in refused(cli, "evaluate", own[0], own[0], *flags)
    assert "say where it is with --truth FOLDER" in refused(cli, "evaluate", own[0], "--masks-only")
    assert "unknown encoder 'clop'" in refused(cli, "evaluate", own[0], "--encoder", "clop")
    assert "Did you mean 'clip'?" in refused(cli, "evaluate", own[0], "--encoder", "clop")
    assert "there is no such folder" in refused(cli, "evaluate", own[0], *flags, "--truth", tmp_path / "none")
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(scenes / "truth" / "two.png", other / "onee.png")
    assert "unknown picture 'one'; available: onee. Did you mean 'onee'?" in refused(
        cli, "evaluate", own[0], *flags, "--truth", other
    )
    assert "Missing argument" in refused(cli, "evaluate")
    info = json.loads((own[0] / "run.json").read_text())
    (own[0] / "run.json").write_text(json.dumps({**info, "status": "interrupted"}))
    assert "is unfinished (status 'interrupted'); finish it with --resume" in refused(cli, "evaluate", *own, *flags)
    (own[1] / "embeddings.safetensors").unlink()
    assert "holds no learned tokens yet" in refused(cli, "evaluate", own[1], *flags)


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="../shared/photos is missing: no real photographs to measure on")
def test_real_photographs(cli: Cli, tmp_path: Path) -> None:
    """Stages one to three with mini; the masks have the photographs' own size and the truth is read as it lies."""
    truth, out = tmp_path / "truth", tmp_path / "out"
    for folder in sorted(path for path in PHOTOS.iterdir() if path.is_dir()):
        (truth / folder.name).mkdir(parents=True)
        for mask in folder.glob("mask*.png"):
            (truth / folder.name / mask.name).symlink_to(mask)
    for name in ("birds", "sheep"):
        picture = tmp_path / f"{name}.jpg"
        picture.symlink_to(PHOTOS / name / "img.jpg")
        run = uce.localize(picture, out / name)
        assert tuple(run.pixel_masks.shape[1:]) == (512, 512)
    code, printed, _ = cli("evaluate", out / "birds", out / "sheep", "--masks-only", "--truth", truth, "--json")
    found = json.loads(printed)["masks"]
    assert code == 0 and 0 < found["iou"] <= 1 and 0 < found["recall"] <= 1 and found["iou"] <= found["precision"]
