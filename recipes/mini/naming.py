"""What `mini` may call the things that it sees: known cut-outs, and how sure likeness makes (`uce.safetensors`).

    python -m recipes.mini.naming --objects package/assets

Known cut-outs are of training objects: every one alone, those with a word twice more in another pose, and things of
composed scenes cut out by masks that are a little wrong, as found ones are. Objects without a word are known, too:
what is most like one of them gets no name. How sure likeness makes is fitted on scenes of which half the things have
a word and half are validation objects; test objects take no part. `benchmarks/naming.py` measures the result on masks
that uce finds.

Legend: V known cut-outs; D features; R their projection; W words.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

import uce
from uce.core import load_manager
from uce.core.config.resolving import resolve_config
from uce.core.files.tensors import save_tensors
from uce.core.model.measured import MEASURED
from uce.core.work.models import load_backbone
from uce.core.work.naming import GREY, appearance, confidences, cut_out, likeness, project
from uce.scenes.composing import compose, pose_thing
from uce.scenes.names import NAMES
from uce.scenes.objects import is_face, list_objects, load_object, named_objects
from uce.scenes.things import Thing, make_loader

SIDE, SMALLEST = 256, 200
PARTS, LOUDNESS = 128, 0.75
"""Principal components of the features, and how far their loudness is evened out (1: all alike)."""
SHOWN = 0.7
"""Least confidence at which a word is shown as a name; `benchmarks/naming.py` says what that costs and gives."""
PHOTO_TIMESTEP, PHOTO_LIMIT = 50, 0.4
"""Denoising error with little noise above which `mini` knows no such pictures: `benchmarks/photographs.py`."""
PHOTO_WARNING = (
    "this looks like a photograph, and mini knows none: masks follow colour and outline only, and the words will draw "
    "nonsense; give --model a Stable Diffusion folder, .safetensors file or hub id"
)
ALSO = {
    "1f34f": "apple", "1f41f": "fish", "1f4da": "book", "26c4": "snowman", "1f495": "heart", "1f49e": "heart",
    "1f698": "car", "1f576-fe0f": "glasses", "1f314": "moon", "1f31b": "moon",
}  # fmt: skip
"""Validation objects that a word of `mini` names rightly, too."""
Mask = npt.NDArray[np.bool_]


def true_word(stem: str) -> str | None:
    """The word of `mini` that names an object rightly; None where it has none."""
    return NAMES.get(stem) or ALSO.get(stem)


def scenes(
    objects: Path, others: list[str], seed: int, count: int
) -> Iterator[tuple[Any, npt.NDArray[np.uint8], Mask]]:
    """Things of composed scenes, half of them with a word: stem, picture, mask as a localisation might find it."""
    named = list(named_objects(objects))
    loader = make_loader(lambda stem: load_object(objects, stem, SIDE))
    rng = np.random.default_rng((seed, 5))
    for index in range(count):
        stems = [str(rng.choice(named if rng.random() < 0.5 else others)) for _ in range(int(rng.integers(1, 5)))]
        scene = compose([Thing(stem) for stem in stems], loader, 1000 + seed, index, SIDE)
        for stem, mask in zip(stems, scene.masks, strict=True):
            if mask.sum() >= SMALLEST:
                yield stem, scene.picture, _as_found(rng, mask)


def _as_found(rng: np.random.Generator, mask: Mask) -> Mask:
    """A mask that is a little too small or too large, and sometimes lacks its upper part."""
    by = int(rng.integers(-3, 5))
    changed = ndimage.binary_dilation(mask, iterations=by) if by > 0 else mask
    changed = ndimage.binary_erosion(mask, iterations=-by) if by < 0 else changed
    found: Mask = np.array(changed if changed.sum() >= 0.3 * mask.sum() else mask)
    if rng.random() < 0.3:
        rows = np.nonzero(found.any(1))[0]
        found[: rows[0] + int((rows[-1] - rows[0]) * rng.uniform(0, 0.15))] = False
    return found if found.any() else mask


def portraits(objects: Path, rounds: int = 3) -> Iterator[tuple[str, npt.NDArray[np.uint8], Mask]]:
    """Training objects alone: first all, upright; then those with a word, turned and mirrored."""
    named = list(named_objects(objects))
    rest = [stem for stem in list_objects(objects, "train") if stem not in NAMES]
    for number in range(rounds):
        rng = np.random.default_rng((9, number))
        for stem in named + (rest if number == 0 else []):
            pose = pose_thing(rng, load_object(objects, stem, 128), 128, 0.8, 20 * bool(number), 0.5 * bool(number))
            rgba = np.asarray(pose, np.float32)
            alpha = rgba[..., 3:] / 255
            yield stem, np.uint8(rgba[..., :3] * alpha + GREY * (1 - alpha)), rgba[..., 3] > 128


def look(backbone: Any, things: Iterator[tuple[str, npt.NDArray[np.uint8], Mask]]) -> tuple[list[str], torch.Tensor]:
    """Stems and features float32 (V, D)."""
    rows = [(s, appearance(backbone, cut_out(picture, mask, backbone.picture_side))) for s, picture, mask in things]
    return [stem for stem, _ in rows], torch.stack([row for _, row in rows])


def fit(stems: list[str], features_VD: torch.Tensor) -> dict[str, torch.Tensor]:
    """The tensors of the file: mean (D,), axes (D, R), views (V, R), words (V,), -1 for things without one."""
    words = list(NAMES.values())
    mean, deviation = features_VD.mean(0), features_VD.std(0) + 1e-3
    _, values, directions = torch.linalg.svd((features_VD - mean) / deviation, full_matrices=False)
    axes = directions[:PARTS].T / values[:PARTS] ** LOUDNESS / deviation[:, None]
    axes = axes / axes.abs().max()  # float16 holds it; only directions count
    tensors = {"mean": mean.half(), "axes": axes.half()}
    rows = [words.index(NAMES[stem]) if stem in NAMES else -1 for stem in stems]
    return tensors | {"views": project(features_VD, tensors).half(), "words": torch.tensor(rows, dtype=torch.int16)}


def calibrate(stems: list[str], features_KD: torch.Tensor, tensors: dict[str, torch.Tensor]) -> tuple[float, ...]:
    """Slopes of confidence in likeness and lead, and its offset: by regression on whether the best word is right."""
    from sklearn.linear_model import LogisticRegression

    words = list(NAMES.values())
    alike = likeness(features_KD, tensors, len(words))
    top, best = alike[:, :-1].max(dim=1)
    rivals = alike.clone()
    rivals[torch.arange(len(best)), best] = -1
    right = [true_word(stem) == words[i] for stem, i in zip(stems, best.tolist(), strict=True)]
    facts = torch.stack([top, top - rivals.max(dim=1).values], dim=1).numpy()
    model = LogisticRegression(C=1000).fit(facts, right)
    return tuple(round(float(value), 3) for value in (*model.coef_[0], model.intercept_[0]))


def write(path: Path, known: tuple[list[str], torch.Tensor], checked: tuple[list[str], torch.Tensor]) -> None:
    """Fit, calibrate, write; say what the threshold gives."""
    tensors = fit(*known)
    slopes = calibrate(*checked, tensors)
    words = list(NAMES.values())
    names = {"words": words, "slopes": slopes, "shown": SHOWN}
    pictures = {"timestep": PHOTO_TIMESTEP, "limit": PHOTO_LIMIT, "warning": PHOTO_WARNING}
    save_tensors(path, tensors, {"names": names, "pictures": pictures})
    sure, best = confidences(likeness(checked[1], tensors, len(words)), slopes).max(dim=1)
    right = torch.tensor([true_word(s) == words[i] for s, i in zip(checked[0], best.tolist(), strict=True)])
    known_ones = sum(true_word(stem) is not None for stem in checked[0])
    for limit in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        shown = sure >= limit
        count, good = int(shown.sum()), int((shown & right).sum())
        print(
            f"shown from {limit}: {good / max(1, count):.0%} of {count} right, {good / known_ones:.0%} of {known_ones}"
        )


def main() -> None:
    """Look, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True, help="folder with the objects' .webp files")
    parser.add_argument("--scenes", type=int, nargs=2, default=(272, 115), help="to know things from, to calibrate on")
    parser.add_argument("--out", type=Path, default=uce.model_path("mini") / MEASURED)
    options = parser.parse_args()
    backbone = load_backbone(load_manager(), resolve_config(load_manager(), document={"run": {"device": "cpu"}}))
    train = [stem for stem in list_objects(options.objects, "train") if stem not in NAMES]
    validation = [stem for stem in list_objects(options.objects, "validation") if not is_face(stem)]
    alone = look(backbone, portraits(options.objects))
    among = look(backbone, scenes(options.objects, train, 1, options.scenes[0]))
    checked = look(backbone, scenes(options.objects, validation, 2, options.scenes[1]))
    write(options.out, (among[0] + alone[0], torch.cat([among[1], alone[1]])), checked)


if __name__ == "__main__":
    main()
