"""run.json and concepts.json from anywhere: whatever is not as uce writes it is named before anybody relies on it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from uce.core.errors import RunFolderError
from uce.core.runs.documents import check_concepts, check_run

FIXTURE = Path(__file__).parents[2] / "fixtures" / "run-format-1"
PATH = Path("out") / "some.json"


def stored(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FIXTURE / name).read_text(encoding="utf-8"))
    return document


def test_what_uce_wrote_is_sound() -> None:
    check_run(stored("run.json"), PATH)
    check_concepts(stored("concepts.json"), PATH)


def test_unfinished_older_and_imported_runs_lack_some() -> None:
    check_run({}, PATH)
    check_run({"model": None, "input": None, "stages": None}, PATH)
    check_run({"input": {"width": 1}, "model": {"name": None}}, PATH)
    check_concepts({"concepts": [], "image": None}, PATH)


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"status": 3}, "status is 3"),
        ({"model": []}, "model is"),
        ({"versions": None}, "versions is"),
        ({"shrunk": {}}, "shrunk is"),
        ({"stages": [3]}, "stages is 3"),
        ({"stages": [{"stage": "optimizer"}]}, "stages is"),
        ({"stages": [{"stage": "optimizer", "seconds": True}]}, "stages is"),
        ({"input": {"width": 0}}, r"input\.width is 0"),
        ({"input": {"height": 2.0}}, r"input\.height is 2\.0"),
        ({"input": {"width": True}}, r"input\.width is"),
        ({"input": {"digest": 3}}, r"input\.digest is 3"),
        ({"model": {"fingerprint": 3}}, r"model\.fingerprint is 3"),
    ],
)
def test_a_field_of_another_type_is_named(changed: dict[str, Any], key: str) -> None:
    with pytest.raises(RunFolderError, match=rf"some\.json is damaged or not a run's: {key}.*--overwrite$"):
        check_run(stored("run.json") | changed, PATH)


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"index": True}, "index is"),
        ({"index": -1}, "index is -1"),
        ({"area": 2**53}, "area is"),
        ({"share": "1"}, "share is"),
        ({"score": None}, "score is"),
        ({"bbox": [0, 1, 2]}, "bbox is"),
        ({"bbox": [0, 1, 2, 3.0]}, "bbox is"),
        ({"words": "cup"}, "words is"),
        ({"label": 3}, "label is 3"),
        ({"token": "<../up>"}, "token is"),
        ({"token": None}, "token is"),
        ({"index": 1}, "index or token twice is"),
        ({"token": "<asset1>"}, "index or token twice is"),
    ],
)
def test_an_entry_that_is_not_whole_is_named(changed: dict[str, Any], key: str) -> None:
    document = stored("concepts.json")
    document["concepts"][0] |= changed
    before = copy.deepcopy(document)
    with pytest.raises(RunFolderError, match=rf"some\.json is damaged or not a run's: {key}"):
        check_concepts(document, PATH)
    assert document == before


@pytest.mark.parametrize("document", [[], {}, {"concepts": {}}, {"concepts": [3]}, {"concepts": [], "image": 3}])
def test_documents_of_another_shape(document: Any) -> None:
    with pytest.raises(RunFolderError, match=r"some\.json is damaged or not a run's: (concepts|image) is"):
        check_concepts(document, PATH)


def test_an_area_may_be_as_large_as_json_can_say() -> None:
    document = stored("concepts.json")
    document["concepts"][0] |= {"area": 2**53 - 1, "index": 7, "label": None, "words": []}
    check_concepts(document, PATH)
