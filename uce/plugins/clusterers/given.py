"""Masks that the user supplies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from uce.core import Settings as BaseSettings
from uce.core import hookimpl

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from uce.core import AttentionMaps, Clusters, Picture

COLOUR = 32
FEW = 0.01


class GivenClusterer:
    """Your own masks, one PNG per concept, kept pixel by pixel: when you know what the concepts are."""

    name = "given"
    foreground = "none"  # what the user drew is a thing, whatever stands out
    refiners = ("none",)  # no filter or merge that was meant for clusters gets to drop what the user drew

    class Settings(BaseSettings):
        masks: str | None = Field(
            None, description="folder with one black and white PNG per concept, at the picture's size (needed)"
        )
        overlap: Literal["refuse", "first", "last"] = Field(
            "refuse", description="what happens where masks overlap; first, last: which one in order keeps the pixels"
        )

        def input_files(self) -> list[Path]:
            return _mask_files(self.masks)

    @hookimpl
    def uce_cluster(self, attention: AttentionMaps, image: Picture | None, settings: Settings) -> Clusters:
        """Every mask is a cluster.

        Args:
            attention: its grid (h, w) is what the cells' labels are for.
            image: the picture whose size the masks must have; on bare maps (None) masks of any one size cover the grid.

        Returns:
            labels int64 (h, w) in the files' order, -1 where there is no mask; pixel_masks bool (K, H, W) as they were
            given (None on bare maps); words: the files' names, unless they only count (0, mask1); merge threshold 0.

        Raises:
            ConfigError: no folder, or nothing in it.
            StageInputError: a mask is unreadable, empty, in colour, of another size, or overlaps another one.
        """
        import numpy as np
        import torch

        from uce.core import Clusters, StageInputError, read_picture
        from uce.core.files import read_mask_of_size

        paths = _mask_files(settings.masks)
        for path in paths:
            _require_no_colour(path)
        size = image.size if image is not None else _size(paths[0])
        masks_KHW = np.stack([read_mask_of_size(path, size) for path in paths])
        masks = torch.from_numpy(_disjoint(masks_KHW, paths, settings.overlap))
        # Bare maps have no picture: the masks are laid over the whole grid.
        shown = image if image is not None else read_picture(np.zeros((*size, 3), np.uint8), max(size), "stretch")
        cells_Khw = shown.to_grid(masks, attention.grid)
        for path, cells in zip(paths, cells_Khw, strict=True):
            if not cells.any():
                raise StageInputError(
                    f"mask {path} gets no cell of the {attention.grid[0]} x {attention.grid[1]} grid; draw it larger, "
                    "set run.fit=pad where it lies outside the crop, or extractor.cells for a finer grid"
                )
        labels = torch.where(cells_Khw.any(dim=0), cells_Khw.int().argmax(dim=0), -1)
        # Threshold 0: where the user asks for `merge`, masks drawn apart stay apart until they give it a threshold.
        return Clusters(labels, 0.0, pixel_masks=None if image is None else masks, concept_labels=_words(paths))


def _mask_files(folder: str | None) -> list[Path]:
    """The folder's PNGs in order.

    Raises:
        ConfigError: not set, no folder, or no PNG in it.
    """
    from uce.core import ConfigError
    from uce.core.files import mask_paths, user_path

    if folder is None:
        raise ConfigError("clusterer given needs masks; add --set clusterer.masks=FOLDER, one PNG per concept in it")
    path = user_path(folder)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise ConfigError(f"clusterer.masks: {folder} {what}; give a folder with one PNG per concept")
    try:
        found = mask_paths(path)
    except OSError as error:
        raise ConfigError(f"clusterer.masks: {folder} cannot be read ({error.strerror}); give another") from error
    if not found:
        raise ConfigError(f"clusterer.masks: {folder} holds no PNG; save one black and white PNG per concept there")
    return found


def _size(path: Path) -> tuple[int, int]:
    from uce.core.files import read_mask

    mask = read_mask(path)
    return int(mask.shape[0]), int(mask.shape[1])


def _require_no_colour(path: Path) -> None:
    """A picture among the masks is a slip that would become a concept."""
    import numpy as np

    from uce.core import StageInputError
    from uce.core.files import load_rgb

    channels = load_rgb(path).astype(np.int16)
    if ((channels.max(axis=2) - channels.min(axis=2)) > COLOUR).mean() > FEW:
        raise StageInputError(f"mask {path} is a colour picture; masks are black and white, move it out of the folder")


def _disjoint(masks_KHW: npt.NDArray[np.bool_], paths: list[Path], overlap: str) -> npt.NDArray[np.bool_]:
    """Masks of which none is empty and no two share a pixel.

    Raises:
        StageInputError: an empty mask, or two that overlap where that is refused.
    """
    from uce.core import StageInputError

    for path, mask in zip(paths, masks_KHW, strict=True):
        if not mask.any():
            raise StageInputError(f"mask {path} is empty; draw on it in white, or delete it")
    result = masks_KHW.copy()
    for new, path in enumerate(paths):
        for earlier in range(new):
            shared = int((result[new] & result[earlier]).sum())
            if shared and overlap == "refuse":
                raise StageInputError(
                    f"masks {paths[earlier].name} and {path.name} overlap in {shared} pixels; draw them apart, or set "
                    "clusterer.overlap to first or last"
                )
            if overlap == "last":
                result[earlier] &= ~result[new]
            else:
                result[new] &= ~result[earlier]
    for path, mask in zip(paths, result, strict=True):
        if not mask.any():
            raise StageInputError(f"mask {path} is covered by others; change clusterer.overlap, or delete it")
    return result


def _words(paths: list[Path]) -> list[str] | None:
    """The files' names as words; None where they only count."""
    stems = [path.stem for path in paths]
    if all(re.fullmatch(r"(mask)?[\s_-]*\d*", stem, re.IGNORECASE) for stem in stems):
        return None
    return [stem.replace("_", " ") for stem in stems]
