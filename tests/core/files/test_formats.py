"""One list of formats, none of which starts another program."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from picture_inputs import colours, saved
from PIL import EpsImagePlugin, Image

from uce.core.errors import ImageError
from uce.core.files.formats import FORMATS, SUFFIXES, open_picture
from uce.core.files.pictures import load_rgb, rgb_of_bytes


def test_one_list_of_formats_everywhere() -> None:
    from uce.batching import sources
    from uce.benchmarking import pictures

    assert sources.PICTURES is SUFFIXES and pictures.SUFFIXES is SUFFIXES
    assert {".jfif", ".avif", ".mpo"} <= set(SUFFIXES)
    assert not {"EPS", "WMF", "PDF", "FPX", "MIC", "GRIB", "HDF5", "BUFR"} & set(FORMATS)


def test_no_code_opens_pictures_past_the_list() -> None:
    import uce

    found = [
        path.name
        for path in Path(uce.__file__).parent.rglob("*.py")
        if "Image.open(" in path.read_text(encoding="utf-8") and path.name != "formats.py"
        and not {"scenes", "mini"} & set(path.parts)
    ]  # fmt: skip
    assert found == ["sheet.py"]  # names its own format


def test_postscript_starts_nothing_whatever_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: pytest.fail("Ghostscript was started"))
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a program was started"))
    path = tmp_path / "photo.jpg"
    path.write_bytes(saved(colours(), "EPS"))
    with pytest.raises(ImageError, match=r"photo.jpg' is PostScript, which only a program can draw; save it as PNG"):
        load_rgb(path)
    with pytest.raises(ImageError, match="is of the format EPS, which is not read; give a PNG"):
        load_rgb(Image.open(path))


@pytest.mark.parametrize("brand", [b"heic", b"mif1", b"hevc"])
def test_heic_is_named(brand: bytes) -> None:
    with pytest.raises(ImageError, match="'p' is HEIC, as phones store photos; save it as JPEG"):
        rgb_of_bytes(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0mif1" + b"\0" * 64, "p")


def test_every_format_of_the_list_opens() -> None:
    written = {"MPO": "JPEG"}
    for name in FORMATS:
        data = saved(colours(), written.get(name, name))
        with open_picture(io.BytesIO(data)) as picture:
            assert picture.size[0] >= 1
