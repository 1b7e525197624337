"""What the user named: files, folders, patterns, lists, URLs; and the names that come of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import uce
from uce.batching.names import Named, give_names, read_names, slug, write_names
from uce.batching.sources import Entry, read_sources
from uce.core import ConfigError, RunFolderError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("a.png", "b.JPG", "sub/a.png", "sub/deep/c.webp", ".hidden/x.png", "notes.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def shown(tree: Path, *sources: str | Path) -> list[str]:
    return [str(Path(entry.source).relative_to(tree)) for entry in read_sources(sources)]


def test_files_folders_and_patterns(tree: Path) -> None:
    assert shown(tree, tree / "b.JPG", tree / "a.png") == ["b.JPG", "a.png"]
    assert shown(tree, tree) == ["a.png", "b.JPG", "sub/a.png", "sub/deep/c.webp"]
    assert shown(tree, f"{tree}/*.png") == ["a.png"]
    assert shown(tree, f"{tree}/**/*.png") == ["a.png", "sub/a.png"]
    assert shown(tree, tree / "a.png", f"{tree}/*.png", tree / "sub") == ["a.png", "sub/a.png", "sub/deep/c.webp"]
    brackets = tree / "x[1].png"
    brackets.write_bytes(b"x")
    assert shown(tree, brackets) == ["x[1].png"]


def test_lists(tree: Path) -> None:
    (tree / "list.txt").write_text("# those I like\n\na.png\n  sub/a.png\n", encoding="utf-8-sig")
    assert shown(tree, tree / "list.txt") == ["a.png", "sub/a.png"]
    (tree / "list.csv").write_text(
        'image,name,seed,concepts,names,refiner,optimizer.steps,clusterer\na.png,first,3,"0,2","cup,cat",saliency+merge,'
        "50,kmeans\nsub/a.png,,,,,,,\n"
    )
    first, second = read_sources([tree / "list.csv"])
    assert first.asked == "first" and first.options == {
        "seed": 3,
        "concepts": [0, 2],
        "names": ["cup", "cat"],
        "refiner": ["saliency", "merge"],
        "set": {"optimizer.steps": 50},
        "clusterer": "kmeans",
    }
    assert second == Entry(str(tree / "sub/a.png"))
    line = {"image": "a.png", "name": "first", "seed": 3, "concepts": [0, 2], "names": ["cup", "cat"]}
    line |= {"refiner": ["saliency", "merge"], "optimizer.steps": 50, "clusterer": "kmeans"}
    (tree / "list.jsonl").write_text(json.dumps(line) + '\n"sub/a.png"\n')
    assert read_sources([tree / "list.jsonl"]) == [first, second]
    (tree / "list.tsv").write_text("image\tseed\na.png\t3\n")
    assert read_sources([tree / "list.tsv"])[0].options == {"seed": 3}


@pytest.mark.parametrize(
    ("name", "text", "wrong"),
    [
        ("l.csv", "picture\na.png\n", "first line must name the columns, 'image' among them"),
        ("l.csv", "image,sed\na.png,3\n", r"line 2: unknown key 'sed'.*Did you mean 'seed'"),
        ("l.csv", "image,seed\na.png,many\n", "line 2: seed: found 'many', give a whole number from 0"),
        ("l.csv", "image,seed\na.png,3,4\n", "line 2: there are more values than columns"),
        ("l.csv", "image,seed\n,3\n", "line 2: there is no image"),
        ("l.csv", "image,name\na.png,../../etc\n", r"line 2: the name '\.\./\.\./etc' is not allowed"),
        ("l.csv", "image,run.threads\na.png,4\n", "holds for the whole batch"),
        ("l.csv", 'image\n"a.png\n', "not readable as CSV"),
        ("l.jsonl", '{"image": "a.png"', "line 1: not readable as JSON"),
        ("l.jsonl", "3", "line 1: give an object"),
        ("l.jsonl", '{"image": 3}', "line 1: there is no image"),
        ("l.jsonl", '{"image": "a.png", "seed": 1.5}', r"seed: found 1\.5"),
        ("l.jsonl", '{"image": "a.png", "model": "sd1.5"}', "unknown key 'model'"),
        ("l.txt", "# nothing\n", "there is no picture to work on"),
    ],
)
def test_a_list_that_is_wrong(tmp_path: Path, name: str, text: str, wrong: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=wrong):
        read_sources([tmp_path / name])


def test_sources_that_are_not_there(tree: Path) -> None:
    (tree / "none").mkdir()
    cases = {
        tree / "no.png": r"no\.png does not exist",
        f"{tree}/*.bmp": "no file matches",
        tree / "none": "holds no picture",
        "memory://nowhere/a.png": "there is nothing at memory://nowhere",
        "nosuch://a/b.png": "cannot read nosuch:// addresses here",
    }
    for source, text in cases.items():
        with pytest.raises(ConfigError, match=text):
            read_sources([source])
    (tree / "latin.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ConfigError, match="not readable"):
        read_sources([tree / "latin.txt"])


def test_urls(pictures: Path, base: dict[str, Any], tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for number, path in enumerate(sorted(pictures.iterdir())):
        memory.pipe(f"/shelf/{number}.png", path.read_bytes())
    memory.pipe("/shelf/list.csv", b"image,seed\n1.png,4\nmissing.png,\n")
    assert [e.source for e in read_sources(["memory://shelf/*.png"])] == [f"memory:///shelf/{n}.png" for n in range(4)]
    (pictures / "notes.txt").write_text("no list of this batch")
    local = f"file://{pictures / 'scene 0.png'}"
    done = uce.batch([local, "memory://shelf/list.csv"], tmp_path / "out", localize_only=True, **base)
    assert [(row["name"], row["status"]) for row in done.rows] == [
        ("scene-0", "localized"),
        ("1", "localized"),
        ("missing", "failed"),
    ]
    assert done.rows[1]["options"] == {"seed": 4} and "FileNotFoundError" in done.rows[2]["error"]
    assert done.run("1").info["input"]["name"] == "1.png"


def names(*sources: str) -> list[str]:
    return [named.name for named in give_names(map(Entry, sources), [])[0]]


def test_names_are_derived_and_distinct() -> None:
    assert names("/x/My Cat (1).JPG", "/y/my cat 1.png", "/z/MY-CAT-1.webp") == ["my-cat-1", "my-cat-1-2", "my-cat-1-3"]
    assert names("/a/..", "/a/....png", "/a/\u732b.png", "s3://b/k/", "/a/.png") == [
        "picture", "picture-2", "picture-3", "k", "png"
    ]  # fmt: skip
    assert names("/a/x-2.png", "/a/x.png", "/b/x.png") == ["x-2", "x", "x-3"]


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(max_size=60), max_size=8, unique=True))
def test_no_source_leads_out_of_the_folder(sources: list[str]) -> None:
    found = names(*sources)
    assert len(set(found)) == len(sources)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) for name in found)
    assert all(len(slug(source)) <= 60 for source in sources)


def test_names_stay_when_pictures_are_added(tmp_path: Path) -> None:
    first, second = Entry("/b/x.png"), Entry("/a/x.png")
    _, known = give_names([first], [])
    write_names(tmp_path / "names.jsonl", known)
    found, every = give_names([second, first], read_names(tmp_path / "names.jsonl"))
    assert found == [Named("x-2", second), Named("x", first)] and every == [Named("x", first), Named("x-2", second)]


def test_a_registry_that_somebody_edited_is_refused(tmp_path: Path) -> None:
    row = {"name": "../out", "source": "/a.png", "asked": None, "options": {}}
    (tmp_path / "names.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(RunFolderError, match=r"holds the name '\.\./out'"):
        read_names(tmp_path / "names.jsonl")
    (tmp_path / "names.jsonl").write_text("{")
    with pytest.raises(RunFolderError, match="not readable"):
        read_names(tmp_path / "names.jsonl")


def test_one_name_for_two_pictures_is_refused() -> None:
    with pytest.raises(ConfigError, match="two pictures are called 'x'"):
        give_names([Entry("/a.png", "x"), Entry("/b.png", "x")], [])


def test_parquet_holds_the_index(tmp_path: Path) -> None:
    parquet: Any = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: extra [batch]")
    from uce.batching.index import row_of, write_parquet
    from uce.core.flow.jobs import Outcome
    from uce.core.runs.folder import RunFolder

    named = Named("x", Entry("/a/x.png", None, {"seed": 3}))
    row = row_of(named, Outcome("x", "failed", "why"), RunFolder(tmp_path))
    assert write_parquet(tmp_path / "batch.parquet", [row])
    read = parquet.read_table(tmp_path / "batch.parquet").to_pylist()
    assert read == [{**row, "options": '{"seed": 3}'}]


def test_data_sets(pictures: Path, base: dict[str, Any], tmp_path: Path) -> None:
    datasets: Any = pytest.importorskip("datasets", reason="datasets is not installed: extra [datasets]")
    files = sorted(pictures.iterdir())
    features = datasets.Features({"image": datasets.Image()})
    rows = {"image": [{"bytes": path.read_bytes(), "path": None} for path in files]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "saved")
    (tmp_path / "hub" / "data").mkdir(parents=True)
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "hub" / "data" / "train-0.parquet")
    (tmp_path / "hub" / "README.md").write_text("a card")
    assert len(read_sources([tmp_path / "saved", tmp_path / "hub"])) == 8
    done = uce.batch(tmp_path / "saved", tmp_path / "out", localize_only=True, **base)
    assert [row["name"] for row in done.rows] == ["row-0", "row-1", "row-2", "row-3"]
    assert {row["status"] for row in done.rows} == {"localized"}
    plain = uce.batch(pictures, tmp_path / "plain", localize_only=True, **base)
    assert [row["digest"] for row in done.rows] == [row["digest"] for row in plain.rows]
    one = f"dataset://{tmp_path / 'hub' / 'data' / 'train-0.parquet'}#image/train-0-2"
    (tmp_path / "list.csv").write_text(f"image,seed,name\n{one},4,mine\n")
    named = uce.batch(tmp_path / "list.csv", tmp_path / "listed", localize_only=True, **base)
    assert named.rows[0]["digest"] == plain.rows[2]["digest"] and named.rows[0]["options"] == {"seed": 4}
    assert named.run("mine").info["input"]["name"] == "train-0-2"


Cli = Callable[..., tuple[int, str, str]]
