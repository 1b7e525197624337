"""A plugin file: a model of a few hundred numbers, and a clusterer that fails as it is told. Workers load it, too."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from pydantic import Field

import uce
from uce.core import AttentionMaps, Clusters
from uce.testing import tiny_attention, tiny_backbone, tiny_labels


class Toy:
    """Brings the model "toy" and its stages."""

    name = "toy"

    class Settings(uce.Settings):
        fault: str = Field("", description="'', 'raise', 'nothing' or 'die'")
        deaths: int = Field(1, description="how often 'die' kills the process")
        diary: str = Field("", description="a file that gets a line per call")
        pause: float = Field(0, description="seconds that a call takes")

    @uce.hookimpl
    def uce_load_backbone(self, model: str) -> Any:
        return tiny_backbone() if model == "toy" else None

    @uce.hookimpl
    def uce_extract_attention(self, image: Any) -> AttentionMaps:
        return tiny_attention(things=2, seed=int(image.original.mean()))

    @uce.hookimpl
    def uce_cluster(self, image: Any, settings: Settings) -> Clusters:
        seen = 0
        if settings.diary:
            with Path(settings.diary).open("a+") as file:
                file.seek(0)
                seen = file.read().split().count(image.digest)
                print(image.digest, file=file, flush=True)
        time.sleep(settings.pause)
        if settings.fault == "raise":
            raise ZeroDivisionError("a <b>mess</b>")
        if settings.fault == "die" and seen < settings.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        labels = tiny_labels(things=2)
        return Clusters(labels * 0 - 1 if settings.fault == "nothing" else labels - 1)


plugin = Toy()
