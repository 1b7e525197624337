"""Reading pictures: orientation, objects, warnings, threads, large ones, and the given inputs."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from picture_inputs import colours, exif, saved
from PIL import Image

from uce.core.errors import ImageError
from uce.core.files.pictures import load_rgb, rgb_of_bytes

CASES = Path(__file__).resolve().parents[4] / "shared" / "cases" / "inputs"


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


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_108_megapixels_are_read_at_half_the_size(format: str) -> None:
    found = rgb_of_bytes(saved(Image.new("L", (12_000, 9_000), 77), format), "p")
    assert found.shape == (4_500, 6_000, 3) and (found == 77).all()


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
