"""The user's own masks come back pixel by pixel, and every slip is one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import uce
from uce.core import ConfigError, StageInputError, UceError
from uce.plugins.clusterers.given import GivenClusterer
from uce.testing import check_plugin, tiny_attention, tiny_picture

SIZE = (40, 48)


def blocks(size: tuple[int, int] = SIZE) -> dict[str, np.ndarray]:
    """Two things; the second one has a frayed outline that no grid of cells has."""
    height, width = size
    first, second = np.zeros(size, bool), np.zeros(size, bool)
    first[height // 4 : 3 * height // 4, 3 : width // 2 - 3] = True
    second[height // 3 : height - 3, width // 2 + 2 : width - 2] = True
    second[::2, width // 2 + 3] = False
    return {"mask0": first, "mask1": second}


def write(folder: Path, masks: dict[str, np.ndarray]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, mask in masks.items():
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"{name}.png")
    return folder


def cluster(folder: Path | None, image: Any = None, **settings: Any) -> Any:
    chosen = GivenClusterer.Settings(masks=None if folder is None else str(folder), **settings)
    return GivenClusterer().uce_cluster(tiny_attention(), image, chosen)


def test_contract(tmp_path: Path) -> None:
    info = check_plugin(GivenClusterer, settings={"masks": str(write(tmp_path / "masks", blocks()))})
    assert info.refiners == ("none",)


def test_masks_become_labels_and_stay_as_they_are(tmp_path: Path) -> None:
    clusters = cluster(write(tmp_path / "masks", blocks()), tiny_picture(SIZE))
    assert clusters.num_clusters == 2 and clusters.concept_labels is None and clusters.merge_threshold == 0
    assert np.array_equal(clusters.pixel_masks.numpy(), np.stack(list(blocks().values())))
    assert clusters.labels[3, 2] == 0 and clusters.labels[4, 6] == 1 and clusters.labels[0, 0] == -1


def test_bare_maps_take_masks_of_any_size(tmp_path: Path) -> None:
    clusters = cluster(write(tmp_path / "masks", blocks((80, 80))))
    assert clusters.pixel_masks is None and clusters.num_clusters == 2


def test_files_are_counted_in_order_and_named_ones_give_words(tmp_path: Path) -> None:
    masks = {f"mask{k}": np.zeros(SIZE, bool) for k in range(12)}
    for k, mask in enumerate(masks.values()):
        mask[10:30, 4 * k : 4 * k + 4] = True
    folder = write(tmp_path / "counted", dict(sorted(masks.items())))
    assert np.array_equal(cluster(folder, tiny_picture(SIZE)).pixel_masks.numpy(), np.stack(list(masks.values())))
    first, second = blocks().values()
    assert cluster(write(tmp_path / "named", {"red_cup": first, "cat": second})).concept_labels == ["cat", "red cup"]


def test_a_thing_smaller_than_a_cell_keeps_one(tmp_path: Path) -> None:
    tiny = np.zeros(SIZE, bool)
    tiny[1, 1] = True
    clusters = cluster(write(tmp_path / "masks", {**blocks(), "tiny": tiny}), tiny_picture(SIZE))
    assert (clusters.labels == 2).sum() == 1


@pytest.mark.parametrize("overlap", ["first", "last"])
def test_overlaps_go_to_one_mask_where_that_is_asked_for(tmp_path: Path, overlap: Any) -> None:
    masks = blocks()
    masks["mask1"][20:22, :] = True
    folder = write(tmp_path / "masks", masks)
    found = cluster(folder, tiny_picture(SIZE), overlap=overlap).pixel_masks.numpy()
    first, second = masks.values()
    wanted = (first, second & ~first) if overlap == "first" else (first & ~second, second)
    assert np.array_equal(found, np.stack(wanted))


def slips(folder: Path) -> dict[str, tuple[Callable[[], Any], type[UceError]]]:
    empty = np.zeros(SIZE, bool)
    colour = np.zeros((*SIZE, 3), np.uint8)
    colour[..., 0] = np.arange(SIZE[1])

    def scribble(path: Path, data: bytes) -> Path:
        write(folder, blocks())
        path.write_bytes(data)
        return folder

    def picture() -> Path:
        Image.fromarray(colour * 5).save(write(folder, blocks()) / "img.png")
        return folder

    both = blocks()
    both["mask1"] = both["mask1"] | both["mask0"]
    hidden = {**blocks(), "mask2": np.ones(SIZE, bool)}
    return {
        r"clusterer given needs masks; add --set clusterer.masks=FOLDER": (lambda: None, ConfigError),
        r"does not exist; give a folder with one PNG per concept": (lambda: folder / "missing", ConfigError),
        r"is a file; give a folder": (lambda: scribble(folder / "mask0.png", b"") / "mask0.png", ConfigError),
        r"holds no PNG": (lambda: write(folder, {}), ConfigError),
        r"mask1.png is empty; draw on it": (lambda: write(folder, {**blocks(), "mask1": empty}), StageInputError),
        r"mask0.png and mask1.png overlap in 360 pixels": (lambda: write(folder, both), StageInputError),
        r"is 10 x 8 pixels, the picture is 48 x 40": (lambda: write(folder, blocks((8, 10))), StageInputError),
        r"mask0.png' is not a picture": (lambda: scribble(folder / "mask0.png", b"scribble"), UceError),
        r"img.png is a colour picture; masks are black and white": (picture, StageInputError),
        r"mask0.png is covered by others": (lambda: write(folder, hidden), StageInputError),
    }


@pytest.mark.parametrize("number", range(10))
def test_every_slip_is_one_line(tmp_path: Path, number: int) -> None:
    line, (make, kind) = list(slips(tmp_path / "masks").items())[number]
    settings = {"overlap": "last"} if "covered" in line else {}
    with pytest.raises(kind, match=line) as found:
        cluster(make(), tiny_picture(SIZE), **settings)
    assert "\n" not in str(found.value)


def test_a_mask_outside_the_crop_is_refused(tmp_path: Path) -> None:
    from uce.core.flow.picture import read_picture

    wide = np.zeros((20, 80), bool)
    wide[:, :5] = True
    image = read_picture(np.zeros((20, 80, 3), np.uint8), 32, "crop")
    with pytest.raises(StageInputError, match=r"gets no cell of the 8 x 8 grid; .* set run.fit=pad"):
        cluster(write(tmp_path / "masks", {"left": wide}), image)


def test_a_run_gives_the_masks_back_exactly(tmp_path: Path, cli: Any, tiny_pipeline: Path) -> None:
    """With the default preset: no refiner that was meant for clusters touches what the user drew."""
    size = (47, 61)
    picture = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)).save(picture)
    folder = write(tmp_path / "drawn", dict(zip(("cup", "cat"), blocks(size).values(), strict=True)))
    out = tmp_path / "out"
    flags = ["--model", tiny_pipeline, "--clusterer", "given", "--set", f"clusterer.masks={folder}"]
    assert cli("localize", picture, "-o", out, *flags)[0] == 0
    run = uce.load(out)
    assert [concept.label for concept in run.concepts] == ["cat", "cup"]
    wanted = list(blocks(size).values())
    assert np.array_equal(run.concepts[0].mask, wanted[1]) and np.array_equal(run.concepts[1].mask, wanted[0])

    write(folder, {"cup": np.roll(blocks(size)["mask0"], 1, axis=0)})
    assert cli("localize", picture, "-o", out, *flags, "--resume")[0] == 0
    assert np.array_equal(uce.load(out).concepts[1].mask, np.roll(wanted[0], 1, axis=0)), "drawn anew, taken anew"

    code, _, err = cli("run", picture, "-o", tmp_path / "other", *flags[:4], "--set", "clusterer.masks=nowhere")
    assert code == 2 and err.count("\n") == 1 and "clusterer.masks: nowhere does not exist" in err
    assert not (tmp_path / "other").exists()


def test_refiners_that_the_user_names_carry_the_pixels_along(tmp_path: Path) -> None:
    folder = write(tmp_path / "masks", blocks())
    maps = tiny_attention()
    concepts = uce.localize(
        maps, clusterer="given", refiner=["saliency", "merge"], set={"clusterer.masks": str(folder)}
    )
    assert len(concepts) == 2 and torch.equal(concepts.masks.any(dim=0), cluster(folder).labels >= 0)
