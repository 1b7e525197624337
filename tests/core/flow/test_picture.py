from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from uce.core.errors import ImageError
from uce.core.flow.picture import FITS, Picture, load_rgb, read_picture


def scene(height: int = 40, width: int = 64) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 255 // height, columns * 255 // width, np.full_like(rows, 90)], axis=2).astype(np.uint8)


def saved(tmp_path: Path, picture: Image.Image, name: str = "p.png", **options: object) -> Path:
    path = tmp_path / name
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("fit", FITS)
def test_pixels_have_the_models_shape_and_range(fit: str) -> None:
    picture = read_picture(scene(), 32, fit)
    assert picture.pixels.shape == (3, 32, 32) and picture.pixels.dtype is torch.float32
    assert -1 <= float(picture.pixels.min()) < float(picture.pixels.max()) <= 1
    assert picture.size == (40, 64) and picture.original.dtype == np.uint8


def test_fit_shows_what_it_says() -> None:
    crop, pad, stretch = (read_picture(scene(), 32, fit) for fit in FITS)
    assert crop.box == (0, 12, 40, 40) and crop.window == (0, 0, 32, 32)
    assert pad.box == (0, 0, 40, 64) and pad.window == (6, 0, 20, 32)
    assert stretch.box == (0, 0, 40, 64) and stretch.window == (0, 0, 32, 32)


def test_padding_repeats_the_edge() -> None:
    pixels = read_picture(scene(), 32, "pad").pixels
    assert torch.equal(pixels[:, 0], pixels[:, 6]) and torch.equal(pixels[:, -1], pixels[:, 25])


def test_valid_leaves_padding_out() -> None:
    assert read_picture(scene(32, 64), 32, "pad").valid((8, 8)).sum(dim=1).tolist() == [0, 0, 8, 8, 8, 8, 0, 0]
    assert read_picture(scene(), 32, "crop").valid((8, 8)).all()
    assert read_picture(scene(1, 900), 64, "pad").valid((8, 8)).any()


def test_a_square_picture_at_its_own_side_is_unchanged() -> None:
    array = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    for fit in FITS:
        pixels = read_picture(array, 32, fit).pixels
        assert torch.equal(((pixels + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0), torch.from_numpy(array))


def test_at_gives_the_same_picture_at_another_side() -> None:
    picture = read_picture(scene(), 32, "pad")
    assert picture.at(32) is picture
    other = picture.at(64)
    assert other.side == 64 and other.fit == "pad" and other.digest == picture.digest


def test_digest_tells_pictures_and_shapes_apart() -> None:
    flat = np.zeros((4, 9, 3), dtype=np.uint8)
    digests = {read_picture(array, 16, "pad").digest for array in (flat, flat.reshape(9, 4, 3), flat + 1)}
    assert len(digests) == 3
    assert read_picture(flat, 16, "pad").digest == read_picture(flat, 32, "crop").digest


@pytest.mark.parametrize("fit", FITS)
def test_masks_come_back_to_where_they_were(fit: str) -> None:
    picture = read_picture(scene(80, 128), 64, fit)
    pixel_masks = torch.zeros(2, 80, 128, dtype=torch.bool)
    pixel_masks[0, 8:40, 24:64] = True
    pixel_masks[1, 40:72, 64:104] = True
    back = picture.to_original(picture.to_grid(pixel_masks, (32, 32)))
    assert back.shape == pixel_masks.shape and not (back[0] & back[1]).any()
    for one, other in zip(pixel_masks, back, strict=True):
        assert float((one & other).sum() / (one | other).sum()) > 0.85


def test_nothing_is_found_outside_a_crop() -> None:
    picture = read_picture(scene(), 32, "crop")
    found = picture.to_original(torch.ones(1, 8, 8, dtype=torch.bool))
    assert found[:, :, 12:52].all() and not found[:, :, :12].any() and not found[:, :, 52:].any()


def test_what_padding_cells_say_is_ignored() -> None:
    picture = read_picture(scene(32, 64), 32, "pad")
    masks = torch.zeros(1, 8, 8, dtype=torch.bool)
    masks[:, :2] = True
    assert not picture.to_original(masks).any()
    assert not picture.to_grid(torch.ones(1, 32, 64, dtype=torch.bool), (8, 8))[:, :2].any()


def test_a_cell_goes_to_the_mask_that_covers_most_of_it() -> None:
    picture = read_picture(scene(32, 32), 32, "stretch")
    masks = torch.zeros(2, 32, 32, dtype=torch.bool)
    masks[0, :, :13] = True
    masks[1, :, 13:] = True
    found = picture.to_grid(masks, (4, 4))
    assert found[0].sum(dim=0).tolist() == [4, 4, 0, 0] and found[1].sum(dim=0).tolist() == [0, 0, 4, 4]


def test_a_small_mask_keeps_its_best_cell() -> None:
    picture = read_picture(scene(64, 64), 64, "stretch")
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, 20:22, 20:22] = True
    masks[1] = ~masks[0]
    found = picture.to_grid(masks, (4, 4))
    assert found[0].nonzero().tolist() == [[1, 1]] and int(found[1].sum()) == 15


def test_a_small_mask_does_not_empty_another() -> None:
    picture = read_picture(scene(64, 64), 64, "stretch")
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, 0:14, 0:14] = True
    masks[1, 14:16, 14:16] = True
    found = picture.to_grid(masks, (4, 4))
    assert found[0].any() and not found[1].any()


def test_no_masks_stay_no_masks() -> None:
    picture = read_picture(scene(), 32, "pad")
    assert picture.to_original(torch.zeros(0, 8, 8, dtype=torch.bool)).shape == (0, 40, 64)
    assert picture.to_grid(torch.zeros(0, 40, 64, dtype=torch.bool), (8, 8)).shape == (0, 8, 8)


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    side=st.sampled_from([16, 32, 64]),
    fit=st.sampled_from(FITS),
    seed=st.integers(0, 9),
)
def test_any_shape_keeps_masks_disjoint(height: int, width: int, side: int, fit: str, seed: int) -> None:
    picture = read_picture(np.full((height, width, 3), 7, dtype=np.uint8), side, fit)
    assert picture.pixels.shape == (3, side, side)
    labels = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, (8, 8)))
    back = picture.to_original(torch.stack([labels == index for index in (1, 2, 3)]))
    assert back.shape == (3, height, width) and int(back.sum(dim=0).max()) <= 1
    cells = picture.to_grid(back, (8, 8))
    assert int(cells.sum(dim=0).max()) <= 1 and not (cells.any(dim=0) & ~picture.valid((8, 8))).any()


def test_exif_rotation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.fromarray(scene()), "turned.png", exif=exif)
    assert np.array_equal(load_rgb(path), np.rot90(scene(), -1))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_alpha_lies_on_white(tmp_path: Path, mode: str) -> None:
    rgba = Image.fromarray(scene()).convert("RGBA")
    rgba.putalpha(0)
    picture = rgba.convert("P") if mode == "P" else rgba.convert("LA") if mode == "LA" else rgba
    if mode == "PA":
        picture = Image.new("PA", (64, 40), (0, 0))
    path = saved(tmp_path, picture, "a.tif" if mode == "PA" else "a.png") if mode != "PA" else None
    assert (load_rgb(path if path is not None else picture) == 255).all()


def test_palette_transparency_lies_on_white(tmp_path: Path) -> None:
    palette = Image.new("P", (4, 4), 3)
    palette.putpalette([10, 20, 30] * 256)
    path = saved(tmp_path, palette, transparency=3)
    assert (load_rgb(path) == 255).all()


@pytest.mark.parametrize("mode", ["L", "1", "CMYK", "YCbCr", "HSV", "LAB"])
def test_other_colour_modes(mode: str) -> None:
    picture = Image.new("RGB", (6, 5), (255, 255, 255))
    array = load_rgb(Image.new("LAB", (6, 5), (255, 128, 128)) if mode == "LAB" else picture.convert(mode))
    assert array.shape == (5, 6, 3) and array.min() >= 250


def test_cmyk_jpeg(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("RGB", (16, 16), (200, 30, 40)).convert("CMYK"), "c.jpg", quality=95)
    assert np.abs(load_rgb(path).astype(int) - [200, 30, 40]).max() < 12


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    path = saved(tmp_path, Image.fromarray(values))
    assert load_rgb(path)[0, :, 0].tolist() == [0, 1, 128, 255]
    assert load_rgb(values)[0, :, 0].tolist() == [0, 1, 128, 255]


def test_wide_numbers_are_scaled() -> None:
    assert load_rgb(Image.fromarray(np.array([[0, 65535]], dtype=np.int32)))[0, :, 0].tolist() == [0, 255]
    assert load_rgb(Image.fromarray(np.array([[0, 200]], dtype=np.int32)))[0, :, 0].tolist() == [0, 200]
    assert load_rgb(Image.fromarray(np.array([[0.0, 1.0]], dtype=np.float32)))[0, :, 0].tolist() == [0, 255]


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((200, 0, 0), (0, 200, 0))]
    path = tmp_path / "moves.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert load_rgb(path)[0, 0].tolist() == [200, 0, 0]


def test_arrays() -> None:
    assert load_rgb(np.full((4, 5), 9, dtype=np.uint8))[0, 0].tolist() == [9, 9, 9]
    assert load_rgb(np.full((4, 5, 1), True))[0, 0].tolist() == [255, 255, 255]
    assert load_rgb(np.full((4, 5, 3), 1.0))[0, 0].tolist() == [255, 255, 255]
    assert load_rgb(np.zeros((4, 5, 4), dtype=np.uint8))[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((0, 5, 3), dtype=np.uint8), r"no pixels \(5 x 0\)"),
        (np.zeros((4, 5, 2), dtype=np.uint8), r"shape \(4, 5, 2\) and type uint8 is not a picture; give \(H, W\)"),
        (np.zeros(7), "is not a picture"),
        (np.full((4, 4), 3.0), r"floats outside \[0, 1\]"),
        (np.full((4, 4), np.nan), r"floats outside \[0, 1\]"),
        (np.zeros((4, 4), dtype=np.int64), "type int64 is not a picture"),
    ],
)
def test_arrays_that_are_no_pictures(array: np.ndarray, text: str) -> None:
    with pytest.raises(ImageError, match=text):
        load_rgb(array)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"picture '.*gone.png' does not exist; check the path"):
        load_rgb(tmp_path / "gone.png")


def test_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is a folder, not a picture; name one file in it"):
        load_rgb(tmp_path)


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "e.png").touch()
    with pytest.raises(ImageError, match=r"is empty \(0 bytes\); save or download it again"):
        load_rgb(tmp_path / "e.png")


@pytest.mark.parametrize("name", ["t.png", "t.jpg", "t.webp", "t.tif", "t.bmp"])
def test_truncated(tmp_path: Path, name: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    whole = saved(tmp_path, noise, name)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(ImageError, match=r"is (truncated or damaged|not a picture)"):
        load_rgb(whole)


def test_not_a_picture(tmp_path: Path) -> None:
    (tmp_path / "n.png").write_text("hello")
    with pytest.raises(ImageError, match="is not a picture in a format that can be read; give a PNG"):
        load_rgb(tmp_path / "n.png")


@pytest.mark.parametrize("side", [13_100, 40_000])
def test_decompression_bomb(tmp_path: Path, side: int) -> None:
    path = saved(tmp_path, Image.new("1", (side, side)))
    with pytest.raises(ImageError, match=r"pixels; at most 170 million are read; make it smaller first"):
        load_rgb(path)


def test_no_width() -> None:
    with pytest.raises(ImageError, match=r"the picture has no pixels \(0 x 5\)"):
        load_rgb(Image.new("RGB", (0, 5)))


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_unreadable(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(scene()))
    path.chmod(0)
    with pytest.raises(ImageError, match="permission denied"):
        load_rgb(path)


def test_unreadable_as_the_system_says_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, Image.fromarray(scene()))

    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(ImageError, match=r"may not be read \(permission denied\); change its permissions"):
        load_rgb(path)


def test_something_else_entirely() -> None:
    with pytest.raises(ImageError, match="must be a path, a PIL picture or a numpy array, found int"):
        load_rgb(3)  # type: ignore[arg-type]


def test_unknown_fit() -> None:
    with pytest.raises(ImageError, match="unknown fit 'squash'; available: crop, pad, stretch"):
        read_picture(scene(), 32, "squash")  # type: ignore[arg-type]


def test_a_picture_is_frozen() -> None:
    picture = read_picture(scene(), 32, "pad")
    with pytest.raises(AttributeError, match="cannot assign to field 'fit'"):
        picture.fit = "crop"  # type: ignore[misc]
    assert isinstance(picture, Picture)
