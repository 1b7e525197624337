"""Every recipe of docs/cookbook.md, as somebody would follow it, with the embedded model and few updates."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw
from test_docs import FENCE, ROOT, page

import uce

SHORT = ["optimizer.steps=1", "run.samples=0"]
FEW = {"generate": ["--steps", "2"], "run": [f"--set={key}" for key in SHORT]}
FEW |= {"batch": FEW["run"], "run": [*FEW["run"], "--no-report"], "learn": [*FEW["run"], "--no-report"]}
RECIPES = re.findall(r"^## (\d+\. [^\n]+)\n(.*?)(?=^## |\Z)", page("cookbook.md"), re.DOTALL | re.MULTILINE)
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def kitchen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page takes for granted: pictures, prompts, a mask, and finished runs `out` and `kitchen`."""
    folder = tmp_path_factory.mktemp("cookbook")
    photo = Image.open(ROOT / "examples" / "meadow.png").convert("RGB")
    photo.save(folder / "photo.jpg", quality=95)
    (folder / "photos").mkdir()
    shutil.copy(folder / "photo.jpg", folder / "photos")
    Image.new("RGB", (160, 128), (200, 190, 170)).save(folder / "room.png")
    where = Image.new("L", (160, 128))
    ImageDraw.Draw(where).rectangle((40, 40, 110, 110), fill=255)
    where.save(folder / "where.png")
    (folder / "prompts.txt").write_text("a photo of <asset0>\na drawing of <asset0>\n")
    run = uce.run(folder / "photo.jpg", folder / "out", set=SHORT)
    assert len(run.concepts) > 1, "the recipes talk of several"
    shutil.copytree(folder / "out", folder / "kitchen")
    uce.export(run, "diffusers", folder / "tokens")
    return folder


def test_there_are_ten() -> None:
    assert [int(title.split(".")[0]) for title, _ in RECIPES] == list(range(1, 11))
    assert all(FENCE.search(body) for _, body in RECIPES)


@pytest.mark.parametrize(("title", "body"), RECIPES, ids=[title for title, _ in RECIPES])
def test_recipe(
    title: str, body: str, kitchen: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "tensorboard" in body:
        pytest.importorskip("tensorboard")
    folder = tmp_path / "work"
    shutil.copytree(kitchen, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("UCE_LIBRARY", str(folder / "library"))
    if "run photo.jpg -o out\n" in body:
        shutil.rmtree("out")
    if "--to diffusers -o tokens" in body:
        shutil.rmtree("tokens")
    for language, code in FENCE.findall(body):
        if language == "python":
            exec(compile(code, title, "exec"), {})
            continue
        for line in code.splitlines():
            words = shlex.split(line)
            assert words[0] == "uce", f"this test cannot run {line}"
            code_, _, err = cli(*words[1:], *FEW.get(words[1], []))
            assert code_ == 0, f"{line}: {err}"
            for flag in ("-o", "--out"):
                if flag in words:
                    assert Path(words[words.index(flag) + 1]).exists()
