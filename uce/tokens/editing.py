"""Painting a concept into another picture: the model draws within a window around the mask, and only there.

Legend: H, W the photo's pixels; S the side at which the model works.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from uce.core.errors import ImageError
from uce.core.files.masks import mask_box
from uce.core.files.pictures import load_rgb
from uce.core.model.backbone import Inpainting

if TYPE_CHECKING:
    from uce.core.model.backbone import Backbone

ROOM = 1.6
"""Side of the window over that of the mask: the model must see what surrounds it."""

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Edit:
    """A photo and where in it something new is to stand.

    Attributes:
        photo: uint8 (H, W, 3).
        mask: bool (H, W).
    """

    photo: Array
    mask: Array

    @classmethod
    def read(cls, photo: Any, mask: Any) -> Edit:
        """From files, PIL pictures or arrays; the mask is white where something new is to be drawn.

        Raises:
            ImageError: one cannot be read, the sizes differ, or the mask shows nothing.
        """
        picture = load_rgb(photo)
        shown = load_rgb(mask).max(axis=2) > 127
        if shown.shape != picture.shape[:2]:
            raise ImageError(
                f"the mask has {shown.shape[1]} x {shown.shape[0]} pixels and the photo "
                f"{picture.shape[1]} x {picture.shape[0]}; save it at the photo's size"
            )
        if not shown.any():
            raise ImageError("the mask is black everywhere; paint white where something new is to be drawn")
        return cls(picture, shown)

    @property
    def window(self) -> tuple[int, int, int]:
        """(top, left, side) of a square around the mask; it may reach beyond the photo where that is not square."""
        height, width = self.mask.shape
        (top, bottom), (left, right) = mask_box(self.mask)
        extent = max(bottom - top, right - left)
        side = max(16, min(round(extent * ROOM), max(height, width)))
        return (
            _start((top + bottom) // 2, side, height),
            _start((left + right) // 2, side, width),
            side,
        )

    def prepare(self, backbone: Backbone) -> Inpainting:
        """Photo and mask within the window, as the model takes them."""
        import torch

        size = (backbone.picture_side, backbone.picture_side)
        seen = Image.fromarray(self._cut(self.photo)).resize(size, Image.Resampling.LANCZOS)
        pixels = torch.from_numpy(np.asarray(seen, np.float32).transpose(2, 0, 1).copy()) / 127.5 - 1
        cells = (backbone.latent_side, backbone.latent_side)
        part = Image.fromarray(self._cut(self.mask).astype(np.uint8) * 255).resize(cells, Image.Resampling.BOX)
        # Every cell that the mask touches is drawn anew: what is too much is not pasted.
        mask = torch.from_numpy((np.asarray(part) > 0).astype(np.float32))[None, None]
        return Inpainting(backbone.encode_image(pixels[None]), mask)

    def paste(self, drawn: Image.Image) -> Image.Image:
        """The photo with `drawn` inside the mask; outside every pixel is the photo's own."""
        from scipy.ndimage import distance_transform_edt

        top, left, side = self.window
        large = np.asarray(drawn.convert("RGB").resize((side, side), Image.Resampling.LANCZOS), np.float32)
        rows = slice(max(0, top), min(self.mask.shape[0], top + side))
        columns = slice(max(0, left), min(self.mask.shape[1], left + side))
        new = large[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
        inside = self.mask[rows, columns]
        softness = max(1.0, side / 64)  # the edge fades within the mask, never beyond it
        weight = (distance_transform_edt(np.pad(inside, 1, mode="edge"))[1:-1, 1:-1] / softness).clip(0, 1)[..., None]
        result = self.photo.copy()
        old = result[rows, columns]
        mixed = (new * weight + old * (1 - weight)).round().clip(0, 255).astype(np.uint8)
        result[rows, columns] = np.where(inside[..., None], mixed, old)
        return Image.fromarray(result)

    def _cut(self, array: Array) -> Array:
        """The window; beyond the photo its edge goes on (a mask ends there)."""
        top, left, side = self.window
        height, width = array.shape[:2]
        rows, columns = np.arange(top, top + side), np.arange(left, left + side)
        cut: Array = array[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]
        if cut.dtype == bool:
            cut = cut & ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None]
        return cut


def _start(centre: int, side: int, length: int) -> int:
    """Where a stretch of `side` begins that has `centre` in its middle and stays within `length` where it can."""
    if side >= length:
        return -((side - length) // 2)
    return min(max(centre - side // 2, 0), length - side)


def read_edit(photo: Any, mask: Any) -> Edit:
    """As `Edit.read`, naming the file that is at fault."""
    if isinstance(photo, str | Path) and isinstance(mask, str | Path) and Path(photo) == Path(mask):
        raise ImageError(f"--into and --mask both name {photo}; the mask is a picture of its own, white where to draw")
    return Edit.read(photo, mask)
