"""Whatever a person can get wrong: one line, exit code 2, nothing half-written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from drawn import two_squares
from PIL import Image

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(two_squares(48, 64)).save(path)
    return path


def refused(cli: Cli, *arguments: Any, out: Path | None = None) -> str:
    """The one line that a wrong command prints."""
    code, stdout, err = cli(*arguments)
    assert code == 2, (code, err)
    assert not stdout or (stdout.startswith("model ") and stdout.count("\n") == 1), stdout
    assert err.count("\n") == 1 and err.startswith("uce: ") and "Traceback" not in err, err
    if out is not None:
        assert not out.exists(), sorted(out.rglob("*"))
    return err


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_pictures(cli: Cli, tmp_path: Path, picture: Path, tiny_pipeline: Path) -> None:
    out = tmp_path / "out"
    cases = {
        tmp_path / "missing.png": "missing.png",
        tmp_path: "folder",
        write(tmp_path / "empty.png", b""): "empty",
        write(tmp_path / "words.png", b"not a picture at all"): "not a picture",
        write(tmp_path / "cut.png", picture.read_bytes()[:60]): "truncated",
    }
    for path, text in cases.items():
        assert text in refused(cli, "run", path, "-o", out, "--model", tiny_pipeline, out=out).lower()


def test_decompression_bomb(cli: Cli, tmp_path: Path, tiny_pipeline: Path) -> None:
    bomb = tmp_path / "bomb.png"
    Image.new("1", (40_000, 40_000)).save(bomb)
    line = refused(cli, "run", bomb, "-o", tmp_path / "out", "--model", tiny_pipeline, out=tmp_path / "out")
    assert "pixels" in line


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--clusterer", "hdbscn"], "unknown clusterer 'hdbscn'; available: diffseg, finch, given, hdbscan, "),
        (["--refiner", "mrege"], "Did you mean 'merge'?"),
        (["--optimizer", "adam"], "unknown optimizer 'adam'"),
        (["--set", "optimizer.step=5"], "Did you mean 'optimizer.steps'?"),
        (["--set", "optimizer.steps=many"], "optimizer.steps: found 'many'"),
        (
            ["--preset", "papers"],
            "unknown preset 'papers'; available: conceptattention, default, ditf, goca, paper, seg4diff. Did you mean "
            "'paper'?",
        ),
        (["--config", "no-such.yaml"], "--config no-such.yaml: No such file or directory"),
        (["--device", "tpu"], "device 'tpu' is not on this machine; available: auto, cpu"),
        (["--precision", "float8"], "run.precision: found 'float8'"),
        (["--plugin", "no_such.py"], "--plugin no_such.py: no such file"),
        (["--no-plugin", "finhc"], "--no-plugin: unknown plugin 'finhc'"),
        (["--concepts", "a,b"], "--concepts a,b: give indexes separated by commas"),
        (["--resume", "--overwrite"], "--resume and --overwrite exclude each other"),
        (["--seed", "-1"], "Invalid value for '--seed'"),
        (["--seeed", "1"], "No such option: --seeed"),
    ],
)
def test_flags(cli: Cli, tmp_path: Path, picture: Path, flags: list[str], text: str) -> None:
    assert text in refused(cli, "run", picture, "-o", tmp_path / "out", *flags, out=tmp_path / "out")


def test_parser(cli: Cli, picture: Path) -> None:
    assert "Missing option" in refused(cli, "ablate", picture)
    assert "No such command 'rnu'" in refused(cli, "rnu", picture)


def test_models(
    cli: Cli, tmp_path: Path, picture: Path, make_tiny_pipeline: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    checkpoint = write(tmp_path / "model.ckpt", b"\x80\x04pickle")
    assert "pickle" in refused(cli, "run", picture, "-o", out, "--model", checkpoint, out=out)
    assert "no-such-model" in refused(cli, "run", picture, "-o", out, "--model", "no-such-model", out=out)
    broken = make_tiny_pipeline(tmp_path / "broken", "sd1")
    capsys.readouterr()
    for path in (broken / "unet").iterdir():
        path.unlink()
    assert "unet" in refused(cli, "run", picture, "-o", out, "--model", broken, out=out)


def test_hub_id_without_a_network(cli: Cli, tmp_path: Path, picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    line = refused(cli, "run", picture, "-o", tmp_path / "out", "--model", "no/such-model", out=tmp_path / "out")
    assert "no/such-model" in line and "--model mini" in line


def test_folders(cli: Cli, tmp_path: Path, picture: Path, tiny_pipeline: Path) -> None:
    model = ["--model", tiny_pipeline]
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("years of work")
    line = refused(cli, "run", picture, "-o", foreign, "--overwrite", *model)
    assert "holds 'thesis.tex', which is not a run's" in line and (foreign / "thesis.tex").exists()
    assert "is a file; give a folder" in refused(cli, "run", picture, "-o", picture, *model)
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.json").write_text('{"format": 1, "status": "done"}')
    assert "holds another run; continue it with --resume" in refused(cli, "run", picture, "-o", run, *model)
    (run / "run.json").write_text('{"format": 99}')
    assert "has format 99" in refused(cli, "learn", run)
    assert "is no run folder" in refused(cli, "learn", tmp_path / "nothing")
    assert "is no run folder" in refused(cli, "generate", "a cat", "--run", foreign, "-o", tmp_path / "x")


@pytest.mark.skipif(os.name == "nt", reason="needs /proc")
def test_unwritable_folder(cli: Cli, tmp_path: Path, picture: Path, tiny_pipeline: Path) -> None:
    line = refused(cli, "run", picture, "-o", "/proc/uce-out", "--model", tiny_pipeline)
    assert "cannot use the folder /proc/uce-out" in line and "give another folder with -o" in line


def test_nothing_salient(cli: Cli, tmp_path: Path, tiny_pipeline: Path, picture: Path) -> None:
    flags = ["--model", tiny_pipeline, "--refiner", "saliency", "--set", "refiner.saliency.threshold=1000"]
    line = refused(cli, "localize", picture, "-o", tmp_path / "out", *flags, out=tmp_path / "out")
    assert "--refiner" in line


PLUGIN = """
import uce, torch
from uce.core import Clusters

class Bad:
    name = "bad"

    @uce.hookimpl
    def uce_cluster(self, attention):
        {body}
"""


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (
            "raise ValueError('singular matrix')",
            "clusterer 'bad' (bad.py) raised ValueError: singular matrix; traceback in",
        ),
        ("return 5", "clusterer 'bad' (bad.py) returned int, not Clusters"),
        ("return None", "clusterer 'bad' (bad.py) returned NoneType, not Clusters"),
        ("return Clusters(torch.zeros(2, 2).long())", "returned labels that do not fit; they must be for (32, 32)"),
        ("return Clusters(torch.zeros(attention.grid))", "labels must be integers"),
        ("return Clusters(torch.full(attention.grid, -1))", "left every cell unassigned"),
    ],
)
def test_plugins_that_misbehave(
    cli: Cli, tmp_path: Path, picture: Path, tiny_pipeline: Path, monkeypatch: pytest.MonkeyPatch, body: str, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.py").write_text(PLUGIN.format(body=body))
    line = refused(
        cli, "localize", picture, "-o", "out", "--model", tiny_pipeline, "--plugin", "bad.py", "--clusterer", "bad"
    )
    assert text in line
    left = sorted(p.name for p in Path("out").rglob("*")) if Path("out").exists() else []
    assert left == (["error.txt"] if "traceback" in text else [])


def test_masks_that_do_not_fit(cli: Cli, tmp_path: Path, picture: Path, tiny_pipeline: Path) -> None:
    out = tmp_path / "out"
    flags = ["--model", tiny_pipeline, "--clusterer", "kmeans", "--set", "clusterer.clusters=2", "--refiner", "none"]
    assert cli("localize", picture, "-o", out, *flags)[0] == 0
    original = (out / "masks" / "0.png").read_bytes()
    Image.new("L", (10, 10), 255).save(out / "masks" / "0.png")
    assert "is 10 x 10 pixels, the picture is 64 x 48" in refused(cli, "learn", out)
    Image.new("L", (64, 48)).save(out / "masks" / "0.png")
    assert "is empty" in refused(cli, "learn", out)
    (out / "masks" / "0.png").write_bytes(b"scribble")
    assert "is not a readable picture" in refused(cli, "learn", out)
    (out / "masks" / "0.png").write_bytes(original)
    corner = Image.new("L", (64, 48))
    corner.paste(255, (0, 0, 16, 16))
    corner.save(out / "masks" / "My Cup.png")
    assert "token name 'My Cup' is not allowed" in refused(cli, "learn", out)


def test_resume_refuses_another_picture_or_setting(
    cli: Cli, tmp_path: Path, picture: Path, tiny_pipeline: Path
) -> None:
    out = tmp_path / "out"
    flags = ["--model", tiny_pipeline, "--clusterer", "kmeans", "--refiner", "none"]
    assert cli("localize", picture, "-o", out, *flags)[0] == 0
    line = refused(cli, "localize", picture, "-o", out, *flags, "--seed", 5, "--resume")
    assert "was begun with run.seed=0, now 5" in line
    other = tmp_path / "other.png"
    Image.new("RGB", (64, 48), "red").save(other)
    assert "was begun with another picture" in refused(cli, "localize", other, "-o", out, *flags, "--resume")
