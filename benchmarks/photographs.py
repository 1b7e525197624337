"""How well `mini` tells photographs from the scenes that it knows: by the denoising error under the empty prompt.

    python benchmarks/photographs.py --objects FOLDER [--photos FOLDER ...]

Photographs are those that ship inside installed packages (scikit-image, scikit-learn, matplotlib, gradio) and any
others in `--photos`, each whole and in two crops; scenes are composed of validation objects, simple and textured.
Scenes before a photograph are counted apart: they are both.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from recipes.mini.naming import PHOTO_LIMIT, PHOTO_TIMESTEP
from uce.core.config.options import Options
from uce.core.files.pictures import RgbArray
from uce.core.flow.picture import read_picture
from uce.core.model.measured import strangeness
from uce.core.work.models import backbone_for
from uce.scenes.objects import is_face, list_objects, load_object
from uce.scenes.sets import KINDS, compose_scene, look_alike
from uce.scenes.things import make_loader

SHIPPED = {
    "skimage": "data/astronaut.png data/chelsea.png data/coffee.png data/coins.png data/rocket.jpg "
    "data/motorcycle_left.png data/clock_motion.png "
    "data/hubble_deep_field.jpg data/retina.jpg data/moon.png data/camera.png data/grass.png "
    "data/brick.png data/gravel.png data/ihc.png",
    "sklearn": "datasets/images/china.jpg datasets/images/flower.jpg",
    "matplotlib": "mpl-data/sample_data/grace_hopper.jpg",
    "gradio": "media_assets/images/cheetah1.jpg media_assets/images/groot.jpeg media_assets/images/lion.jpg "
    "media_assets/images/tower.jpg",
}


def photographs(folders: list[Path]) -> list[Path]:
    """Files of photographs that are here."""
    found = [path for folder in folders for path in sorted(folder.rglob("*.jpg"))]
    for package, names in SHIPPED.items():
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            found += [Path(spec.origin).parent / name for name in names.split()]
    return [path for path in found if path.is_file()]


def crops(picture: RgbArray, seed: int = 1) -> list[RgbArray]:
    """Two squares of it."""
    rng, made = np.random.default_rng(seed), []
    height, width = picture.shape[:2]
    for _ in range(2):
        side = int(min(height, width) * rng.uniform(0.5, 0.8))
        top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
        made.append(np.ascontiguousarray(picture[top : top + side, left : left + side]))
    return made


def main() -> None:
    """Measure, print."""
    from sklearn.metrics import roc_auc_score

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True, help="folder with the objects' .webp files")
    parser.add_argument("--photos", type=Path, nargs="*", default=[])
    parser.add_argument("--per-kind", type=int, default=6)
    options = parser.parse_args()
    chosen = Options.of({"model": "mini", "device": "cpu"})
    backbone = backbone_for(chosen.manager(), chosen.resolve(chosen.manager()))

    def score(picture: RgbArray) -> float:
        return strangeness(backbone, read_picture(picture, backbone.picture_side, "crop"), PHOTO_TIMESTEP)

    whole, parts = [], []
    for path in photographs(options.photos):
        with Image.open(path) as file:
            picture = np.asarray(file.convert("RGB"))
        whole.append(score(picture))
        parts += [score(part) for part in crops(picture)]
        print(f"{path.parent.name}/{path.name}: {whole[-1]:.3f}")
    stems = [stem for stem in list_objects(options.objects, "validation") if not is_face(stem)]
    loader = make_loader(lambda stem: load_object(options.objects, stem, 256))
    alike = look_alike(stems, loader)
    scenes: dict[bool, list[float]] = {True: [], False: []}
    for kind in KINDS:
        for number in range(options.per_kind):
            scene = compose_scene(kind, number, stems, loader, "validation", alike=alike)
            scenes[kind == "photo"].append(score(scene.picture))
    plain = scenes[False]
    truth = [1] * len(whole + parts) + [0] * len(plain)
    print(f"AUC {roc_auc_score(truth, whole + parts + plain):.3f}")
    named = {"photographs": whole, "crops": parts, "scenes": plain, "scenes before a photograph": scenes[True]}
    for name, values in named.items():
        above = sum(value > PHOTO_LIMIT for value in values)
        print(f"{name}: {above} of {len(values)} above {PHOTO_LIMIT}")


if __name__ == "__main__":
    main()
