"""Names, terminals and machines as they are found: each of these ended in a traceback, or lost something, once."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import uce
from uce.core.errors import ConfigError
from uce.core.files.writing import no_links, write_json, write_text
from uce.core.runs.folder import RunFolder
from uce.core.runs.token_names import DEVICES, token_stem

ROOT = Path(uce.__file__).parents[1]
Cli = Callable[..., tuple[int, str, str]]


def scene() -> Image.Image:
    picture = np.full((64, 64, 3), 210, dtype=np.uint8)
    picture[8:30, 8:30] = (200, 30, 30)
    picture[36:58, 34:56] = (30, 60, 200)
    return Image.fromarray(picture)


@pytest.fixture
def options(tiny_pipeline: Path) -> list[str]:
    """A localisation of seconds."""
    return ["--model", str(tiny_pipeline), "--refiner", "none", "--clusterer", "kmeans"]


def uce_command(
    *arguments: Any, shell: str = "", python: tuple[str, ...] = (), **variables: str
) -> subprocess.CompletedProcess[bytes]:
    """The command line in a process of its own; `shell`: redirections."""
    words = [sys.executable, *python, "-m", "uce.cli", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    if shell:
        return subprocess.run(["sh", "-c", f'"$@" {shell}', "sh", *words], capture_output=True, env=environment)
    return subprocess.run([os.fsencode(word) for word in words], capture_output=True, env=environment)


# File names.


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names themselves")
def test_a_name_that_is_no_utf8(cli: Cli, tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "in").mkdir()
    name = os.fsdecode(os.fsencode(tmp_path) + b"/in/caf\xe9.png")
    scene().save(name, format="PNG")
    code, _, err = cli("localize", name, "-o", tmp_path / "out", *options)
    assert code == 0, err
    assert os.fsencode(uce.load(tmp_path / "out").info["input"]["name"]) == b"caf\xe9.png"
    scene().save(tmp_path / "in" / "plain.png")
    code, _, err = cli("batch", tmp_path / "in", "-o", tmp_path / "many", "--localize-only", *options)
    assert code == 0 and "Traceback" not in err, err
    assert len(list((tmp_path / "many" / "runs").iterdir())) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such locale")
def test_any_name_under_an_ascii_locale(tmp_path: Path, options: list[str]) -> None:
    scene().save(tmp_path / "é😀.png")
    done = uce_command(
        "localize", tmp_path / "é😀.png", "-o", tmp_path / "aus ä", *options,
        LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"concepts, seen in" in done.stdout


def test_a_terminal_of_another_code_page(tmp_path: Path, options: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from uce.cli import main

    scene().save(tmp_path / "é😀.png")
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", terminal)
    with pytest.raises(SystemExit) as ended:
        main(["localize", str(tmp_path / "é😀.png"), "-o", str(tmp_path / "é😀"), *options])
    assert ended.value.code == 0
    terminal.flush()
    assert "é?".encode("cp1252") in terminal.buffer.getvalue()  # type: ignore[attr-defined]


def test_texts_hold_whatever_names_hold(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "caf\udce9 é"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"name": "caf\udce9 é"}
    write_text(tmp_path / "b.txt", "é")
    assert (tmp_path / "b.txt").read_bytes() == "é".encode()


def test_square_brackets_stay(cli: Cli, tmp_path: Path, options: list[str]) -> None:
    folder = tmp_path / "[bold]x[/bold] [red]"
    folder.mkdir(parents=True)
    scene().save(folder / "[i].png")
    code, out, _ = cli("localize", folder / "[i].png", "-o", folder / "[link]", *options)
    assert code == 0
    assert out.count("[bold]x[/bold] [red]/[link]/masks/") >= 1 and str(folder / "[link]" / "masks" / "0.png") in out


def test_hints_that_begin_with_a_dash(
    cli: Cli, tmp_path: Path, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scene().save("p.png")
    _, out, _ = cli("localize", "p.png", "--out=-x", *options)
    assert "then: uce learn ./-x" in out


@pytest.mark.parametrize("name", ["con", "nul", "com1", "lpt9", "aux", "prn"])
def test_no_token_is_called_as_a_device_of_windows(name: str, tmp_path: Path) -> None:
    assert name in DEVICES
    with pytest.raises(ConfigError, match=f"token name '{name}' is a device of Windows.*add a letter"):
        token_stem(f"<{name}>")
    token_stem(f"<{name}x>")


# Folders.


def test_the_umask_says_who_may_read(tmp_path: Path, options: list[str]) -> None:
    scene().save(tmp_path / "p.png")
    before = os.umask(0o077)
    try:
        uce.localize(tmp_path / "p.png", tmp_path / "out", model=options[1], refiner="none", clusterer="kmeans")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert modes == {0o600}
    write_text(tmp_path / "plain", "x")
    assert stat.S_IMODE((tmp_path / "plain").stat().st_mode) == 0o666 & ~before


def test_nothing_is_removed_through_a_link(tmp_path: Path, options: list[str]) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    for name in ("holiday.png", "0.png"):
        scene().save(theirs / name)
    content = {path.name: path.read_bytes() for path in theirs.iterdir()}
    how: dict[str, Any] = {"model": options[1], "refiner": "none", "clusterer": "kmeans", "overwrite": True}
    out = tmp_path / "out"
    uce.localize(np.asarray(scene()), out, **how)
    for path in (out / "masks").iterdir():
        path.unlink()
    (out / "masks").rmdir()
    (out / "masks").symlink_to(theirs, target_is_directory=True)
    uce.localize(np.asarray(scene()), out, **how)
    assert {path.name: path.read_bytes() for path in theirs.iterdir()} == content
    assert (out / "masks" / "0.png").is_file() and not (out / "masks").is_symlink()


def test_no_links_leaves_out_what_lies_behind_them(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.png").touch()
    (tmp_path / "c").symlink_to(tmp_path / "b", target_is_directory=True)
    (tmp_path / "a" / "y.png").symlink_to(tmp_path / "b" / "x.png")
    assert [path.relative_to(tmp_path).as_posix() for path in no_links(tmp_path, "*/*.png")] == [
        "a/x.png", "a/y.png", "b/x.png",
    ]  # fmt: skip
    assert no_links(tmp_path, "c") == []


def test_a_run_stays_where_it_is_when_the_program_goes_elsewhere(
    tmp_path: Path, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    uce.localize(np.asarray(scene()), "out", model=options[1], refiner="none", clusterer="kmeans")
    run = uce.load("out")
    assert run.summary()["folder"] == "out"
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert run.concepts[0].mask.shape == (64, 64) and run.info["status"] == "localized"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("cup,cup", "two tokens would have the same name"),
        ("Cup!", "'Cup!' is not allowed"),
        ("nul", "device of Windows"),
    ],
)
def test_names_are_checked_before_anything_is_computed(
    names: str, message: str, cli: Cli, tmp_path: Path, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from uce.core.work import opening

    monkeypatch.setattr(opening, "backbone_for", lambda *a: pytest.fail("the model was loaded"))
    scene().save(tmp_path / "p.png")
    code, _, err = cli("run", tmp_path / "p.png", "-o", tmp_path / "out", "--names", names, *options)
    assert code == 2 and message in err and not (tmp_path / "out").exists()
    code, _, err = cli(
        "run", tmp_path / "p.png", "-o", tmp_path / "out", "--names", "a,b,c", "--concepts", "0", *options
    )
    assert code == 2 and "3 names for 1 concepts" in err


# Machines.


@pytest.mark.skipif(os.name == "nt", reason="a user database of Unix")
def test_no_home_and_an_unknown_user(
    cli: Cli, tmp_path: Path, options: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import pwd

    def unknown(user: int) -> None:
        raise KeyError(user)

    for name in ("HOME", "UCE_LIBRARY", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(RuntimeError, match="home directory"):
        Path.home()
    scene().save(tmp_path / "p.png")
    assert cli("localize", tmp_path / "p.png", "-o", tmp_path / "out", *options)[0] == 0
    code, out, _ = cli("library", "list")
    assert code == 0 and "is empty" in out


def test_a_library_without_a_home_says_where_to_say_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from uce.tokens import library

    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(library, "_users_data", unknown)
    monkeypatch.delenv(library.VARIABLE, raising=False)
    found = library.Library.open()
    assert found.names() == []
    with (
        pytest.raises(
            ConfigError, match="there is no home folder for a library here; say where it is with UCE_LIBRARY"
        ),
        found._aside("x"),
    ):
        pass


@pytest.mark.skipif(os.name == "nt", reason="a shell of Unix")
@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str) -> None:
    done = uce_command("plugins", "--json", shell=closed)
    assert done.returncode == 0, done.stderr
    assert not done.stderr and (">&- 2" in closed or json.loads(done.stdout)["plugins"])
    assert uce_command("plugins", "show", "nosuch", shell=closed).returncode == 2


def test_a_file_never_gets_the_number_of_a_closed_stream() -> None:
    code = "import sys; from uce.core import logs; logs.steady_streams(); print(open('/dev/null').fileno())"
    done = subprocess.run(["sh", "-c", f'"$0" -c "{code}" 2>&-', sys.executable], capture_output=True, check=True)
    assert int(done.stdout) > 2


def test_python_without_asserts_and_docstrings(tmp_path: Path, options: list[str]) -> None:
    scene().save(tmp_path / "p.png")
    done = uce_command("localize", tmp_path / "p.png", "-o", tmp_path / "out", *options, python=("-OO",))
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1, done.stderr
    assert b"uce: Python was started without docstrings (-OO, or PYTHONOPTIMIZE=2)" in done.stderr
    for words in (["plugins"], ["--help"], ["run", "--help"]):
        assert uce_command(*words, python=("-OO",)).returncode == 0


def test_a_run_folder_is_a_run_folder_also_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    write_json(tmp_path / "real" / "run.json", {"format": 1})
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    RunFolder(tmp_path / "link").clear()
    assert not (tmp_path / "real" / "run.json").exists()
