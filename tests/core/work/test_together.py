"""One token from several pictures: what is learned from, what the folder holds, what is refused, what is resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from toy_options import PICTURE, TOY, toy_options

from uce.core.config.options import Options
from uce.core.errors import ConfigError, RunFolderError
from uce.core.files.pictures import load_rgb
from uce.core.files.writing import write_picture
from uce.core.flow.events import Stopped
from uce.core.hookspecs import hookimpl
from uce.core.runs.folder import RunFolder
from uce.core.runs.stored import StoredRun
from uce.core.work.learning import learn_folder
from uce.core.work.localizing import localize_picture
from uce.core.work.same import Same
from uce.core.work.together import learn_together

STEPS = {"optimizer.steps": 4, "optimizer.merge_step": 2, "optimizer.attention_weight": 0, "run.samples": 0}
BOTH = ["cup=a:0,b:1", "cat=a:1,b:0"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs a, b and c: the toy's picture, itself mirrored, and upside down; two concepts each."""
    folder = tmp_path_factory.mktemp("runs")
    for name, picture in (("a", PICTURE), ("b", PICTURE[:, ::-1]), ("c", PICTURE[::-1])):
        localize_picture(np.ascontiguousarray(picture), toy_options(), folder / name, resume=False, overwrite=False)
    return folder


def learn(
    runs: Path, folders: str, same: Same, out: Path, resume: bool = False, overwrite: bool = False, **given: Any
) -> StoredRun:
    given = {"plugin": TOY, "set": STEPS, **given}
    learn_together([runs / name for name in folders], same, Options.of(given), out, resume=resume, overwrite=overwrite)
    return StoredRun(RunFolder(out))


def test_one_token_is_learned_from_all_pictures_and_names_them(runs: Path, tmp_path: Path) -> None:
    alone = learn(runs, "a", ["cup=a:0"], tmp_path / "alone")
    both = learn(runs, "abc", {"cup": {"a": 0, "b": 1, "c": 0}}, tmp_path / "both")
    assert [one.token for one in both.concepts] == ["<cup>"] and both.info["status"] == "done"
    assert not torch.equal(both.concepts[0].embedding, alone.concepts[0].embedding)
    assert np.array_equal(both.concepts[0].mask, StoredRun(RunFolder(runs / "a")).concepts[0].mask)
    digests = [StoredRun(RunFolder(runs / name)).info["input"]["digest"] for name in "abc"]
    assert [row["digest"] for row in both.info["pictures"]] == digests
    assert [row["concepts"] for row in both.info["pictures"]] == [{"<cup>": 0}, {"<cup>": 1}, {"<cup>": 0}]
    with safe_open(tmp_path / "both" / "tokens" / "cup.safetensors", "pt") as file:
        facts = json.loads(file.metadata()["uce"])
    assert facts["pictures"] == digests and facts["picture"] == digests[0]
    assert np.array_equal(load_rgb(tmp_path / "both" / "pictures" / "1.png"), PICTURE[:, ::-1])


def test_a_further_picture_of_the_same_pixels_changes_nothing_but_the_turns(runs: Path, tmp_path: Path) -> None:
    """The views of a picture are the same whether it stands first or second: with itself as its second picture a
    thing is learned as from one."""
    shutil.copytree(runs / "a", tmp_path / "copy")
    document = json.loads((tmp_path / "copy" / "run.json").read_text())
    document["input"]["digest"] = "another"  # the same picture twice would be refused
    (tmp_path / "copy" / "run.json").write_text(json.dumps(document))
    options = Options.of({"plugin": TOY, "set": STEPS})
    folders = [runs / "a", tmp_path / "copy"]
    learn_together(folders, ["cup=a:0,copy:0"], options, tmp_path / "two", resume=False, overwrite=False)
    one = learn(runs, "a", ["cup=a:0"], tmp_path / "one")
    two = StoredRun(RunFolder(tmp_path / "two"))
    assert torch.equal(one.concepts[0].embedding, two.concepts[0].embedding)


def test_the_first_picture_that_shows_everything_is_the_runs_own(runs: Path, tmp_path: Path) -> None:
    run = learn(runs, "cab", ["cup=a:0,b:1,c:1", "cat=a:1,b:0"], tmp_path / "out")
    assert [row["run"] for row in run.info["pictures"]] == ["a", "c", "b"]
    assert [one.token for one in run.concepts] == ["<cup>", "<cat>"]
    assert sorted(path.name for path in (tmp_path / "out" / "pictures").iterdir()) == [
        "1-0.png", "1.png", "2-0.png", "2-1.png", "2.png"
    ]  # fmt: skip


def test_the_folder_can_be_learned_again_after_masks_were_edited_and_under_other_names(
    runs: Path, tmp_path: Path
) -> None:
    before = learn(runs, "ab", BOTH, tmp_path / "out").concepts[0].embedding
    mask = np.zeros(PICTURE.shape[:2], bool)
    mask[:8] = True
    write_picture(tmp_path / "out" / "pictures" / "1-0.png", mask)
    options = Options.of({"plugin": TOY, "names": ["mug", "dog"]})
    learn_folder(tmp_path / "out", options, resume=False, overwrite=True)
    run = StoredRun(RunFolder(tmp_path / "out"))
    assert [one.token for one in run.concepts] == ["<mug>", "<dog>"]
    assert run.info["pictures"][1]["concepts"] == {"<mug>": 1, "<dog>": 0}
    assert not torch.equal(run.concepts[0].embedding, before)


class StopsAt:
    """Interrupts after an update, once."""

    def __init__(self, update: int) -> None:
        self.update = update

    @hookimpl
    def uce_step(self, event: Any) -> None:
        if event.update == self.update:
            raise Stopped("enough")


def test_an_interrupted_learning_continues_with_the_same_bytes(runs: Path, tmp_path: Path) -> None:
    learn(runs, "ab", BOTH, tmp_path / "whole")
    with pytest.raises(Stopped, match="enough"):
        learn(runs, "ab", BOTH, tmp_path / "parts", observers=[StopsAt(3)])
    assert (tmp_path / "parts" / "stages" / "checkpoint.safetensors").is_file()
    with pytest.raises(RunFolderError, match="parts was begun with other things; give those, or --overwrite"):
        learn(runs, "ab", ["cup=a:0,b:0"], tmp_path / "parts", resume=True)
    learn(runs, "ab", BOTH, tmp_path / "parts", resume=True)
    for name in ("embeddings.safetensors", "history.csv", "concepts.json", "tokens/cup.safetensors"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    stamp = (tmp_path / "parts" / "run.json").read_bytes()
    learn(runs, "ab", BOTH, tmp_path / "parts", resume=True)
    assert (tmp_path / "parts" / "run.json").read_bytes() == stamp
    for name in ("concepts.json", "embeddings.safetensors", "pictures/1.png"):  # killed while it was laid out
        (tmp_path / "parts" / name).unlink()
    learn(runs, "ab", BOTH, tmp_path / "parts", resume=True)
    assert (tmp_path / "parts" / "history.csv").read_bytes() == (tmp_path / "whole" / "history.csv").read_bytes()


def test_an_optimizer_of_one_picture_is_refused_and_nothing_is_left(runs: Path, tmp_path: Path) -> None:
    steps = {"optimizer.steps": 1}
    options = Options.of({"plugin": TOY, "optimizer": "textual-inversion", "set": steps})
    folders = [runs / "a", runs / "b"]
    with pytest.raises(ConfigError, match="'textual-inversion' learns from one picture only; choose masked-denoising"):
        learn_together(folders, BOTH, options, tmp_path / "out", resume=False, overwrite=False)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_refused(runs: Path, tmp_path: Path) -> None:
    write_picture(tmp_path / "run" / "input.png", PICTURE)
    with pytest.raises(RunFolderError, match=r"run is not empty and holds 'input.png', which is not a run's"):
        learn(runs, "ab", BOTH, tmp_path / "run")
    with pytest.raises(RunFolderError, match="a holds another run; continue it with --resume"):
        learn(runs, "ab", BOTH, runs / "a")
    with pytest.raises(RunFolderError, match="a was begun with other things; give those, or --overwrite"):
        learn(runs, "ab", BOTH, runs / "a", resume=True)
    with pytest.raises(ConfigError, match="--names is for one folder; of several --same says which"):
        learn(runs, "ab", BOTH, tmp_path / "new", names=["x"])
    with pytest.raises(RunFolderError, match="--resume and --overwrite exclude each other"):
        learn(runs, "ab", BOTH, tmp_path / "new", resume=True, overwrite=True)
