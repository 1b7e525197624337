"""Coverage-guided fuzzing of readers whose parsers are ours: run.json, concepts.json, embeddings, configuration files.

    python tests/fuzz/atheris_readers.py embeddings -runs=20000 [-seed=1] [CORPUS]
    python tests/fuzz/atheris_readers.py run.json -runs=20000

Atheris instruments uce, PyYAML and json alone, so that a byte which opens a new branch there is kept, and changed more.
Torch, safetensors and Pillow are compiled and stay dark. Each input is held to the same as in the other tests of this
folder: a result or one `UceError`, in 10 s, nothing written elsewhere, nothing run. libFuzzer stops at the first other
end, with exit code 77, and leaves the input in `crash-...`. It needs `pip install atheris`.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports(include=["uce", "yaml", "json"], enable_loader_override=False):
    import json

    import yaml

    from fuzz.guard import ends_well
    from uce.core.config.resolving import load_config_file, resolve_config
    from uce.core.files import documents, token_files
    from uce.core.model import words as naming
    from uce.core.registry.manager import load_manager
    from uce.core.runs import documents as run_documents
    from uce.core.runs.folder import RunFolder

_ = documents, naming, run_documents, yaml


def embeddings(folder: Path) -> tuple[Callable[[bytes], Any], list[bytes]]:
    """The reader of embedding files; the other tests' good files and bombs are where it begins."""
    from fuzz.test_fuzz_folders import OWNED, good_tokens

    def read(data: bytes) -> None:
        path = folder / "token.pt"
        path.write_bytes(data)
        ends_well(folder, lambda: token_files.read_token_file(path))
        assert not Path(OWNED).exists(), "code of an embedding was run"

    return read, [data for data in good_tokens() if len(data) < 20_000]


def _run_folder_file(folder: Path, name: str, good: dict[str, Any]) -> tuple[Callable[[bytes], Any], list[bytes]]:
    run = RunFolder(folder)
    files = {"run.json": run.read_run, "concepts.json": lambda: run.read_concepts()}

    def read(data: bytes) -> None:
        (folder / name).write_bytes(data)
        ends_well(folder, files[name])

    return read, [json.dumps(good).encode()]


def run_json(folder: Path) -> tuple[Callable[[bytes], Any], list[bytes]]:
    """The reader of run.json."""
    good = {"format": 1, "status": "done", "mode": "run", "model": {"name": "mini", "fingerprint": "f"}, "seed": 0,
            "input": {"name": "x.png", "digest": "d", "width": 4, "height": 3}, "versions": {"uce": "1"}, "shrunk": [],
            "stages": [{"stage": "extractor", "seconds": 0.5}], "plugins": [], "sources": []}  # fmt: skip
    return _run_folder_file(folder, "run.json", good)


def concepts_json(folder: Path) -> tuple[Callable[[bytes], Any], list[bytes]]:
    """The reader of concepts.json."""
    concept = {"index": 0, "token": "<asset0>", "mask": "masks/0.png", "area": 3, "score": 1.5, "bbox": [0, 0, 2, 2],
               "label": None}  # fmt: skip
    good = {"image": {"width": 4, "height": 3}, "concepts": [concept, {**concept, "index": 1, "token": "<asset1>"}]}
    return _run_folder_file(folder, "concepts.json", good)


def config_yaml(folder: Path) -> tuple[Callable[[bytes], Any], list[bytes]]:
    """The reader of configuration files, as far as the resolved configuration."""
    manager, path = load_manager(), folder / "config.yaml"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        ends_well(folder, lambda: resolve_config(manager, document=load_config_file(path)))

    return read, [resolve_config(manager).to_yaml().encode(), b"run: {seed: 3, names: [a]}\nrefiner: [merge]\n"]


READERS = {"embeddings": embeddings, "run.json": run_json, "concepts.json": concepts_json, "config.yaml": config_yaml}


def main() -> None:
    """Name of a reader first, then libFuzzer's own flags and folders."""
    if len(sys.argv) < 2 or sys.argv[1] not in READERS:
        raise SystemExit(f"{__doc__}\nreaders: {', '.join(READERS)}")
    with tempfile.TemporaryDirectory() as place:
        folder, seeds = Path(place) / "work", Path(place) / "seeds"
        folder.mkdir()
        seeds.mkdir()
        read, begin = READERS[sys.argv[1]](folder)
        for number, data in enumerate(begin):
            (seeds / str(number)).write_bytes(data)
        os.chdir(folder)
        atheris.Setup([sys.argv[0], *sys.argv[2:], str(seeds)], read)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
