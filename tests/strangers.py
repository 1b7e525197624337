"""Distributions that this repository does not contain, made on the spot: a .dist-info and a module in a folder on
`sys.path` are all that an installed distribution is to Python."""

from __future__ import annotations

import importlib
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Site:
    """A folder of installed distributions."""

    folder: Path
    modules: set[str] = field(default_factory=set)

    def install(self, distribution: str, version: str, entries: dict[str, str], **modules: str) -> None:
        """Install a distribution with entry points (name -> "module:object") and modules (name -> source)."""
        info = self._info(distribution)
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        lines = ["[uce]", *(f"{name} = {target}" for name, target in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for name, source in modules.items():
            (self.folder / f"{name}.py").write_text(source)
        (info / "RECORD").write_text("\n".join(f"{name}.py" for name in modules))
        self.refresh(modules)

    def uninstall(self, distribution: str) -> None:
        """What pip does: the files are gone, and a new process does not know them."""
        info = self._info(distribution)
        names = (info / "RECORD").read_text().split()
        for name in names:
            (self.folder / name).unlink()
        shutil.rmtree(info)
        self.refresh({name.removesuffix(".py") for name in names})

    def _info(self, distribution: str) -> Path:
        return self.folder / f"{distribution.replace('-', '_')}.dist-info"

    def refresh(self, modules: set[str] | dict[str, str]) -> None:
        """Forget imported modules and what the import system remembers of the folder."""
        self.modules |= set(modules)
        for name in self.modules:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()


CLUSTERER = '''
"""A clusterer."""
import torch
from pydantic import Field
import uce
from uce.core import Clusters


class Halves:
    """Left and right: for tests."""

    class Settings(uce.Settings):
        column: int = Field(0, ge=0, description="first column of the right half; 0 for the middle")

    @uce.hookimpl
    def uce_cluster(self, attention, settings):
        labels = torch.zeros(attention.grid, dtype=torch.int64)
        labels[:, settings.column or attention.grid[1] // 2 :] = 1
        return Clusters(labels)
'''

EXTRACTOR = '''
"""An extractor."""
import torch
import uce
from uce.core import AttentionMaps


class Rows:
    """Cells attend to their own row: for tests."""

    @uce.hookimpl
    def uce_extract_attention(self, backbone):
        side = backbone.latent_side
        row = torch.arange(side * side) // side
        same = (row[:, None] == row[None, :]).float()
        saliency = torch.linspace(0, 1, side)[:, None].expand(side, side)
        return AttentionMaps(affinity=same / same.sum(dim=1, keepdim=True), saliency=saliency)
'''

FINCH = '''
"""Replaces finch."""
import torch
import uce
from uce.core import Clusters


class Thirds:
    """Three stripes instead of finch: for tests."""

    @uce.hookimpl
    def uce_cluster(self, attention):
        height, width = attention.grid
        return Clusters((torch.arange(width) * 3 // width).expand(height, width))
'''

WRAPPER = '''
"""Wraps every refiner."""
import uce


class DropFirst:
    """Drops the first concept after every refiner: for tests."""

    @uce.hookimpl(wrapper=True)
    def uce_refine_masks(self):
        concepts = yield
        return concepts.select(range(1, len(concepts)))
'''

BROKEN = """
import a_module_that_nobody_has
"""

RAISING = '''
"""Raises while it works."""
import uce


class Raising:
    """Fails: for tests."""

    @uce.hookimpl
    def uce_cluster(self, attention):
        return [][3]


class RaisingWrapper:
    """Fails around every refiner: for tests."""

    @uce.hookimpl(wrapper=True)
    def uce_refine_masks(self):
        concepts = yield
        raise KeyError("a wrapper's own\\nmistake")
'''

BAD_REFINER = """
import uce


class Bad:
    name = "bad"

    @uce.hookimpl
    def uce_refine_masks(self):
        1 / 0
"""
