"""What a notebook shows of runs and concepts."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

import uce
from uce.core.work.held import Run


@pytest.fixture(scope="module")
def run(tiny_pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    picture = Image.new("RGB", (90, 60), (190, 210, 230))
    ImageDraw.Draw(picture).rectangle((10, 10, 50, 50), fill=(30, 110, 60))
    short = {"clusterer.clusters": 2, "optimizer.steps": 1, "run.sample_steps": 1}
    folder = tmp_path_factory.mktemp("notebook") / "a & b"
    return uce.run(
        picture,
        folder,
        model=str(tiny_pipeline),
        clusterer="kmeans",
        foreground="none",
        refiner="none",
        set=short,
        names=["cup"],
    )


def test_a_run_shows_its_overlay_and_a_row_per_concept(run: Run) -> None:
    html = run._repr_html_()
    assert html is not None
    assert 'alt="The picture with 2 concepts outlined: &lt;cup&gt;, &lt;asset1&gt;"' in html
    assert html.count("data:image/jpeg;base64,") == 3, "the overlay and two samples"
    assert "a &amp; b" in html and "<code>&lt;cup&gt;</code>" in html and "http" not in html
    assert run._repr_png_() == (run.path / "overlay.png").read_bytes()
    assert repr(run) == f"Run({str(run.path)!r})"


def test_a_concept_shows_its_thing_alone(run: Run) -> None:
    concept = run.concepts[0]
    data = concept._repr_png_()
    assert data is not None
    shown = np.asarray(Image.open(io.BytesIO(data)))
    left, top, right, bottom = concept.bbox
    assert shown.shape[0] >= bottom - top and shown.shape[1] >= right - left
    assert (shown == 255).all(axis=-1).sum() >= shown.shape[0] * shown.shape[1] - concept.area - 1


def test_what_cannot_be_shown_falls_back_to_text(run: Run, tmp_path: Path) -> None:
    imported = uce.import_tokens(sorted((run.path / "tokens").iterdir()), tmp_path / "in", model="some/model")
    assert imported._repr_png_() is None and imported.concepts[0]._repr_png_() is None
    html = imported._repr_html_()
    assert html is not None and "<img" not in html and "&lt;cup&gt;" in html
    assert Run(type(run.folder)(tmp_path / "missing"))._repr_html_() is None


def test_ipython_takes_the_html(run: Run) -> None:
    formatters = pytest.importorskip("IPython.core.formatters")
    data, _ = formatters.DisplayFormatter().format(run)
    assert {"text/html", "image/png", "text/plain"} <= set(data)
