"""Packages that this repository does not contain: selected, replacing, wrapping, broken, removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strangers
from drawn import two_squares
from PIL import Image
from strangers import Site

import uce
from uce.core.errors import PluginError
from uce.core.registry.manager import load_manager

Cli = Callable[..., tuple[int, str, str]]
ROOT = Path(uce.__file__).parents[1]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    found = Site(folder)
    yield found
    found.refresh(set())


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(two_squares(48, 48)).save(path)
    return path


@pytest.fixture
def quick(tiny_pipeline: Path) -> list[str]:
    """Flags of a run that takes a second."""
    return ["--model", str(tiny_pipeline), "--refiner", "none", "--set", "optimizer.steps=1", "--set",
            "optimizer.merge_step=1", "--set", "optimizer.alignment=kl", "--set", "run.samples=0"]  # fmt: skip


def install_halves(site: Site) -> None:
    entries = {"halves": "strange_halves:Halves"}
    site.install("strange-halves", "1.2", entries, strange_halves=strangers.CLUSTERER)


def install_wrapper(site: Site) -> None:
    entries = {"drop-first": "strange_wrapper:DropFirst"}
    site.install("strange-wrapper", "0.1", entries, strange_wrapper=strangers.WRAPPER)


def done(cli: Cli, *arguments: Any) -> str:
    code, out, err = cli(*arguments)
    assert code == 0, err
    return out


def refused(cli: Cli, *arguments: Any) -> str:
    """The one line of a command that ends with exit code 2."""
    code, _, err = cli(*arguments)
    assert code == 2 and err.count("\n") == 1 and "Traceback" not in err, err
    return err


def listed(cli: Cli, *arguments: str) -> dict[str, dict[str, Any]]:
    """`uce plugins --json` by distribution; several plugins of one: the last."""
    return {p["distribution"]: p for p in json.loads(done(cli, "plugins", "--json", *arguments))["plugins"]}


def masks(folder: Path) -> list[Any]:
    return [np.asarray(Image.open(p)) > 127 for p in sorted((folder / "masks").glob("*.png"))]


def test_every_plugin_is_listed_with_stage_distribution_version_and_a_line(cli: Cli, site: Site) -> None:
    install_halves(site)
    lines = [" ".join(line.split()) for line in done(cli, "plugins").splitlines()]
    manager = load_manager()
    assert len(lines) == len(manager.plugins) + len(manager.failures) and len(lines) > 15
    for info in manager.plugins:
        assert info.summary.endswith(".") and info.version
        stages = ", ".join([*info.stages, *(f"wraps {stage}" for stage in info.wraps)])
        said = f"{stages} {info.name} {info.summary} [{info.distribution} {info.version}]"
        assert " ".join(said.split()) in lines


def test_another_process_lists_what_is_on_its_path(site: Site) -> None:
    install_halves(site)
    site.install("strange-broken", "0.1", {"broken": "strange_broken:Broken"}, strange_broken=strangers.BROKEN)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site.folder), str(ROOT)])}
    command = [sys.executable, "-m", "uce.cli", "plugins"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    lines = ran.stdout.splitlines()
    assert [" ".join(line.split()) for line in lines if "strange-halves" in line] == [
        "clusterer halves Left and right: for tests. [strange-halves 1.2]"
    ]
    assert lines[-1] == (
        "not loaded: broken of strange-broken: ModuleNotFoundError: No module named 'a_module_that_nobody_has'"
    )


def test_a_clusterer_is_selected_by_name(cli: Cli, site: Site, picture: Path, quick: list[str], tmp_path: Path) -> None:
    install_halves(site)
    done(cli, "localize", picture, "-o", tmp_path / "out", "--clusterer", "halves", "--foreground", "none", *quick)
    left, right = masks(tmp_path / "out")
    assert left[:, :23].all() and right[:, 25:].all()
    rows = json.loads((tmp_path / "out" / "run.json").read_text())["plugins"]
    assert {"stage": "clusterer", "plugin": "halves", "distribution": "strange-halves", "version": "1.2"} in rows
    done(
        cli,
        "localize",
        picture,
        "-o",
        tmp_path / "narrow",
        "--clusterer",
        "halves",
        "--set",
        "clusterer.column=4",
        *quick,
    )
    assert masks(tmp_path / "narrow")[0].sum() < left.sum()
    line = refused(
        cli, "localize", picture, "-o", tmp_path / "no", "--clusterer", "halves", "--set", "clusterer.colum=4", *quick
    )
    assert "unknown key 'clusterer.colum'; available: clusterer.column. Did you mean 'clusterer.column'?" in line
    assert "Did you mean 'halves'?" in refused(cli, "localize", picture, "-o", tmp_path / "no", "--clusterer", "halvs")


def test_an_extractor_is_selected_by_name(
    cli: Cli, site: Site, picture: Path, quick: list[str], tmp_path: Path
) -> None:
    site.install("strange-rows", "0.3", {"rows": "strange_rows:Rows"}, strange_rows=strangers.EXTRACTOR)
    done(cli, "localize", picture, "-o", tmp_path / "out", "--extractor", "rows", "--clusterer", "hierarchical", *quick)
    for mask in masks(tmp_path / "out"):
        assert ((mask.mean(axis=1) == 0) | (mask.mean(axis=1) == 1)).mean() > 0.8  # whole rows, but for blurred borders


def test_finch_is_replaced_and_comes_back(
    cli: Cli, site: Site, picture: Path, quick: list[str], tmp_path: Path
) -> None:
    site.install("strange-finch", "2.0", {"finch": "strange_finch:Thirds"}, strange_finch=strangers.FINCH)
    out = done(cli, "plugins")
    assert "Three stripes instead of finch: for tests.  [strange-finch 2.0, replaces the built-in clusterer]" in out
    assert ", replaced by strange-finch]" in out
    assert listed(cli)["strange-finch"]["replaces"] == ["clusterer"]
    done(cli, "localize", picture, "-o", tmp_path / "out", "--clusterer", "finch", *quick)
    assert len(masks(tmp_path / "out")) == 3
    assert "strange-finch" not in done(cli, "plugins", "--no-plugin", "strange-finch")
    manager = load_manager(no_plugins=["strange-finch"])
    assert manager.get("clusterer", "finch").distribution == "uce-concepts"
    assert "(clusterer), strange-finch 2.0" in done(cli, "plugins", "show", "finch")


def test_a_wrapper_works_around_every_refiner(
    cli: Cli, site: Site, picture: Path, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_halves(site)
    install_wrapper(site)
    assert listed(cli)["strange-wrapper"]["wraps"] == ["refiner"]
    line = next(line for line in done(cli, "plugins").splitlines() if "strange-wrapper" in line)
    assert line.startswith("wraps refiner")
    run = ["localize", picture, "--clusterer", "halves", *quick]
    done(cli, *run, "-o", tmp_path / "wrapped")
    assert len(masks(tmp_path / "wrapped")) == 1
    rows = json.loads((tmp_path / "wrapped" / "run.json").read_text())["plugins"]
    assert rows[-1] == {
        "stage": "refiner", "plugin": "drop-first", "distribution": "strange-wrapper", "version": "0.1", "wraps": True
    }  # fmt: skip
    done(cli, *run, "-o", tmp_path / "plain", "--no-plugin", "drop-first")
    assert len(masks(tmp_path / "plain")) == 2
    monkeypatch.setenv("UCE_DISABLE_PLUGINS", "strange-wrapper")
    done(cli, *run, "-o", tmp_path / "off")
    assert len(masks(tmp_path / "off")) == 2 and "strange-wrapper" not in listed(cli)


def test_broken_at_import_matters_only_to_who_selects_it(
    cli: Cli, site: Site, picture: Path, quick: list[str], tmp_path: Path
) -> None:
    site.install("strange-broken", "0.1", {"broken": "strange_broken:Broken"}, strange_broken=strangers.BROKEN)
    site.install("strange-exit", "0.1", {"leaving": "strange_exit:Exit"}, strange_exit="raise SystemExit('bye')")
    site.install("strange-empty", "0.1", {"empty": "strange_empty:Nothing"}, strange_empty="")
    failures = {f["name"]: f for f in json.loads(done(cli, "plugins", "--json"))["failures"]}
    assert failures["broken"]["distribution"] == "strange-broken"
    assert failures["leaving"]["cause"] == "ExitedError: sys.exit(bye)"
    assert failures["empty"]["cause"].startswith("AttributeError: ")
    done(cli, "localize", picture, "-o", tmp_path / "out", "--clusterer", "kmeans", *quick)
    line = refused(cli, "localize", picture, "-o", tmp_path / "no", "--clusterer", "broken", *quick)
    assert line == (
        "uce: clusterer 'broken' of strange-broken could not be loaded: ModuleNotFoundError: No module named "
        "'a_module_that_nobody_has'\n"
    )
    assert not (tmp_path / "no").exists()


def test_two_strangers_of_one_name_matter_only_to_who_chooses_it(
    cli: Cli, site: Site, picture: Path, quick: list[str], tmp_path: Path
) -> None:
    site.install("strange-left", "1.0", {"halves": "strange_left:Halves"}, strange_left=strangers.CLUSTERER)
    site.install("strange-right", "1.0", {"halves": "strange_right:Halves"}, strange_right=strangers.CLUSTERER)
    text = "two plugins claim the clusterer 'halves': strange-left and strange-right"
    assert f"not to be chosen: {text}" in cli("plugins")[1] and f"not to be chosen: {text}" in cli("doctor")[1]
    clash = {"stage": "clusterer", "name": "halves", "distributions": ["strange-left", "strange-right"]}
    assert json.loads(cli("plugins", "--json")[1])["clashes"] == [clash]
    assert text in refused(cli, "localize", str(picture), "-o", str(tmp_path / "out"), "--clusterer", "halves")
    done(cli, "localize", picture, "-o", tmp_path / "other", "--clusterer", "kmeans", *quick)
    found = listed(cli, "--no-plugin", "strange-right")
    assert "strange-left" in found and "strange-right" not in found


def test_a_plugin_that_raises(cli: Cli, site: Site, picture: Path, quick: list[str], tmp_path: Path) -> None:
    site.install("strange-mess", "0.9", {"raising": "strange_mess:Raising"}, strange_mess=strangers.RAISING)
    line = refused(cli, "localize", picture, "-o", tmp_path / "out", "--clusterer", "raising", *quick)
    assert "clusterer 'raising' (strange-mess 0.9) raised IndexError: list index out of range; traceback in" in line
    text = Path(line.rpartition("traceback in ")[2].strip()).read_text()
    assert "return [][3]" in text and text.rstrip().endswith("IndexError: list index out of range")


def test_a_wrapper_that_raises_is_the_one_that_is_named(
    cli: Cli, site: Site, picture: Path, quick: list[str], tmp_path: Path
) -> None:
    site.install("strange-mess", "0.9", {"around": "strange_mess:RaisingWrapper"}, strange_mess=strangers.RAISING)
    line = refused(cli, "localize", picture, "-o", tmp_path / "out", "--clusterer", "kmeans", *quick)
    assert "wrapper 'around' (strange-mess 0.9) of the refiner 'none' raised KeyError: \"a wrapper's own" in line


def test_the_plugin_inside_a_wrapper_is_named_where_it_raises(
    cli: Cli, site: Site, picture: Path, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_wrapper(site)
    file = tmp_path / "bad_refiner.py"
    file.write_text(strangers.BAD_REFINER)
    flags = [flag if flag != "none" else "bad" for flag in quick]
    line = refused(cli, "localize", picture, "-o", tmp_path / "out", "--clusterer", "kmeans", "--plugin", file, *flags)
    assert f"refiner 'bad' ({file}) raised ZeroDivisionError: division by zero" in line

    def fail(*arguments: Any) -> None:
        raise RuntimeError("our own")

    monkeypatch.setattr("uce.plugins.refiners.none.NoRefiner.uce_refine_masks.__code__", fail.__code__)
    line = refused(cli, "localize", picture, "-o", tmp_path / "two", "--clusterer", "kmeans", *quick)
    assert "refiner 'none' (uce-concepts" in line and "wrapped by 'drop-first' (strange-wrapper 0.1), raised" in line


@pytest.fixture
def removed(cli: Cli, site: Site, picture: Path, quick: list[str], tmp_path: Path) -> Path:
    """A finished run of a stranger's clusterer that has been uninstalled since."""
    install_halves(site)
    done(cli, "run", picture, "-o", tmp_path / "out", "--clusterer", "halves", "--set", "clusterer.column=5", *quick)
    site.uninstall("strange-halves")
    return tmp_path / "out"


def test_after_uninstalling_everything_else_works(
    cli: Cli, removed: Path, picture: Path, quick: list[str], tmp_path: Path
) -> None:
    assert "strange-halves" not in done(cli, "plugins")
    done(cli, "run", picture, "-o", tmp_path / "plain", "--clusterer", "kmeans", *quick)
    done(cli, "generate", "a photo of <asset0>", "--run", removed, "-o", tmp_path / "pictures", "--steps", "1")
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 1
    assert len(uce.load(removed).concepts) == 2


def test_a_run_of_an_uninstalled_plugin_says_what_is_missing(
    cli: Cli, removed: Path, picture: Path, quick: list[str], tmp_path: Path
) -> None:
    said = (
        f"uce: {removed} was made with the clusterer 'halves' of strange-halves 1.2, which is missing here; install it "
        "again (pip install strange-halves==1.2, or the folder that you had it from), or "
    )
    before = {path: path.read_bytes() for path in removed.rglob("*") if path.is_file()}
    again = refused(cli, "run", picture, "--config", removed / "config.yaml", "-o", tmp_path / "again")
    assert again == said + "choose another with --clusterer\n"
    anew = said + "run the picture again with --overwrite\n"
    assert refused(cli, "learn", removed, "--overwrite") == anew
    assert refused(cli, "run", picture, "-o", removed, "--resume") == anew
    assert {path: path.read_bytes() for path in removed.rglob("*") if path.is_file()} == before
    done(cli, "run", picture, "--config", removed / "config.yaml", "-o", tmp_path / "other", "--clusterer", "kmeans")
    done(cli, "run", picture, "-o", removed, "--overwrite", "--clusterer", "kmeans", *quick)


def test_a_removed_replacement_is_not_silently_the_builtin(
    cli: Cli, site: Site, picture: Path, quick: list[str], tmp_path: Path
) -> None:
    site.install("strange-finch", "2.0", {"finch": "strange_finch:Thirds"}, strange_finch=strangers.FINCH)
    done(cli, "localize", picture, "-o", tmp_path / "out", "--clusterer", "finch", *quick)
    site.uninstall("strange-finch")
    line = refused(cli, "localize", picture, "-o", tmp_path / "out", "--resume")
    assert (
        "was made with the clusterer 'finch' of strange-finch 2.0, whose place uce-concepts takes here; "
        "install it again (pip install strange-finch==2.0, or the folder"
    ) in line
    config = tmp_path / "out" / "config.yaml"
    done(cli, "localize", picture, "-o", tmp_path / "new", "--config", config, "--clusterer", "finch")


def test_a_removed_wrapper_is_missed(
    cli: Cli, site: Site, picture: Path, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_wrapper(site)
    plain = ("--clusterer", "kmeans", "--foreground", "none")
    done(cli, "localize", picture, "-o", tmp_path / "out", *plain, *quick)
    monkeypatch.setenv("UCE_DISABLE_PLUGINS", "drop-first")
    line = refused(cli, "learn", tmp_path / "out")
    assert "was made with the wrapper 'drop-first' of the refiner of strange-wrapper 0.1, which is missing here" in line
    assert "leave out the --no-plugin or UCE_DISABLE_PLUGINS that switches it off" in line
    monkeypatch.delenv("UCE_DISABLE_PLUGINS")
    site.uninstall("strange-wrapper")
    assert "pip install strange-wrapper==0.1" in refused(cli, "learn", tmp_path / "out")


def test_a_plugin_file_is_asked_for_again(cli: Cli, picture: Path, quick: list[str], tmp_path: Path) -> None:
    file = tmp_path / "halves.py"
    file.write_text(strangers.CLUSTERER)
    done(cli, "localize", picture, "-o", tmp_path / "out", "--clusterer", "halves", "--plugin", file, *quick)
    line = refused(cli, "learn", tmp_path / "out")
    assert f"the clusterer 'halves' of {file}, which is missing here; give --plugin {file} again" in line
    done(cli, "learn", tmp_path / "out", "--plugin", file)


def test_a_run_folder_with_strange_rows_is_not_in_the_way(
    cli: Cli, picture: Path, quick: list[str], tmp_path: Path
) -> None:
    done(cli, "localize", picture, "-o", tmp_path / "out", "--clusterer", "kmeans", *quick)
    document = json.loads((tmp_path / "out" / "run.json").read_text())
    for rows in (None, ["kmeans"], [{"stage": "clusterer"}], {}):
        (tmp_path / "out" / "run.json").write_text(json.dumps({**document, "plugins": rows}))
        done(cli, "localize", picture, "-o", tmp_path / "out", "--resume")


def test_python_gets_the_same_error(site: Site, removed: Path, picture: Path) -> None:
    with pytest.raises(PluginError, match=r"clusterer 'halves' of strange-halves 1\.2, which is missing here"):
        uce.learn(removed, overwrite=True)
