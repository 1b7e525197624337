"""What run.json and concepts.json must hold before anybody relies on them: a folder may come from anywhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uce.core.errors import ConfigError, RunFolderError
from uce.core.files.documents import is_number, shown
from uce.core.runs.token_names import token_stem

_TEXT, _MAYBE_TEXT, _MAYBE_OBJECT, _OBJECT, _LIST = (str,), (str, type(None)), (dict, type(None)), (dict,), (list,)
_RUN: Mapping[str, tuple[type, ...]] = {
    "status": _TEXT,
    "mode": _TEXT,
    "model": _MAYBE_OBJECT,
    "input": _MAYBE_OBJECT,
    "versions": _OBJECT,
    "stages": (list, type(None)),  # an imported run has none
    "shrunk": _LIST,
    "sources": _LIST,
    "warnings": _LIST,
    "pictures": _LIST,
}


def check_run(document: Mapping[str, Any], path: Path) -> None:
    """run.json: fields that are there are of their type (an unfinished or older run lacks some).

    Raises:
        RunFolderError: one is not.
    """
    for key, kinds in _RUN.items():
        if key in document and not isinstance(document[key], kinds):
            raise _damaged(path, key, document[key])
    for row in document.get("stages") or []:
        if not (isinstance(row, dict) and isinstance(row.get("stage"), str) and is_number(row.get("seconds"))):
            raise _damaged(path, "stages", row)
    for warning in document.get("warnings", []):
        if not isinstance(warning, str):
            raise _damaged(path, "warnings", warning)
    for row in document.get("pictures", []):
        if not (isinstance(row, dict) and isinstance(row.get("digest"), str) and _numbers(row.get("concepts"))):
            raise _damaged(path, "pictures", row)
    for key in ("width", "height"):
        size = (document.get("input") or {}).get(key, 1)
        if type(size) is not int or size < 1:
            raise _damaged(path, f"input.{key}", size)
    for key in ("name", "fingerprint"):
        if not isinstance((document.get("model") or {}).get(key), str | None):
            raise _damaged(path, f"model.{key}", document["model"][key])
    if not isinstance((document.get("input") or {}).get("digest"), str | None):
        raise _damaged(path, "input.digest", document["input"]["digest"])


def check_concepts(document: Any, path: Path) -> None:
    """concepts.json: every entry is whole, and its token is a name that can become a file's.

    Raises:
        RunFolderError: it is not.
    """
    if not isinstance(document, dict) or not isinstance(document.get("concepts"), list):
        raise _damaged(path, "concepts", document)
    if not isinstance(document.get("image", {}), _MAYBE_OBJECT):
        raise _damaged(path, "image", document["image"])
    for entry in document["concepts"]:
        if not isinstance(entry, dict):
            raise _damaged(path, "concepts", entry)
        for key in ("index", "area"):
            if type(entry.get(key)) is not int or not 0 <= entry[key] < 2**53:
                raise _damaged(path, key, entry.get(key))
        for key in ("share", "score"):
            if not is_number(entry.get(key)):
                raise _damaged(path, key, entry.get(key))
        box, words = entry.get("bbox"), entry.get("words", [])
        if not (isinstance(box, list) and len(box) == 4 and all(type(side) is int for side in box)):
            raise _damaged(path, "bbox", box)
        if not (isinstance(words, list) and all(isinstance(word, str) for word in words)):
            raise _damaged(path, "words", words)
        sure = entry.get("confidences", [])
        if not (isinstance(sure, list) and len(sure) in (0, len(words)) and all(map(is_number, sure))):
            raise _damaged(path, "confidences", sure)
        if not isinstance(entry.get("label"), str | None):
            raise _damaged(path, "label", entry["label"])
        try:
            token_stem(str(entry.get("token")))
        except ConfigError as error:
            raise _damaged(path, "token", entry.get("token")) from error
    indexes = [entry["index"] for entry in document["concepts"]]
    tokens = [entry["token"] for entry in document["concepts"]]
    if len(set(indexes)) != len(indexes) or len(set(tokens)) != len(tokens):
        raise _damaged(path, "index or token twice", indexes)


def _numbers(concepts: Any) -> bool:
    """Whether it is {token: number}."""
    return isinstance(concepts, dict) and all(type(number) is int for number in concepts.values())


def _damaged(path: Path, key: str, value: Any) -> RunFolderError:
    return RunFolderError(f"{path} is damaged or not a run's: {key} is {shown(value)}; run again with --overwrite")
