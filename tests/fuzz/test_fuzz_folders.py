"""Damaged run folders, checkpoints, embeddings, model folders and plugin files."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_loop import Loop
from drawn import two_squares
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save

import uce
from fuzz.conftest import inputs
from fuzz.guard import ends_well
from fuzz.mutate import altered, damaged, values
from uce.core import Clusters, Concepts, TokenPlan
from uce.core.files.tensors import load_tensors
from uce.core.files.token_files import read_token_file
from uce.core.flow.context import Context
from uce.core.work.cache import FileCheckpoint, StageCache
from uce.testing import tiny_attention, tiny_backbone, tiny_labels
from uce.tokens.library import Library

OWNED = "/tmp/uce-fuzz-owned"


class Bomb:
    """Would make a file if it were unpickled with all of pickle's powers."""

    def __reduce__(self) -> Any:
        return os.system, (f"touch {OWNED}",)


def zipped(*files: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return buffer.getvalue()


def torch_bytes(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


@cache
def good_tokens() -> list[bytes]:
    """Embeddings of every layout, pickle bombs, archives that lead out or unpack to gigabytes, headers of gigabytes."""
    vector = torch.zeros(2, 8)
    header = json.dumps({"<a>": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}).encode()
    return [
        save({"<asset0>": vector[0]}),
        save({"<asset0>": vector}, {"uce": "{}"}),
        save({"clip_l": vector, "clip_g": vector + 1}),
        save({"<a>.clip_l": vector, "<a>.clip_g": vector + 1}),
        save({"x": vector.to(torch.int64)}),
        save({"x": vector.half()}),
        save({"x": vector * float("nan")}),
        save({"x": torch.zeros(1000, 8)}),
        save({"../../x": vector}),
        save({}),
        save({"emb_params": vector.bfloat16()}),
        save({"a": torch.zeros(0, 8), "b": torch.zeros(3, 0)}),
        torch_bytes({"string_to_param": {"*": vector}, "name": "x"}),
        torch_bytes({"<x>": vector}),
        torch_bytes({"<x>": vector}, _use_new_zipfile_serialization=False),
        torch_bytes(vector),
        torch_bytes({"x": 3}),
        torch_bytes({"x": vector.to_sparse()}),
        torch_bytes({"x": torch.zeros(1).expand(2**20)}),
        torch_bytes({"x": torch.empty(3, 4, device="meta")}),
        pickle.dumps(Bomb()),
        pickle.dumps({"x": Bomb()}, protocol=2),
        torch_bytes({"x": Bomb()}, _use_new_zipfile_serialization=False),
        torch_bytes({"x": Bomb()}),
        b"\x80\x04" + b"(" * 5000 + b".",
        b"\x80\x02]" + b"]a" * 3000 + b".",
        zipped(("../../evil.py", b"x"), ("archive/data.pkl", pickle.dumps(Bomb()))),
        zipped(("archive/data.pkl", bytes(100 << 20))),
        struct.pack("<Q", 2**62) + b"{}",
        struct.pack("<Q", len(header)) + header,
        struct.pack("<Q", 50_000) + b"[" * 50_000,
        struct.pack("<Q", 60_000) + b'{"a":' * 12_000,
    ]


@given(
    data=damaged(st.sampled_from(good_tokens())) | st.binary(max_size=100),
    ending=st.sampled_from(("safetensors", "pt", "bin")),
)
@inputs("tokens")
def test_embeddings(folder: Path, data: bytes, ending: str) -> None:
    path = folder / f"token.{ending}"
    path.write_bytes(data)

    def read() -> None:
        for token in read_token_file(path):
            assert all(torch.isfinite(v).all() and v.dtype == torch.float32 for v in token.vectors.values())

    ends_well(folder, read)
    assert not Path(OWNED).exists(), "code of an embedding was run"


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good run folder of the toy model, small."""
    root = tmp_path_factory.mktemp("good")
    picture = two_squares(20, 24)
    toy = {
        "model": "toy",
        "extractor": "toy",
        "clusterer": "toy",
        "refiner": "none",
        "plugin": [str(Path(__file__).parents[1] / "toy_plugin.py")],
    }
    small = {
        "optimizer.steps": 2,
        "optimizer.merge_step": 1,
        "run.sample_steps": 1,
        "optimizer.alignment_iterations": 2,
    }
    uce.run(picture, root / "run", set=small, **toy)
    return root / "run"


def use(run: Any) -> None:
    """Everything that is read of a run without its model."""
    run.summary()
    _ = run.weights, run.has_picture, run.learned
    for concept in run.concepts:
        if concept.mask_path:
            assert concept.mask.dtype == bool
    if run.learned:
        run.tokens()


JSONS = ("run.json", "concepts.json", "entry.json")
BYTES = ("embeddings.safetensors", "masks/0.png", "config.yaml", "run.json", "concepts.json", "input.png")


@given(data=st.data())
@inputs("run_folders")
def test_run_folders(run_folder: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, data: Any) -> None:
    out = folder / "library" / "entry"
    shutil.rmtree(out.parent, ignore_errors=True)
    out.mkdir(parents=True)
    for name in ("run.json", "concepts.json", "config.yaml", "embeddings.safetensors", "masks", "input.png", "tokens"):
        (out / name).symlink_to(run_folder / name)
    (out / "entry.json").write_text('{"format": 1, "name": "entry", "added": "x"}')
    name = data.draw(st.sampled_from((*JSONS, *BYTES)))
    if name in JSONS and data.draw(st.booleans()):
        document = data.draw(altered(json.loads((out / name).read_text())) | values)
        content = json.dumps(document).encode("utf-8", "replace")
    else:
        content = data.draw(damaged(st.just((out / name).read_bytes())))
    if name.startswith("masks/"):
        (out / "masks").unlink()
        (out / "masks").mkdir()
    (out / name).unlink(missing_ok=True)
    (out / name).write_bytes(content)
    ends_well(folder, lambda: use(uce.load(out)))
    library = Library(out.parent)
    ends_well(folder, lambda: library.record("entry"))
    ends_well(folder, lambda: library.add(uce.load(out), "copy", overwrite=True))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    ends_well(folder, lambda: uce.export(out, "diffusers", folder / "export", overwrite=True))
    inside = {str(path.relative_to(folder)).split("/")[0] for path in folder.iterdir()}
    inside = {name for name in inside if not name.endswith(".lock")}
    assert inside <= {"library", "export"}, inside


@cache
def good_checkpoint() -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    rows = {f"{name}.clip": torch.zeros(4, 6) for name in ("vectors", "first", "second")}
    history = [{"update": n, "phase": "split", "total": 0.1} for n in (1, 2)]
    return rows, {"identity": "i", "update": 2, "micro_batch": 3, "history": history}


@given(data=st.data())
@inputs("checkpoints")
def test_checkpoints_and_stage_results(folder: Path, data: Any) -> None:
    """A damaged checkpoint or stage result counts as none: the work is done again."""
    path = folder / "checkpoint.safetensors"
    tensors, facts = good_checkpoint()
    shapes = st.sampled_from(((4, 6), (2, 6), (3, 6), (4,), (0, 6), (4, 6, 1)))
    kinds = st.sampled_from((torch.float32, torch.float16, torch.int64, torch.bool))
    kept = {
        name: value if data.draw(st.booleans()) else torch.zeros(data.draw(shapes), dtype=data.draw(kinds))
        for name, value in tensors.items()
        if data.draw(st.integers(0, 5))
    }
    values_of = facts if data.draw(st.booleans()) else data.draw(altered(facts))
    header = {"uce": json.dumps({"key": "k", "values": values_of})}
    content = save(kept, header)
    path.write_bytes(content if data.draw(st.booleans()) else data.draw(damaged(st.just(content))))
    starts = {"clip": torch.zeros(2, 2, 6)}
    context = Context(checkpoint=FileCheckpoint(path, "k"))
    loop: list[Loop] = []
    said = ends_well(
        folder, lambda: loop.append(Loop(TokenPlan(("<a>", "<b>"), starts), tiny_backbone(), context, "i"))
    )
    assert said is None and loop[0].done in (0, 2) and len(loop[0].history) == loop[0].done
    cache_ = StageCache(folder)
    for stage, result in (("clusterer", Clusters(tiny_labels())), ("extractor", tiny_attention())):
        cache_.put(stage, "k", result)
        file = folder / f"{stage}.safetensors"
        file.write_bytes(data.draw(damaged(st.just(file.read_bytes()))))
        assert ends_well(folder, lambda stage=stage: cache_.find(stage)) is None  # type: ignore[misc]
    assert ends_well(folder, lambda: load_tensors(path)) is None
    _ = Concepts


@given(data=st.data())
@inputs("model_folders")
def test_model_folders(tiny_pipeline: Path, load_backbone: Any, folder: Path, data: Any) -> None:
    model = folder / "model"
    shutil.rmtree(model, ignore_errors=True)
    shutil.copytree(tiny_pipeline, model)
    files = sorted(str(path.relative_to(model)) for path in model.rglob("*") if path.is_file())
    path = model / data.draw(st.sampled_from(files))
    if path.suffix == ".json" and data.draw(st.booleans()):
        content = json.dumps(data.draw(altered(json.loads(path.read_text())))).encode("utf-8", "replace")
    else:
        content = data.draw(damaged(st.just(path.read_bytes())))
    path.write_bytes(content)
    ends_well(folder, lambda: load_backbone(model))


@pytest.fixture(scope="module")
def imported() -> None:
    """diffusers, whose import lets torch make a folder for its compiler's cache: before anybody watches."""
    import diffusers.utils  # noqa: F401


@pytest.mark.usefixtures("imported")
@given(data=damaged(st.sampled_from(good_tokens())))
@inputs("model_folders")
def test_model_files(load_backbone: Any, folder: Path, data: bytes) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(data)
    assert ends_well(folder, lambda: load_backbone(path))


PLUGIN_PARTS = (
    "import uce\n",
    "class A:\n    name = {0!r}\n    @uce.hookimpl\n    def uce_cluster(self, attention):\n        return {0!r}\n",
    "plugin = {0!r}\n",
    "class B:\n    @uce.hookimpl\n    def uce_clutser(self): pass\n",
    "raise {0!r}\n",
    "def f(: {0!r}\n",
    "class C(uce.Settings):\n    x: {0!r}\n",
    "class D:\n    Settings = refiners = {0!r}\n    @uce.hookimpl\n    def uce_cluster(self, nothing): pass\n",
    "@uce.hookimpl\ndef uce_step(event): pass\n",
    "import nothing_of_the_kind\n",
    "raise SystemExit({0!r})\n",
    "\0",
    "class E:\n    def __init__(self): raise KeyError({0!r})\n    @uce.hookimpl\n    def uce_step(self): pass\n",
)


@given(parts=st.lists(st.sampled_from(PLUGIN_PARTS), max_size=4), value=values, noise=st.binary(max_size=20))
@inputs("plugins")
def test_plugin_files(folder: Path, parts: list[str], value: Any, noise: bytes) -> None:
    """A plugin file that the user names is run; whatever it does wrong is one line."""
    from uce.core.config.resolving import resolve_config
    from uce.core.registry.manager import load_manager

    path = folder / "strange.py"
    text = "".join(part.format(value) if "{0!r}" in part else part for part in parts)
    path.write_bytes(text.encode("utf-8", "replace") + noise)

    def load() -> None:
        manager = load_manager([str(path)])
        for info in manager.plugins:
            _ = info.summary, info.settings_class, info.refiners
            if info.origin == str(path) and "clusterer" in info.stages:
                resolve_config(manager, plugins={"clusterer": info.name})

    ends_well(folder, load)
