"""From a dropped picture to a zip, without a browser, on a tiny random model."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ui_fixtures import wait

import uce
from uce.core.errors import ConfigError, ImageError
from uce.ui import jobs
from uce.ui.app import App
from uce.ui.bundle import bundle_of
from uce.ui.sheet import brush_value
from uce.ui.things import Thing
from uce.ui.uploads import MAX_SIDE, bounded, take_picture
from uce.ui.work import find_job, lay_masks
from uce.ui.workspace import MAX_PICTURES, Workspace, Workspaces

Drop = Callable[..., None]


def names(workspace: Workspace) -> list[str]:
    assert workspace.picture is not None
    return [thing.name for thing in workspace.picture.things]


def same_without_samples(person: Workspace, plain: Path) -> None:
    """Drawing samples on the way must not change what is learned."""
    picture = person.picture
    assert picture is not None and picture.run is not None
    shutil.copytree(picture.found, plain)
    lay_masks(plain / "masks", picture.learned_things)
    quick = ["optimizer.steps=3", "optimizer.merge_step=1", "run.samples=0"]
    by_hand = uce.learn(plain, names=[thing.name for thing in picture.learned_things], set=quick, device="cpu")
    for file in ("embeddings.safetensors", "history.csv"):
        assert (by_hand.path / file).read_bytes() == (picture.run.path / file).read_bytes()


def test_from_a_picture_to_a_zip(app: App, person: Workspace, drop: Drop) -> None:
    drop(person)
    assert person.job is not None and person.job.status == jobs.DONE, person.job
    assert names(person) == ["thing1", "thing2", "thing3"] and person.step == 2
    app.select(person, "thing1")
    app.rename(person, "Red Ball")
    app.tick(person, ["red-ball", "thing2"])
    app.learn(person)
    wait(person)
    assert person.job.status == jobs.DONE, person.job.problem
    assert len(person.job.losses) == 3 and person.job.samples, "losses and samples come while it learns"
    picture = person.picture
    assert picture is not None and picture.run is not None and not picture.changed
    assert [concept.token for concept in picture.run.concepts] == ["<red-ball>", "<thing2>"]
    same_without_samples(person, app.root / "plain")
    app.draw(person, "a photo of <red-ball> and <thing2>", 2, 5, 5)
    wait(person)
    assert person.job.status == jobs.DONE, person.job.problem
    assert len(person.drawings) == 2
    path = bundle_of(person)
    assert path is not None
    with zipfile.ZipFile(path) as bundle:
        inside = set(bundle.namelist())
        assert {"README.txt", "scene/report.html", "scene/tokens/red-ball.safetensors", "scene/masks/0.png"} <= inside
        assert len([name for name in inside if name.startswith("drawn/")]) == 2
        assert not [name for name in inside if "/stages/" in name]
        for name in inside:
            assert str(app.root).encode() not in bundle.read(name), f"{name} tells where the server keeps it"


def test_words_of_several_pictures_in_one_prompt(app: App, person: Workspace, drop: Drop) -> None:
    for number in range(2):
        drop(person, f"scene{number}.png")
        app.tick(person, names(person)[:1])
        app.learn(person)
        wait(person)
    learned = [picture.learned_things[0] for picture in person.pictures]
    assert [(thing.title, thing.name) for thing in learned] == [("thing1", "thing1"), ("thing1", "scene1-thing1")]
    app.draw(person, "<thing1> and <scene1-thing1>", 1, 0, 5)
    wait(person)
    assert person.job is not None and person.job.status == jobs.DONE, person.job.problem
    assert person.drawings[0].names == ("thing1", "scene1-thing1") and person.drawings[0].seed == 0
    with pytest.raises(ConfigError, match="<dog> has not been learned"):
        app.draw(person, "a <dog>", 1, 0, 5)


def test_drawings_can_be_varied_and_take_new_seeds_by_themselves(app: App, person: Workspace, drop: Drop) -> None:
    drop(person)
    app.tick(person, ["thing2"])
    app.learn(person)
    wait(person)
    for _ in range(2):
        app.draw(person, "a photo of thing2", 1, None, 2)
        wait(person)
    assert person.job is not None and person.job.status == jobs.DONE, person.job.problem
    assert [(d.prompt, d.seed) for d in person.drawings] == [("a photo of <thing2>", 1), ("a photo of <thing2>", 0)]
    assert "read as your word <thing2>" in person.messages[1].text
    app.vary(person, 1, 1, 2)
    wait(person)
    assert [(d.prompt, d.seed) for d in person.drawings][:1] == [("a photo of <thing2>", 2)]
    with pytest.raises(ConfigError, match="not here any more"):
        app.vary(person, 9, 1, 2)


def stop_while_it_learns(app: App, person: Workspace, after: int = 2) -> None:
    """Press Stop once `after` updates are done."""
    app.learn(person)
    while person.job is not None and len(person.job.losses) < after:
        assert person.busy, person.job.problem
    app.stop(person)
    wait(person)
    assert person.job is not None and person.job.status == jobs.CANCELLED


def test_stop_while_it_learns_loses_nothing(app: App, person: Workspace, drop: Drop) -> None:
    drop(person)
    picture = person.picture
    assert picture is not None
    person.chosen.values = {**person.chosen.values, "optimizer.steps": 5000}
    app.learn(person)
    with pytest.raises(ConfigError, match="wait until"):
        app.split(person)
    app.stop(person)
    wait(person)
    stop_while_it_learns(app, person)
    assert picture.run is None and names(person) == ["thing1", "thing2", "thing3"]
    stopped = picture.stopped
    assert stopped is not None and stopped.total > stopped.update >= 2 and len(stopped.losses) == stopped.update
    app.use(person)
    wait(person)
    assert person.job is not None and person.job.status == jobs.DONE, person.job.problem
    assert (
        picture.run is not None
        and picture.stopped is None
        and [t.name for t in picture.learned_things] == names(person)
    )
    history = (picture.run.path / "history.csv").read_text().splitlines()
    assert len(history) == 1 + stopped.update + 1, "a row of names, what was done, and the update that ends it"
    assert picture.run.info["stopped_after"] == stopped.update + 1
    assert len(list((picture.run.path / "samples").glob("*.png"))) == 4 and bundle_of(person) is not None


def test_learning_that_was_stopped_goes_on_as_if_it_had_not_been(app: App, person: Workspace, drop: Drop) -> None:
    drop(person)
    picture = person.picture
    assert picture is not None
    person.chosen.values = {**person.chosen.values, "optimizer.steps": 6}
    app.learn(person)
    wait(person)
    assert picture.run is not None
    whole = {file: (picture.run.path / file).read_bytes() for file in ("embeddings.safetensors", "history.csv")}
    stop_while_it_learns(app, person)
    assert picture.stopped is not None and 2 <= picture.stopped.update < len(whole["history.csv"].splitlines()) - 1
    app.go_on(person)
    wait(person)
    assert person.job is not None and person.job.status == jobs.DONE, person.job.problem
    assert picture.stopped is None and len(picture.losses) == len(whole["history.csv"].splitlines()) - 1
    for file, data in whole.items():
        assert (picture.run.path / file).read_bytes() == data, file
    with pytest.raises(ConfigError, match="nothing was stopped"):
        app.go_on(person)


def test_pictures_that_come_while_it_works_wait_their_turn(app: App, person: Workspace, drop: Drop) -> None:
    drop(person)
    person.chosen.values = {**person.chosen.values, "optimizer.steps": 5000}
    app.learn(person)
    learning = person.job
    for name in ("Наш стол.png", "Наш стол.png"):
        folder = app.cache / f"more-{len(person.pictures)}"
        folder.mkdir()
        assert person.picture is not None
        shutil.copy(person.picture.file, folder / name)
        app.upload(person, str(folder / name))
    assert [p.title for p in person.pictures] == ["scene", "Наш стол", "Наш стол"]
    assert [p.name for p in person.pictures] == ["scene", "nash-stol", "nash-stol-2"]
    assert person.job is learning and len(person.waiting) == 3 and person.current == 0
    assert any(message.title == "Your picture waits" for message in person.messages)
    app.stop(person)
    wait(person)
    assert [[t.title for t in p.things] for p in person.pictures] == [["thing1", "thing2", "thing3"]] * 3
    assert person.current == 0, "what comes in the background does not take the page away"


def test_nothing_is_found_in_a_blank_picture(app: App, person: Workspace, tmp_path: Path) -> None:
    grain = np.random.default_rng(0).integers(0, 6, (90, 120, 3))
    Image.fromarray((230 + grain).astype(np.uint8)).save(app.cache / "blank.png")
    app.upload(person, str(app.cache / "blank.png"))
    wait(person)
    assert person.job is not None and person.job.status == jobs.DONE, person.job.problem
    assert names(person) == [] and person.step == 2 and person.picture is not None and person.picture.is_found


def test_clicks_choose_add_and_take_away(
    app: App, person: Workspace, drop: Drop, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(person)
    picture = person.picture
    assert picture is not None
    first, second = picture.things[:2]
    row, column = map(int, np.argwhere(second.mask)[0])
    app.click(person, column, row, "add")
    assert person.selected == second.name and not picture.earlier, "a click on another thing chooses it"
    spot = np.zeros_like(second.mask)
    spot[row, column] = True
    whole = np.ones_like(spot)
    monkeypatch.setattr(app, "_region", lambda workspace, x, y, within: whole if within is None else spot)
    app.click(person, column, row, "take")
    assert not picture.things[1].mask[row, column] and picture.things[1].mask.sum() == second.mask.sum() - 1
    with pytest.raises(ConfigError, match="thing1 is there already"):
        app.click(person, *map(int, np.argwhere(first.mask)[0][::-1]), "new")
    app.click(person, column, row, "add")
    others = np.any([thing.mask for thing in picture.things if thing.name != second.name], axis=0)
    assert (picture.things[1].mask == ~others).all(), "it grew to all that is nobody else's"
    assert picture.things[0] is first and person.messages[0].title == "Outline changed"
    app.undo(person)
    app.undo(person)
    assert picture.things[1] is second
    monkeypatch.setattr(app, "_region", lambda workspace, x, y, within: second.mask)
    app.click(person, column, row, "add")
    assert picture.things[1] is second and person.messages[0].title == "Nothing changed"
    app.select(person, first.name)
    with pytest.raises(ConfigError, match="thing1 is not there"):
        app.click(person, column, row, "take")


def test_two_people_do_not_mix(app: App, person: Workspace, drop: Drop) -> None:
    other = app.workspaces.new()
    drop(person)
    assert not other.pictures and other.id != person.id and other.folder != person.folder
    assert app.workspaces.get(person.id) is person and app.workspaces.get("x" * 32) is None
    assert app.workspaces.get("../../etc") is None and app.workspaces.get({"path": "/etc/passwd"}) is None
    with pytest.raises(ConfigError, match="drop a picture first"):
        app.learn(other)
    app.forget(person)
    assert not person.folder.exists() and app.workspaces.get(person.id) is None


def test_editing_can_be_undone(app: App, person: Workspace, drop: Drop) -> None:
    drop(person)
    app.select(person, "thing1")
    app.merge(person, "thing2")
    assert names(person) == ["thing1", "thing3"]
    app.delete(person)
    assert names(person) == ["thing3"] and person.selected == "thing3"
    app.undo(person)
    app.undo(person)
    assert names(person) == ["thing1", "thing2", "thing3"]
    with pytest.raises(ConfigError, match="nothing to undo"):
        app.undo(person)


def test_painted_things_are_learned_where_nothing_stood_out(app: App, person: Workspace, drop: Drop) -> None:
    person.chosen.refiners = ["saliency"]
    person.chosen.values = {**person.chosen.values, "refiner.saliency.threshold": 1000.0}
    drop(person)
    assert person.job is not None and person.job.status == jobs.DONE, person.job.problem
    assert names(person) == []
    assert person.picture is not None
    mask = np.zeros((90, 120), bool)
    mask[20:64, 8:52] = True
    app.paint(person, {"painted": brush_value(person.picture, Thing(0, "ball", mask))["painted"]}, None)
    assert names(person) == ["thing1"]
    app.learn(person)
    wait(person)
    assert person.job.status == jobs.DONE, person.job.problem


def test_uploads_are_made_anew_and_deleted(app: App, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    path = app.cache / "holiday.jpg"
    Image.new("RGB", (3000, 1500), "red").save(path, exif=exif)
    pixels = take_picture(path, app.cache)
    assert pixels.shape == (MAX_SIDE // 2, MAX_SIDE, 3) and not path.exists()
    person = app.workspaces.new()
    assert b"where I live" not in person.add_picture(pixels, "../../Holiday.JPG").file.read_bytes()
    assert person.pictures[0].name == "holiday" and person.pictures[0].folder.parent == person.folder


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [("a.png", b"", "empty"), ("a.png", b"not a picture", "not a picture"), ("a.svg", b"<svg/>", "SVG; save it")],
)
def test_files_that_are_no_pictures_are_refused_and_deleted(app: App, name: str, data: bytes, message: str) -> None:
    path = app.cache / name
    path.write_bytes(data)
    with pytest.raises(ImageError, match=message) as refused:
        take_picture(path, app.cache)
    assert not path.exists() and str(app.cache) not in str(refused.value)


def test_only_uploads_can_be_used(app: App, tmp_path: Path) -> None:
    path = tmp_path / "mine.png"
    Image.new("RGB", (64, 64)).save(path)
    with pytest.raises(ImageError, match="uploaded here"):
        take_picture(path, app.cache)
    assert path.exists(), "a file that is not ours is left alone"
    with pytest.raises(ImageError, match="at least 16"):
        bounded(np.zeros((8, 64, 3), np.uint8))


def test_idle_work_is_swept_and_pictures_are_counted(tmp_path: Path) -> None:
    spaces = Workspaces(tmp_path, keep_seconds=0)
    person = spaces.new()
    for number in range(MAX_PICTURES):
        person.add_picture(np.zeros((20, 20, 3), np.uint8), f"{number}.png")
    with pytest.raises(ConfigError, match="20 pictures already"):
        person.add_picture(np.zeros((20, 20, 3), np.uint8), "more.png")
    spaces.sweep()
    assert spaces.get(person.id) is None and not person.folder.exists()


def test_a_job_needs_a_ticked_thing(app: App, person: Workspace, drop: Drop) -> None:
    drop(person)
    app.tick(person, [])
    with pytest.raises(ConfigError, match="tick at least one"):
        app.learn(person)
    assert person.picture is not None and find_job(person, app.menu, person.picture).kind == "find"
