"""What people hold in their hands: a run that shows itself, and a model that is made when it is asked for."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from uce.core.runs.folder import RunFolder
from uce.core.runs.stored import StoredRun
from uce.core.work import models
from uce.core.work.held import Concept, Run
from uce.testing import tiny_run

TOY = str(Path(__file__).parents[2] / "toy_plugin.py")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(RunFolder(tiny_run(tmp_path / "run").path))


def test_concepts_are_those_of_the_folder_and_are_read_once(run: Run) -> None:
    plain = StoredRun(RunFolder(run.path)).concepts
    assert [one.token for one in run.concepts] == [one.token for one in plain] == ["<asset0>", "<asset1>"]
    assert all(type(one) is Concept for one in run.concepts) and run.concepts is run.concepts
    assert Concept.__doc__ and repr(run) == f"Run({str(run.path)!r})"


def test_a_concept_shows_the_thing_alone(run: Run) -> None:
    png = run.concepts[0]._repr_png_()
    assert png is not None
    with Image.open(BytesIO(png)) as picture:
        assert picture.format == "PNG" and picture.size[0] <= 48 and picture.size[1] <= 40


def test_a_run_shows_its_overlay_and_its_names(run: Run) -> None:
    html, png = run._repr_html_(), run._repr_png_()
    assert html is not None and "asset0" in html and "cup" in html and "asset1" in html
    assert png is not None and png.startswith(b"\x89PNG")


def asked(monkeypatch: pytest.MonkeyPatch, name: str) -> list[Any]:
    calls: list[Any] = []

    class Model:
        def pipeline(self, *arguments: Any, **named: Any) -> str:
            calls.append((arguments, named))
            return "pipeline"

    def found(*arguments: Any) -> Model:
        calls.append(arguments)
        return Model()

    monkeypatch.setattr(models, name, found)
    return calls


def test_a_pipeline_gets_the_tokens_and_a_model_of_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = asked(monkeypatch, "own_backbone")
    assert run.pipeline("cpu") == "pipeline"
    assert calls[0] == (run.path / "config.yaml", "cpu")
    (tokens,), named = calls[1]
    assert list(tokens) == ["<asset0>", "<asset1>"] and named == {}, "no word of weights where there are none"


@pytest.mark.parametrize("plugin", [TOY, [TOY]])
def test_a_backbone_takes_one_plugin_or_several(run: Run, monkeypatch: pytest.MonkeyPatch, plugin: Any) -> None:
    calls = asked(monkeypatch, "stored_backbone")
    run.backbone(plugin=plugin)
    run.backbone("cpu")
    assert calls == [(run.path / "config.yaml", None, (TOY,)), (run.path / "config.yaml", "cpu", ())]


def test_a_backbone_is_shared_with_later_calls(run: Run) -> None:
    text = (run.path / "config.yaml").read_text(encoding="utf-8")
    (run.path / "config.yaml").write_text(text.replace("name: mini", "name: toy"), encoding="utf-8")
    try:
        first = run.backbone("cpu", TOY)
        assert first.model == "tiny" and run.backbone("cpu", [TOY]) is first
    finally:
        models.forget_backbone()
