"""Damaged pictures, settings, configurations, lists and names."""

from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from fuzz.conftest import inputs
from fuzz.guard import ends_well
from fuzz.mutate import NASTY, altered, damaged, values
from uce.batching.names import give_names, slug
from uce.batching.sources import read_sources
from uce.core.config.options import Options
from uce.core.config.resolving import load_config_file, resolve_config
from uce.core.files.formats import FORMATS
from uce.core.files.pictures import MAX_PIXELS, load_rgb, rgb_of_bytes
from uce.core.registry.manager import load_manager
from uce.core.runs.token_names import token_stem

WRITTEN = (*FORMATS, "PCX", "DDS", "SGI", "ICNS")
"""The formats that are read, and a few that are not."""


def with_profiles(image: Image.Image, exif: Image.Exif) -> list[bytes]:
    """In every format that takes them: EXIF, and profiles of RGB, of Lab where RGB is meant, of grey, and nonsense."""
    srgb, lab = (ImageCms.ImageCmsProfile(ImageCms.createProfile(kind)).tobytes() for kind in ("sRGB", "LAB"))
    grey = srgb[:16] + b"GRAY" + srgb[20:]
    found = []
    for kind in FORMATS:
        for mode, profile in (("RGB", srgb), ("RGB", lab), ("L", grey), ("RGBA", srgb), ("RGB", b"no profile" * 9)):
            buffer = io.BytesIO()
            try:
                image.convert(mode).save(buffer, kind, icc_profile=profile, exif=exif)
            except (OSError, ValueError, KeyError):
                continue
            found.append(buffer.getvalue())
    return found


@cache
def good_pictures() -> list[bytes]:
    """Small files of every format and mode that is written easily, animated, 16-bit, with profiles and with EXIF."""
    array = np.random.default_rng(0).integers(0, 255, (16, 24, 3), dtype=np.uint8)
    image = Image.fromarray(array)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "words" * 20
    found = with_profiles(image, exif)
    for kind in WRITTEN:
        for mode in ("RGB", "RGBA", "P", "L", "1", "I;16", "CMYK", "LA"):
            buffer = io.BytesIO()
            try:
                image.convert("L" if mode == "I;16" else mode).convert(mode).save(buffer, kind)
            except (OSError, ValueError, KeyError):
                continue
            found.append(buffer.getvalue())
    for kind, more in (
        ("GIF", {"save_all": True, "append_images": [image.rotate(90, expand=True)] * 3}),
        ("WEBP", {"save_all": True, "append_images": [image] * 3}),
        ("PNG", {"save_all": True, "append_images": [image] * 3}),
        ("TIFF", {"save_all": True, "append_images": [image], "compression": "tiff_lzw"}),
        ("JPEG", {"exif": exif, "quality": 50, "progressive": True}),
        ("WEBP", {"exif": exif, "lossless": True}),
    ):
        buffer = io.BytesIO()
        image.save(buffer, kind, **more)
        found.append(buffer.getvalue())
    return found


def proper(array: Any) -> None:
    assert array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3
    assert 0 < array.shape[0] * array.shape[1] <= MAX_PIXELS


@given(data=damaged(st.sampled_from(good_pictures())) | st.binary(max_size=200))
@inputs("pictures")
def test_pictures(folder: Path, data: bytes) -> None:
    ends_well(folder, lambda: proper(rgb_of_bytes(data, "some.png")))


@cache
def manager() -> Any:
    return load_manager()


KEYS = (
    "optimizer.steps",
    "optimizer.merge_step",
    "run.seed",
    "run.threads",
    "run.concepts",
    "run.names",
    "model.name",
    "model.revision",
    "refiner.merge.threshold",
    "refiner.nothing.x",
    "extractor.cells",
    "clusterer.min_clusters",
    "clusterer.plugin",
    "run.micro_batch",
    "run.device",
    "run.precision",
    "run.fit",
    "initializer.split_tokens",
)


@st.composite
def assignments(draw: st.DrawFn) -> str:
    key = draw(st.sampled_from(KEYS) | st.text(max_size=20) | st.sampled_from(NASTY))
    value = draw(
        st.text(max_size=40)
        | st.sampled_from(NASTY)
        | st.text("[{(<&*!|>-:,'\"#%@`? \n\t0123456789aeinfx_.+", max_size=60)
        | values.map(lambda v: json.dumps(v, default=str))
        | st.integers(1, 5000).map(lambda n: "[" * n)
        | st.integers(1, 5000).map(lambda n: "{a: " * n)
    )
    return key + draw(st.sampled_from(("=", "=", "=", "", "==", " = "))) + value


@given(texts=st.lists(assignments(), min_size=1, max_size=3))
@inputs("set")
def test_set_strings(folder: Path, texts: list[str]) -> None:
    ends_well(folder, lambda: Options(set=texts).resolve(manager()).to_yaml())


@cache
def good_config() -> dict[str, Any]:
    return resolve_config(manager()).to_dict()


@st.composite
def configs(draw: st.DrawFn) -> bytes:
    text = draw(
        altered(good_config()).map(lambda d: yaml.dump(d, allow_unicode=True).encode("utf-8", "replace"))
        | altered(good_config()).map(lambda d: json.dumps(d, default=str).encode("utf-8", "replace"))
    )
    return draw(st.just(text) | damaged(st.just(text)) | st.binary(max_size=100) | st.sampled_from(BOMBS))


_GROWING = b"optimizer:\n  c0: &c0 [1, 1]\n" + b"".join(
    b"  c%d: &c%d [*c%d, *c%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 30)
)
BOMBS = [
    _GROWING,
    _GROWING.replace(b"c29:", b"steps:"),
    b"optimizer:\n  k: &c0 [1, 1]\n  steps: *c0\n",
    b"run:\n" + _GROWING.partition(b"\n")[2].replace(b"c29:", b"names:"),
    b"x: &a [*a]\nrun: *a\n",
    b"run: &r {seed: 1, names: *r}\n",
    b"model: &m {name: *m}\n",
    b"refiner: {chain: [&x [*x]]}\n",
    b"run: {names: [&y [1], *y], seed: 12:30:45}\n",
    b"[" * 100_000,
    b"{a: " * 50_000,
    b"- " * 50_000,
    b"run: {seed: " + b"9" * 10_000 + b"}",
    b"run: {seed: 0x" + b"f" * 9000 + b"}\n",
    b"run: {seed: 2001-99-99}",
    b"run: !!timestamp '2001-13-01'\n",
    b"run: {seed: !!python/object/apply:os.system ['touch /tmp/uce-fuzz-owned']}",
    b"!!python/object/new:os.system [id]",
    b"\xff\xfer\x00u\x00n\x00",
    b"run: {seed: .inf}\n",
    b"run: {? [1, 2] : 3}\n",
    b"? {a: b}\n: 1\n",
    b"preset: [default]\n",
    b"preset: {a: 1}\n",
    b"1: 2\n",
    b"null: 1\n",
    b"run: !!binary 'x'\n",
    b"run: {seed: !!int 'x'}\n",
    b"run: {seed: !!float '_'}\n",
    b"run: !!set {a, b}\n",
    b"<<: [1]\n",
    b"<<: {run: {seed: 1}}\n",
]
"""Aliases that double 29 times, or hold themselves; brackets 100,000 deep; numbers of 10,000 digits; dates that are
none; YAML's own ways to run code."""


@pytest.mark.parametrize("data", BOMBS, ids=range(len(BOMBS)))
def test_bombs(folder: Path, data: bytes) -> None:
    resolve_file(folder, data)


def resolve_file(folder: Path, data: bytes) -> None:
    path = folder / "config.yaml"
    path.write_bytes(data)
    ends_well(folder, lambda: resolve_config(manager(), document=load_config_file(path)).to_yaml())
    ends_well(folder, lambda: Options(config=path).resolve(manager()))


@given(data=configs())
@inputs("config_files")
def test_config_files(folder: Path, data: bytes) -> None:
    resolve_file(folder, data)


GOOD_LISTS = {
    ".csv": b"image,name,seed,optimizer.steps\nx.png,first,3,\ny.png,,,200\n",
    ".tsv": b"image\tconcepts\nx.png\t0,2\n",
    ".jsonl": b'{"image": "x.png", "seed": 3, "names": ["a"]}\n"y.png"\n{"image": "z.png", "optimizer.steps": 2}\n',
    ".txt": b"x.png\n# words\n\n./y.png\n../z.png\n",
}


@given(kind=st.sampled_from(sorted(GOOD_LISTS)), data=st.data())
@inputs("lists")
def test_lists_of_a_batch(folder: Path, kind: str, data: Any) -> None:
    rows = altered({"image": "x.png", "seed": 1, "concepts": [0], "refiner": "merge", "optimizer.steps": 3})
    json_lines = st.lists(rows | values, max_size=4).map(lambda r: "\n".join(map(json.dumps, r)).encode())
    good = st.just(GOOD_LISTS[kind])
    path = folder / f"list{kind}"
    path.write_bytes(
        data.draw(damaged(good) | st.binary(max_size=80) | (json_lines if kind == ".jsonl" else damaged(good)))
    )

    def read() -> None:
        named, _ = give_names(read_sources([path]), [])
        for one in named:
            assert (folder / one.name).resolve().parent == folder.resolve(), one.name

    ends_well(folder, read)


@given(name=st.text(max_size=60) | st.sampled_from(NASTY), other=st.text(max_size=20))
@inputs("names")
def test_names_never_lead_out_of_a_folder(folder: Path, name: str, other: str) -> None:
    """Tokens, entries of batches and libraries, hub repositories, packages: whatever they are called, files stay in."""
    from uce.scaffold import new_package
    from uce.tokens.library import Library
    from uce.tokens.pushing import push_run

    for source in (name, f"{other}/{name}", f"{name}.png", f"s3://{name}/{other}"):
        assert (folder / slug(source)).parent == folder and slug(source) not in ("", ".", "..")
    for token in (name, f"<{name}>", f"<{name}{other}>"):
        stems: list[str] = []
        if ends_well(folder, lambda token=token, stems=stems: stems.append(token_stem(token))) is None:  # type: ignore[misc]
            assert (folder / stems[0]).parent == folder and stems[0].isascii()
    library = Library(folder / "library")
    assert ends_well(folder, lambda: library.get(name)) and ends_well(folder, lambda: library.remove(name))
    ends_well(folder, lambda: new_package(name, "clusterer", folder / "packages"))
    assert ends_well(folder, lambda: push_run(None, f"{name}/{other}/x", None, dry_run=True, private=True))  # type: ignore[arg-type]
    ends_well(folder, lambda: load_rgb(folder / name.replace("/", "-")) if "\0" not in name else None)


@given(texts=st.lists(st.text(max_size=20) | st.sampled_from(NASTY), max_size=3))
@inputs("names")
def test_names_for_tokens(texts: list[str]) -> None:
    from uce.core.runs.token_names import choose_concepts, name_tokens

    ends_well(Path("/nonexistent"), lambda: name_tokens([0, 1], texts))
    ends_well(Path("/nonexistent"), lambda: choose_concepts(3, [len(t) for t in texts]))
