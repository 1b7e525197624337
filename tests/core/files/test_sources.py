"""One door for pictures: a path, a URL or a row of a data set, each with its own reader."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from uce.core.errors import UceError
from uce.core.files import sources
from uce.core.files.sources import read_source
from uce.testing import tiny_picture

PIXELS = tiny_picture().original


def test_a_path_is_read_as_it_lies(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "a b.png")
    assert np.array_equal(read_source(str(tmp_path / "a b.png")), PIXELS)


def test_a_url_is_fetched_and_named_in_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer, asked = BytesIO(), []
    Image.fromarray(PIXELS).save(buffer, "PNG")

    def fetched(url: str) -> bytes:
        asked.append(url)
        return buffer.getvalue() if url.endswith("a.png") else b"no picture"

    monkeypatch.setattr(sources, "read_url", fetched)
    assert np.array_equal(read_source("https://example.org/a.png"), PIXELS)
    with pytest.raises(UceError, match=r"https://example\.org/b"):
        read_source("https://example.org/b")
    assert asked == ["https://example.org/a.png", "https://example.org/b"]


def test_a_row_goes_to_the_data_sets_reader_though_it_looks_like_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "is_row", lambda source: source.endswith("#3"))
    monkeypatch.setattr(sources, "read_row", lambda source: PIXELS[:3])
    monkeypatch.setattr(sources, "read_url", lambda url: pytest.fail("a row is no page"))
    assert read_source("https://example.org/set#3").shape == (3, 48, 3)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UceError, match=r"gone\.png"):
        read_source(str(tmp_path / "gone.png"))
