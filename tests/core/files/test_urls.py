"""Files by URL: read, listed, refused in a sentence. `memory://` needs no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from uce.core.errors import ConfigError, ImageError
from uce.core.files import urls
from uce.core.files.urls import find_urls, is_url, read_url


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    files = fsspec.filesystem("memory")
    for name in ("/pictures/b.png", "/pictures/a.png", "/pictures/deep/c.jpg"):
        files.pipe(name, name.encode())
    yield files
    files.rm("/pictures", recursive=True)


@pytest.mark.parametrize(("text", "answer"), [("memory://a", True), ("s3://b/c", True), ("C:\\a", False),
                                              ("a/b.png", False), ("c://x", False), ("a b://c", False)])  # fmt: skip
def test_what_is_a_url(text: str, answer: bool) -> None:
    assert is_url(text) is answer


def test_files_are_read_and_found_in_order(memory: fsspec.AbstractFileSystem, tmp_path: Path) -> None:
    assert read_url("memory://pictures/a.png") == b"/pictures/a.png"
    found = [url.rpartition("pictures/")[2] for url in find_urls("memory://pictures")]
    assert found == ["a.png", "b.png", "deep/c.jpg"]
    assert [url.rpartition("/")[2] for url in find_urls("memory://pictures/*.png")] == ["a.png", "b.png"]
    assert len(find_urls("memory://pictures/b.png")) == 1
    (tmp_path / "x.png").write_bytes(b"x")
    assert read_url(f"file://{tmp_path}/x.png") == b"x"


def test_faults_are_sentences(memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImageError, match=r"cannot read memory://missing\.png: FileNotFoundError"):
        read_url("memory://missing.png")
    with pytest.raises(ConfigError, match=r"there is nothing at memory://pictures/\*\.gif; check the address"):
        find_urls("memory://pictures/*.gif")
    with pytest.raises(ConfigError, match="cannot read nosuch:// addresses here"):
        read_url("nosuch://a")
    monkeypatch.setattr(urls, "MAX_BYTES", 3)
    with pytest.raises(ImageError, match=r"a\.png has more than"):
        read_url("memory://pictures/a.png")
