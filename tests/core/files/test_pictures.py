"""Whatever people call a picture: colours, orientation, wide numbers, odd metadata, missing bytes, foreign formats."""

from __future__ import annotations

import io
import logging
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageCms, PngImagePlugin

from uce.core.errors import ImageError
from uce.core.files.formats import FORMATS, SUFFIXES, open_picture
from uce.core.files.pictures import load_rgb, rgb_of_bytes

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases" / "inputs"


def colours(side: int = 64) -> Image.Image:
    """Smooth and colourful, so that lossy formats keep it."""
    down, across = np.mgrid[0:side, 0:side] * (255 / (side - 1))
    return Image.fromarray(np.stack([down, across, 255 - down], axis=-1).round().astype(np.uint8))


def saved(picture: Image.Image, format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=format, **options)
    return buffer.getvalue()


def profile(name: str) -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()


def swapped_profile() -> bytes:
    """sRGB's own profile with red and green exchanged."""
    data = bytearray(profile("sRGB"))
    entries = {
        bytes(data[132 + 12 * n : 136 + 12 * n]): 132 + 12 * n for n in range(struct.unpack(">I", data[128:132])[0])
    }
    red, green = entries[b"rXYZ"], entries[b"gXYZ"]
    data[red + 4 : red + 12], data[green + 4 : green + 12] = data[green + 4 : green + 12], data[red + 4 : red + 12]
    return bytes(data)


def exif(*entries: tuple[int, int, int, bytes]) -> bytes:
    """EXIF bytes as no well-behaved writer makes them: (tag, type, count, 4 bytes)."""
    rows = b"".join(struct.pack(">HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, len(entries)) + rows + b"\0\0\0\0"


# Colour profiles.


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_colours_are_converted_to_srgb(format: str) -> None:
    plain = rgb_of_bytes(saved(colours(), format), "p").astype(int)
    found = rgb_of_bytes(saved(colours(), format, icc_profile=swapped_profile()), "p").astype(int)
    assert np.abs(found - plain[:, :, [1, 0, 2]]).mean() < 3


def test_srgbs_own_profile_changes_no_byte() -> None:
    assert np.array_equal(
        rgb_of_bytes(saved(colours(), "PNG", icc_profile=profile("sRGB")), "p"), np.asarray(colours())
    )


def test_alpha_survives_the_conversion() -> None:
    clear = colours().convert("RGBA")
    clear.putalpha(0)
    assert (rgb_of_bytes(saved(clear, "PNG", icc_profile=swapped_profile()), "p") == 255).all()


@pytest.mark.parametrize("broken", [b"nonsense", b"\0" * 200, swapped_profile()[:150]])
def test_a_broken_profile_is_left_aside_with_a_word(broken: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "uce"):
        logging.getLogger("uce").propagate = True
        found = rgb_of_bytes(saved(colours(), "PNG", icc_profile=broken), "p")
    assert np.array_equal(found, np.asarray(colours()))
    assert "the colour profile of picture 'p' is left aside" in caplog.text


def test_lab_is_shown() -> None:
    lab = ImageCms.profileToProfile(
        colours(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    assert np.abs(rgb_of_bytes(saved(lab, "TIFF"), "p").astype(int) - np.asarray(colours())).mean() < 4


# EXIF.

_ODD = {
    "a type that does not exist": (0x0111, 13, 1, b"\xff\xff\xff\xff"),
    "text where a rational belongs": (0x011A, 2, 4, b"72\0\0"),
    "a negative length": (0x010F, 2, 0xFFFFFFF0, b"\0\0\0\1"),
    "a signed number": (0x8298, 9, 1, b"\xff\xff\xff\xff"),
    "an offset beyond the end": (0x8769, 4, 1, b"\x7f\xff\xff\xff"),
}


@pytest.mark.parametrize("odd", [*_ODD])
@pytest.mark.parametrize("as_object", [False, True])
def test_odd_exif_is_no_damage_and_orientation_still_counts(odd: str, as_object: bool) -> None:
    data = saved(colours(), "JPEG", exif=exif((0x0112, 3, 1, b"\0\6\0\0"), _ODD[odd]), quality=95)
    upright = np.asarray(colours().transpose(Image.Transpose.ROTATE_270)).astype(int)
    found = load_rgb(Image.open(io.BytesIO(data))) if as_object else rgb_of_bytes(data, "p")
    assert np.abs(found - upright).mean() < 4


def test_exif_that_is_no_exif_is_left_aside() -> None:
    found = rgb_of_bytes(saved(colours(), "JPEG", exif=b"Exif\0\0nonsense and more of it", quality=95), "p")
    assert np.abs(found.astype(int) - np.asarray(colours())).mean() < 4


# Wide numbers.


@pytest.mark.parametrize(("scale", "tolerance"), [(1.0, 1), (1.001, 1), (3.7, 1), (255.0, 1), (1e6, 1)])
def test_floats_are_never_black(scale: float, tolerance: int) -> None:
    grey = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(64, 64)
    found = rgb_of_bytes(saved(Image.fromarray(grey * np.float32(scale)), "TIFF"), "p")[:, :, 0].astype(int)
    assert np.abs(found - np.round(grey * 255)).max() <= tolerance


@pytest.mark.parametrize("top", [255, 300, 4095, 70_000, 2_000_000_000])
def test_whole_numbers_of_32_bits_are_never_black(top: int) -> None:
    grey = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    found = rgb_of_bytes(saved(Image.fromarray((grey * top).astype(np.int32)), "TIFF"), "p")[:, :, 0].astype(int)
    assert np.abs(found - grey * 255).max() <= 1.01 + 255 / top


def test_what_a_tiff_says_is_white_is_white(caplog: pytest.LogCaptureFixture) -> None:
    half = Image.fromarray(np.full((8, 8), 2048, dtype=np.int32))
    info = Image.Exif()
    info[281] = 4095
    assert rgb_of_bytes(saved(half, "TIFF", tiffinfo={281: 4095}), "p").max() in (127, 128)


def test_sixteen_bits_as_before_and_twelve_bits_in_them_not_black() -> None:
    grey = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    wide = (grey * 65535).round().astype(np.uint16)
    assert np.array_equal(rgb_of_bytes(saved(Image.fromarray(wide), "PNG"), "p")[:, :, 0], np.round(wide / 257))
    assert rgb_of_bytes(saved(Image.fromarray(wide // 16), "PNG"), "p").max() == 255


def test_numbers_below_zero_and_none_at_all(caplog: pytest.LogCaptureFixture) -> None:
    values = np.linspace(-1, 1, 64, dtype=np.float32).reshape(8, 8)
    values[0, 0] = np.nan
    found = rgb_of_bytes(saved(Image.fromarray(values), "TIFF"), "p")
    assert found.min() == 0 and found.max() == 255
    with pytest.raises(ImageError, match="holds no finite number; save it again with values from 0 to 1"):
        rgb_of_bytes(saved(Image.fromarray(np.full((8, 8), np.nan, dtype=np.float32)), "TIFF"), "p")


# Formats.


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
    assert found == ["brush.py"]  # names its own format


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


# Long texts, warnings, objects.


def long_text(kind: str) -> bytes:
    info = PngImagePlugin.PngInfo()
    words = "parameters " * 300_000
    info.add_itxt("w", words, zip=True) if kind == "iTXt" else info.add_text("w", words, zip=kind == "zTXt")
    return saved(colours(), "PNG", pnginfo=info, icc_profile=swapped_profile())


@pytest.mark.parametrize("kind", ["tEXt", "zTXt", "iTXt"])
def test_long_texts_are_no_damage_and_the_profile_still_counts(kind: str) -> None:
    found = rgb_of_bytes(long_text(kind), "p")
    assert np.array_equal(found, rgb_of_bytes(saved(colours(), "PNG", icc_profile=swapped_profile()), "p"))


def test_a_profile_too_long_to_unpack_is_left_aside() -> None:
    body = b"x\0\0" + zlib.compress(b"\0" * (2 << 20))
    chunk = struct.pack(">I", len(body)) + b"iCCP" + body + struct.pack(">I", zlib.crc32(b"iCCP" + body))
    plain = saved(colours(), "PNG")
    assert np.array_equal(rgb_of_bytes(plain[:33] + chunk + plain[33:], "p"), np.asarray(colours()))


def test_warnings_of_pillow_are_no_errors(tmp_path: Path) -> None:
    path = tmp_path / "big.png"
    Image.new("1", (10_000, 9_200)).save(path)
    code = f"from uce.core.files.pictures import load_rgb; print(load_rgb({str(path)!r}).shape)"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("(9200, 10000, 3)", "")


def test_an_object_that_breaks_is_an_image_error(tmp_path: Path) -> None:
    data = saved(colours(256), "JPEG")
    with pytest.raises(ImageError, match=r"^the picture is truncated or damaged \(.*\); save or download it again$"):
        load_rgb(Image.open(io.BytesIO(data[: len(data) // 2])))
    path = tmp_path / "closed.png"
    path.write_bytes(saved(colours(), "PNG"))
    picture = Image.open(path)
    picture.close()
    with pytest.raises(ImageError, match=r"the picture '.*closed.png' is truncated or damaged"):
        load_rgb(picture)


def test_threads_read_at_once_and_leave_the_filters_of_warnings_as_they_were() -> None:
    import warnings

    before, data, found = list(warnings.filters), saved(colours(), "PNG"), []
    threads = [threading.Thread(target=lambda: found.append(rgb_of_bytes(data, "p").sum())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1 and len(found) == 8
    assert warnings.filters == before


# Missing bytes.


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("lost", [1, 2, 20, 60])
def test_a_jpeg_without_its_last_bytes_is_read(progressive: bool, lost: int, caplog: pytest.LogCaptureFixture) -> None:
    data = saved(colours(256), "JPEG", quality=95, progressive=progressive)
    logging.getLogger("uce").propagate = True
    with caplog.at_level(logging.WARNING, "uce"):
        found = rgb_of_bytes(data[:-lost], "p")
    assert np.abs(found.astype(int) - rgb_of_bytes(data, "p")).mean() < 8
    assert "picture 'p' lacks its last bytes; what is missing is filled in" in caplog.text


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("share", [0.3, 0.5])
def test_half_a_jpeg_is_damaged(progressive: bool, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8))
    data = saved(noise, "JPEG", progressive=progressive)
    with pytest.raises(ImageError, match="is truncated or damaged"):
        rgb_of_bytes(data[: int(len(data) * share)], "p")


# Large pictures.


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_108_megapixels_are_read_at_half_the_size(format: str) -> None:
    found = rgb_of_bytes(saved(Image.new("L", (12_000, 9_000), 77), format), "p")
    assert found.shape == (4_500, 6_000, 3) and (found == 77).all()


# The given inputs, where they are.

_GIVEN = sorted(path.name for path in CASES.glob("*.*")) if CASES.is_dir() else []


@pytest.mark.oracle
@pytest.mark.parametrize("name", _GIVEN or [pytest.param("", marks=pytest.mark.skip("../shared/cases is missing"))])
def test_given_inputs(name: str) -> None:
    if name == "photo_eps.jpg":
        with pytest.raises(ImageError, match="is PostScript"):
            load_rgb(CASES / name)
    elif name == "cut_half.jpg":
        for source in (CASES / name, Image.open(CASES / name)):
            with pytest.raises(ImageError, match="is truncated or damaged"):
                load_rgb(source)
    else:
        found = load_rgb(CASES / name)
        assert found.mean() > 150 and found.std() > 30
        if name.startswith("icc"):
            assert Image.fromarray(found).convert("HSV").getchannel("S").resize((1, 1)).getpixel((0, 0)) > 95
            assert found[..., 0].mean() > found[..., 1].mean()


@pytest.mark.oracle
@pytest.mark.skipif(not _GIVEN, reason="../shared/cases is missing")
def test_given_folder() -> None:
    from uce.batching.sources import read_sources

    assert [Path(entry.source).name for entry in read_sources([CASES / "mixed-folder"])] == [
        "good.jpg", "new.avif", "samsung.mpo", "saved.jfif",
    ]  # fmt: skip


def test_every_format_of_the_list_opens() -> None:
    written = {"MPO": "JPEG"}
    for name in FORMATS:
        data = saved(colours(), written.get(name, name))
        with open_picture(io.BytesIO(data)) as picture:
            assert picture.size[0] >= 1
