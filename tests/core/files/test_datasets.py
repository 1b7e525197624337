"""Rows of data sets as pictures: what `datasets` saves, and Parquet files."""

from __future__ import annotations

import builtins
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from uce.core import ConfigError, ImageError, PluginError
from uce.core.files.datasets import is_saved, list_rows, read_row

RNG = np.random.default_rng(0)
ARRAYS = [RNG.integers(0, 255, (8 + i, 12, 3), dtype=np.uint8) for i in range(5)]


def png(array: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


@pytest.fixture
def datasets() -> Any:
    return pytest.importorskip("datasets", reason="datasets is not installed: extra [datasets]")


@pytest.fixture
def parquet() -> Any:
    return pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: extra [batch]")


def test_a_saved_data_set(datasets: Any, tmp_path: Path) -> None:
    rows = {"image": [{"bytes": png(a), "path": None} for a in ARRAYS], "label": list(range(5))}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "set")
    assert is_saved(tmp_path / "set") and not is_saved(tmp_path)
    found = list(list_rows(tmp_path / "set"))
    assert found[3] == f"dataset://{tmp_path / 'set'}#image/row-3" and len(found) == 5
    for source, array in zip(found, ARRAYS, strict=True):
        assert np.array_equal(read_row(source), array)
    with pytest.raises(ImageError, match="there is no such row any more"):
        read_row(found[0].replace("row-0", "row-5"))


def test_splits_and_pictures_beside_the_set(datasets: Any, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(ARRAYS[0]))
    features = datasets.Features({"shot": datasets.Image()})
    rows = [{"bytes": None, "path": str(tmp_path / "a.png")}, {"bytes": b"no picture", "path": None}, None]
    splits = {name: datasets.Dataset.from_dict({"shot": rows}, features=features) for name in ("train", "test")}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "set")
    table = next((tmp_path / "set" / "train").glob("*.arrow"))
    found = list(list_rows(tmp_path / "set"))
    assert table.is_file() and len(found) == 6 and found[3].endswith("#shot/test-0")
    assert next(iter(list_rows(tmp_path / "set" / "test"))).endswith("test#shot/row-0")
    assert np.array_equal(read_row(found[3]), ARRAYS[0])
    for number, text in ((1, "not a picture in a format"), (2, "the row is empty")):
        with pytest.raises(ImageError, match=text):
            read_row(found[number])


def test_parquet_files(parquet: Any, tmp_path: Path) -> None:
    import pyarrow as pa

    layout = pa.table({"id": list("abcde"), "picture": [{"bytes": png(a), "path": "x.png"} for a in ARRAYS]})
    parquet.write_table(layout, tmp_path / "train-00000-of-00001.parquet", row_group_size=2)
    found = list(list_rows(tmp_path / "train-00000-of-00001.parquet"))
    assert found[4].endswith("parquet#picture/train-00000-of-00001-4")
    for number in (4, 0, 3, 1, 2):
        assert np.array_equal(read_row(found[number]), ARRAYS[number])
    away = pa.table({"image": [{"bytes": None, "path": name} for name in ("hf://somewhere/a.png", "gone.png")]})
    parquet.write_table(away, tmp_path / "away.parquet")
    for number, text in ((0, "names hf://somewhere/a.png and holds no picture"), (1, "gone.png' does not exist")):
        with pytest.raises(ImageError, match=text):
            read_row(list(list_rows(tmp_path / "away.parquet"))[number])
    plain = pa.table({"jpg": [png(a) for a in ARRAYS], "note": [b"x"] * 5})
    parquet.write_table(plain, tmp_path / "my#set.parquet")
    assert np.array_equal(read_row(list(list_rows(tmp_path / "my#set.parquet"))[2]), ARRAYS[2])


def test_what_datasets_writes_as_parquet(datasets: Any, parquet: Any, tmp_path: Path) -> None:
    features = datasets.Features({"image": datasets.Image(), "mask": datasets.Image()})
    rows = {name: [{"bytes": png(a), "path": None} for a in ARRAYS] for name in features}
    datasets.Dataset.from_dict(rows, features=features).to_parquet(tmp_path / "a.parquet")
    assert next(iter(list_rows(tmp_path / "a.parquet"))).endswith("#image/a-0")


def test_what_cannot_be_read(parquet: Any, datasets: Any, tmp_path: Path) -> None:
    import pyarrow as pa

    parquet.write_table(pa.table({"x": [1]}), tmp_path / "numbers.parquet")
    with pytest.raises(ConfigError, match="has no column of pictures"):
        list(list_rows(tmp_path / "numbers.parquet"))
    two = {name: [{"bytes": b"", "path": ""}] for name in ("left", "right")}
    parquet.write_table(pa.table(two), tmp_path / "two.parquet")
    with pytest.raises(ConfigError, match="several columns of pictures: left, right; call the one to use 'image'"):
        list(list_rows(tmp_path / "two.parquet"))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1" + struct.pack("<I", 1 << 31) + b"PAR1")
    with pytest.raises(ConfigError, match="not readable as Parquet"):
        list(list_rows(tmp_path / "bad.parquet"))
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "state.json").write_text("{")
    (tmp_path / "set" / "dataset_info.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"the data set .* is not readable"):
        list(list_rows(tmp_path / "set"))
    for source in ("dataset://", "dataset:///x#image/row", "dataset:///x#image"):
        with pytest.raises(ImageError, match="names no row"):
            read_row(source)
    with pytest.raises(ImageError, match=r"/gone\.parquet does not exist"):
        read_row(f"dataset://{tmp_path}/gone.parquet#image/row-0")


def test_without_the_libraries_it_says_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.partition(".")[0] in ("datasets", "pyarrow"):
            raise ModuleNotFoundError(f"No module named '{name}'")
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "state.json").write_text("{}")
    with pytest.raises(PluginError, match=r"pip install 'uce-concepts\[datasets\]'"):
        list(list_rows(tmp_path / "set"))
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(PluginError, match=r"pip install 'uce-concepts\[batch\]'"):
        list(list_rows(tmp_path / "a.parquet"))
