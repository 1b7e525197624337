"""Executor local: in this process, so that observers hear every stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import uce
from uce.plugins.executors.local import LocalExecutor
from uce.testing import check_plugin


def test_contract() -> None:
    assert check_plugin(LocalExecutor).stages == ("executor",)


def test_observers_hear_every_run_and_the_model_is_loaded_once(
    pictures: Path, base: dict[str, Any], tmp_path: Path
) -> None:
    heard: list[str] = []
    models: set[int] = set()

    class Listener:
        @uce.hookimpl
        def uce_run_started(self, event: Any) -> None:
            heard.append(event.folder.name)
            models.add(id(event.backbone))

        @uce.hookimpl
        def uce_picture_finished(self, event: Any) -> None:
            heard.append(f"{event.number}/{event.total} {event.picture} {event.status}")

    uce.batch(pictures, tmp_path / "out", localize_only=True, observers=[Listener()], **base)
    assert heard[:4] == ["scene-0", "1/4 scene-0 localized", "scene-1", "2/4 scene-1 localized"]
    assert len(heard) == 8 and len(models) == 1
