"""Colours, bars and pipes: what goes to a terminal and what does not; and a picture that comes in through a pipe."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

import uce
from uce.cli import main
from uce.core.config.resolving import load_config_file
from uce.core.files import pictures as picture_files

ROOT = Path(__file__).resolve().parents[2]
COLOR = re.compile(r"\x1b\[[0-9;]*(?:3[0-9]|4[0-9]|9[0-9]|38;[0-9;]+)m")
Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scene = Image.new("RGB", (90, 60), (190, 210, 230))
    ImageDraw.Draw(scene).ellipse((10, 10, 50, 50), fill=(200, 40, 40))
    path = tmp_path_factory.mktemp("pictures") / "scene.png"
    scene.save(path)
    return path


@pytest.fixture(scope="module")
def flags(tiny_pipeline: Path) -> list[str]:
    return [
        "--model",
        str(tiny_pipeline),
        "--clusterer",
        "kmeans",
        "--refiner",
        "none",
        "--set",
        "clusterer.clusters=2",
    ]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What a command writes where both its streams are a terminal."""

    def call(*arguments: Any) -> str:
        screen = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", screen)
            patch.setattr(sys, "stderr", screen)
            patch.setenv("TERM", "xterm-256color")
            patch.setenv("COLUMNS", "100")
            with pytest.raises(SystemExit) as ended:
                main([str(argument) for argument in arguments])
        assert not ended.value.code, screen.getvalue()
        return screen.getvalue()

    return call


def test_no_color_is_respected(
    in_a_terminal: Callable[..., str],
    picture: Path,
    flags: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bars have colours in a terminal, and none with NO_COLOR."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    shown = in_a_terminal("localize", picture, "-o", tmp_path / "color", *flags)
    assert COLOR.search(shown) and "extractor" in shown, shown
    monkeypatch.setenv("NO_COLOR", "1")
    plain = in_a_terminal("localize", picture, "-o", tmp_path / "plain", *flags)
    assert not COLOR.search(plain) and "extractor" in plain and "<asset0>" in plain, plain


def test_help_without_colors_in_a_real_terminal() -> None:
    """Read at the other end of a pseudo-terminal, since typer asks the terminal itself."""
    pty = pytest.importorskip("pty")
    base = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    for extra, colored in ({}, True), ({"NO_COLOR": "1"}, False):
        ours, theirs = pty.openpty()
        command = [sys.executable, "-c", "from uce.cli import main; main(['doctor', '--help'])"]
        environment = {**base, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **extra}
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
        os.close(theirs)
        text = b"".join(iter(partial(_read, ours), b"")).decode()
        os.close(ours)
        assert process.wait() == 0 and "Usage" in text
        assert bool(COLOR.search(text)) is colored, text


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # the other side was closed
        return b""


def test_pipes_get_plain_text_and_no_bars(picture: Path, flags: list[str], tmp_path: Path, cli: Cli) -> None:
    code, out, err = cli("localize", picture, "-o", tmp_path / "out", *flags)
    assert code == 0 and err == ""
    assert "\x1b" not in out and "\r" not in out and "<asset0>" in out
    for words in (["run", "--help"], ["plugins"]):
        assert "\x1b" not in cli(*words)[1]


class Piped:
    """A standard input that holds bytes."""

    def __init__(self, data: bytes, terminal: bool = False) -> None:
        self.buffer, self.terminal = io.BytesIO(data), terminal

    def isatty(self) -> bool:
        return self.terminal


def test_a_picture_from_a_pipe_is_the_same_run(
    picture: Path, flags: list[str], tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`uce localize - < picture`: the same files, in a folder with a name of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", Piped(picture.read_bytes()))
    code, out, err = cli("localize", "-", *flags)
    assert code == 0 and "uce learn stdin-uce" in out, err
    run = uce.load(tmp_path / "stdin-uce")
    assert run.info["input"]["name"] == "standard input"
    assert cli("localize", picture, "-o", tmp_path / "file", *flags)[0] == 0
    for name in ("concepts.json", "masks/0.png", "masks/1.png", "input.png"):
        assert (run.path / name).read_bytes() == (tmp_path / "file" / name).read_bytes()


def test_run_takes_a_pipe_and_resumes(
    picture: Path, flags: list[str], tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["run", "-", "-o", tmp_path / "out", *flags, "--set", "optimizer.steps=1", "--set", "run.samples=0"]
    for extra in ([], ["--resume"]):
        monkeypatch.setattr(sys, "stdin", Piped(picture.read_bytes()))
        code, out, err = cli(*arguments, "--no-report", "--json", *extra)
        assert code == 0 and json.loads(out)["status"] == "done", err
    other = io.BytesIO()
    Image.new("RGB", (8, 8)).save(other, "PNG")
    monkeypatch.setattr(sys, "stdin", Piped(other.getvalue()))
    code, _, err = cli(*arguments, "--resume")
    assert code == 2 and "begun with another picture" in err


@pytest.mark.parametrize(
    ("data", "terminal", "text"),
    [
        (b"", False, "picture 'standard input' is empty (0 bytes)"),
        (b"no picture at all", False, "picture 'standard input' is not a picture in a format that can be read"),
        (b"", True, "- reads a picture from standard input, and nothing is piped in; add < picture.jpg"),
        (b"x" * 1001, False, "picture 'standard input' has more than"),
    ],
)
def test_bad_pipes_are_one_line(
    data: bytes, terminal: bool, text: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_files, "MAX_BYTES", 1000)
    monkeypatch.setattr(sys, "stdin", Piped(data, terminal))
    code, _, err = cli("localize", "-", "-o", tmp_path / "out")
    assert code == 2 and text in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_truncated_pipe(picture: Path, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Piped(picture.read_bytes()[:200]))
    code, _, err = cli("run", "-", "-o", tmp_path / "out")
    assert code == 2 and "picture 'standard input' is truncated or damaged" in err


PRINTING = """
import sys
import uce
from uce.core import Clusters

print("imported")

class Printing:
    name = "printing"

    class Settings(uce.Settings):
        leave: bool = False

    @uce.hookimpl
    def uce_cluster(self, attention, settings):
        print("at work")
        if settings.leave:
            sys.exit(0)
        return Clusters((attention.saliency > attention.saliency.mean()).long())
"""


def ended(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[Any, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as leaving:
        main(list(arguments))
    return leaving.value.code, *capsys.readouterr()


def test_dropped_settings_are_said_in_the_first_line(
    picture: Path, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = ended(capsys, "localize", str(picture), "-o", str(tmp_path / "out"), *flags)
    assert code == 0 and out.splitlines()[0].endswith("; settings dropped with their plugins: refiner edges (band)")
    (tmp_path / "base.yaml").write_text("refiner: none")
    appended = [*flags[:4], "--config", str(tmp_path / "base.yaml"), "--refiner", "+smooth", *flags[-2:]]
    code, _, _ = ended(capsys, "localize", str(picture), "-o", str(tmp_path / "more"), *appended)
    assert code == 0
    assert load_config_file(tmp_path / "more" / "config.yaml")["refiner"]["chain"] == ["none", "smooth"]


def test_a_plugin_that_prints_or_leaves_does_not_hurt_the_command_line(
    picture: Path, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "printing.py"
    file.write_text(PRINTING)
    chosen = [*flags[:2], "--clusterer", "printing", "--refiner", "none", "--plugin", str(file)]
    out = str(tmp_path / "out")
    code, document, rest = ended(capsys, "localize", str(picture), "-o", out, *chosen, "--json")
    assert code == 0 and json.loads(document)["concepts"]
    assert "imported" in rest and "at work" in rest
    _, listed, _ = ended(capsys, "plugins", "--json", "--plugin", str(file))
    assert "printing" in {plugin["name"] for plugin in json.loads(listed)["plugins"]}
    leaving = [*chosen, "--set", "clusterer.leave=true"]
    for command in (["localize", str(picture), "-o", out, "--overwrite"], ["batch", str(picture), "-o", f"{out}-b"],
                    ["ablate", str(picture), "-o", f"{out}-a", "--vary", "seed=0"]):  # fmt: skip
        code, _, rest = ended(capsys, *command, *leaving)
        assert code == 2 and "raised ExitedError: sys.exit(0)" in rest, command[0]
