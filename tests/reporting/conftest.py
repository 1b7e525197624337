"""One tiny run for all tests of its pages, and what a page says when a program reads it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

import uce
from uce.testing import tiny_picture

PLUGIN = '''
import uce
from uce.testing import tiny_attention, tiny_backbone, tiny_labels
from uce.core import Clusters

class Small:
    """Small."""

    name = "small"

    @uce.hookimpl
    def uce_load_backbone(self, model):
        return tiny_backbone() if model == "tiny" else None

    @uce.hookimpl
    def uce_extract_attention(self):
        return tiny_attention(things=2)

    @uce.hookimpl
    def uce_cluster(self):
        return Clusters(tiny_labels(things=2) - 1)

PLUGIN = Small()
'''
FAST = {"optimizer.steps": 4, "optimizer.merge_step": 2, "optimizer.alignment_iterations": 5, "run.sample_steps": 1,
        "run.threads": 1}  # fmt: skip
HOSTILE = "<script>alert('x')</script>"


class Page(HTMLParser):
    """Tags with their attributes, and all text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.text, self.open = "", [""]
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if self.open[-1] not in ("script", "style"):
            self.text += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="session")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("plugin") / "small.py"
    path.write_text(PLUGIN)
    return path


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("picture") / "a & b.png"
    Image.fromarray(tiny_picture((30, 40)).original).save(path)
    return path


@pytest.fixture(scope="session")
def made(plugin: Path, picture: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "out"
    stages = {"model": "tiny", "extractor": "small", "clusterer": "small", "refiner": "none"}
    uce.run(picture, out, plugin=[str(plugin)], set=FAST, **stages)
    document = json.loads((out / "concepts.json").read_text())
    document["concepts"][0]["label"] = HOSTILE
    (out / "concepts.json").write_text(json.dumps(document))
    return out


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may spoil."""
    return Path(shutil.copytree(made, tmp_path / "out"))


@pytest.fixture
def read() -> Callable[[Path], Page]:
    return lambda path: Page(path.read_text(encoding="utf-8"))
