"""Where things are to stand in a drawn picture: a layout file, or the masks of a run's picture.

A layout says for a token, or for any words of a prompt, in which part of the picture it acts:

    <cup>: [0, 0.2, 0.5, 0.9]     # a box: left, top, right, bottom in parts of the picture
    <cat>: masks/cat.png          # white where it stands; the whole picture, at any size
    lamp:                         # nothing: found in the first denoising steps

Legend: H, W pixels of a mask; h, w latent cells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from uce.core.errors import ConfigError, UceError
from uce.core.files.documents import parse_yaml, shown
from uce.core.files.masks import read_mask
from uce.core.files.pictures import load_rgb
from uce.core.flow.picture import read_picture
from uce.core.runs.folder import RunFolder
from uce.core.work.held import Run
from uce.tokens.gathering import Owned

if TYPE_CHECKING:
    from torch import Tensor

    from uce.core.model.backbone import Backbone
    from uce.core.model.regions import Regions

Box = tuple[float, float, float, float]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Layout = Mapping[str, Any]


@dataclass(frozen=True)
class Places:
    """Where tokens and words are to act.

    Attributes:
        given: word -> box, mask bool (H, W), or None: to be found.
        like: a run, and word -> index of the concept in whose mask it acts.
    """

    given: Mapping[str, Box | Mask | None]
    like: tuple[Run, Mapping[str, int]] | None = None

    def on(self, backbone: Backbone) -> Regions:
        """On a model's cells."""
        from uce.core.model.regions import Regions

        side = backbone.latent_side
        masks = {} if self.like is None else _masks_like(*self.like, backbone)
        return Regions(masks | {word: _cells(place, side) for word, place in self.given.items() if word not in masks})


def placed(
    tokens: Sequence[Owned],
    prompts: Sequence[str],
    *,
    regions: bool,
    layout: Layout | str | Path | None,
    like: str | Path | Run | None,
) -> Places | None:
    """What the user asks for; None where it is nothing. What has no place given is found one.

    Raises:
        ConfigError: a layout that cannot be read, or one that no prompt has use for.
        RunFolderError: `like` is no run, or one without a picture.
    """
    from uce.core.model.regions import Regions

    if not regions and layout is None and like is None:
        return None
    names = [one.token for one in tokens]
    given: dict[str, Box | Mask | None] = dict.fromkeys(names)
    chosen = {} if layout is None else read_layout(layout, names)
    source = None if like is None else _concepts_like(like, tokens)
    asked = [*chosen, *(source[1] if source else ())]
    if asked and not any(Regions(dict.fromkeys(asked, None)).finds(prompt) for prompt in prompts):
        raise ConfigError(
            f"the places are for {', '.join(asked)}, and no prompt holds any of them; name one in a prompt"
        )
    if source:
        source = source[0], {word: index for word, index in source[1].items() if word not in chosen}
    return Places(given | chosen, source)


def read_layout(layout: Layout | str | Path, tokens: Sequence[str] = ()) -> dict[str, Box | Mask | None]:
    """A layout, looked through.

    Args:
        layout: word -> place, or a file; masks it names lie beside the file.
        tokens: "cup" stands for "<cup>" where that is one of these.

    Raises:
        ConfigError: it cannot be read, or a place is none.
    """
    folder, what = Path(), "the layout"
    if isinstance(layout, str | Path):
        folder, what = Path(layout).parent, f"--layout {layout}"
        layout = _document(Path(layout), what)
    found: dict[str, Box | Mask | None] = {}
    for word, place in layout.items():
        name = f"<{word}>" if f"<{word}>" in tokens else str(word).strip()
        if not name:
            raise ConfigError(f"{what} has a place for nothing; write a token or a word of the prompt before each")
        found[name] = _place(place, f"{what}, {name}", folder)
    return found


def _document(path: Path, what: str) -> Layout:
    try:
        document = parse_yaml(path.read_text(encoding="utf-8-sig"))  # JSON is YAML
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or (
            "it is no UTF-8 text" if isinstance(error, UnicodeDecodeError) else error
        )
        raise ConfigError(f"{what}: {reason}; write a line such as <cup>: [0, 0.2, 0.5, 0.9] per token") from error
    if not isinstance(document, dict) or not document:
        raise ConfigError(f"{what} holds {shown(document)}; write a line such as <cup>: [0, 0.2, 0.5, 0.9] per token")
    return document


def _place(place: Any, what: str, folder: Path) -> Box | Mask | None:
    if place is None:
        return None
    if isinstance(place, str | Path):
        try:
            return _some(read_mask(folder / place), what)
        except UceError as error:
            raise ConfigError(f"{what}: {error}") from error
    if isinstance(place, np.ndarray | Image.Image):
        values = place if isinstance(place, np.ndarray) and place.dtype == bool else load_rgb(place).max(axis=2) > 127
        return _some(values, what)
    numbers = list(place) if isinstance(place, list | tuple) else []
    if len(numbers) != 4 or any(isinstance(n, bool) or not isinstance(n, int | float) for n in numbers):
        raise ConfigError(f"{what} is {shown(place)}; give a box [x0, y0, x1, y1], a mask's file, or nothing (found)")
    left, top, right, bottom = (float(number) for number in numbers)
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ConfigError(
            f"{what} is {shown(place)}; a box is [left, top, right, bottom] in parts of the picture, 0 to 1"
        )
    return left, top, right, bottom


def _some(mask: Mask, what: str) -> Mask:
    if mask.ndim != 2 or not mask.any():
        raise ConfigError(f"{what}: the mask shows nothing; paint white where the thing is to stand")
    return mask


def _cells(place: Box | Mask | None, side: int) -> Tensor | None:
    """float32 (h, w): how much of each cell lies inside."""
    import torch

    if place is None:
        return None
    if isinstance(place, tuple):
        edges = np.arange(side + 1) / side
        spans = ((place[1], place[3]), (place[0], place[2]))
        down, across = (np.diff(edges.clip(low, high)) * side for low, high in spans)
        return torch.from_numpy(np.outer(down, across)).float()
    grey = Image.fromarray(place.astype(np.float32)).resize((side, side), Image.Resampling.BOX)
    return torch.from_numpy(np.array(grey, np.float32))


def _concepts_like(like: str | Path | Run, tokens: Sequence[Owned]) -> tuple[Run, dict[str, int]]:
    """The run, and which concept's mask each name takes: its own tokens as they are called here, or by their names."""
    run = like if isinstance(like, Run) else Run.read(RunFolder(Path(like)))
    own = {concept.token: concept.index for concept in run.concepts}
    same = [one for one in tokens if one.run.path.resolve() == run.path.resolve() and one.own in own]
    return run, own | {one.token: own[one.own] for one in same}


def _masks_like(run: Run, concepts: Mapping[str, int], backbone: Backbone) -> dict[str, Tensor | None]:
    import torch

    masks_KHW = torch.from_numpy(np.stack([concept.mask for concept in run.concepts]))
    fit = (parse_yaml((run.path / "config.yaml").read_text(encoding="utf-8")).get("run") or {}).get("fit", "pad")
    picture = read_picture(run.path / "input.png", backbone.picture_side, fit)
    cells_Khw = picture.to_grid(masks_KHW, (backbone.latent_side,) * 2).float()
    of_index = dict(zip((concept.index for concept in run.concepts), cells_Khw, strict=True))
    return {word: of_index[index] for word, index in concepts.items() if bool(of_index[index].any())}
