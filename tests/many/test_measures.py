"""Numbers from a run folder's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from uce.many.measures import columns_of, counts_of, final_losses, mean_of, seconds_per_stage


def test_final_losses_are_means_over_the_last_tenth(tmp_path: Path) -> None:
    path = tmp_path / "history.csv"
    rows = "\n".join(f"{n},merged,{n},{n},{'' if n > 18 else 7}" for n in range(1, 21))
    path.write_text("update,phase,step,total,rare\n" + rows + "\n")
    assert final_losses(path) == {"loss.total": 19.5}
    path.write_text("update,phase,total\n1,split,4\n2,merged,2\n")
    assert final_losses(path) == {"loss.total": 2.0}
    path.write_text("update,phase\n")
    assert final_losses(path) == {}


def test_seconds_of_refiners_are_added() -> None:
    stages = [{"stage": "extractor", "seconds": 2.0}] + [
        {"stage": f"refiner-{name}", "seconds": 0.25} for name in ("saliency", "merge")
    ]
    assert seconds_per_stage(stages) == {"seconds.extractor": 2.0, "seconds.refiner": 0.5, "seconds.total": 2.5}
    assert seconds_per_stage([]) == {}


def test_means_are_over_the_pictures_that_have_a_number() -> None:
    assert mean_of([{"iou": 0.5, "concepts": 2}, {"concepts": 4}, {}]) == {"iou": 0.5, "concepts": 3.0}


def test_columns_stand_in_one_order() -> None:
    rows = [{"seconds.total": 1, "loss.b": 1}, {"loss.a": 1, "iou": 1, "concepts": 1, "seconds.extractor": 1}]
    assert columns_of(rows) == ["concepts", "iou", "loss.a", "loss.b", "seconds.extractor", "seconds.total"]


@pytest.mark.parametrize("reused", [True, False])
def test_counts_tell_what_was_computed(reused: bool) -> None:
    rows = [{"stage": "extractor"}, {"stage": "extractor", "reused": reused}, {"stage": "samples"}]
    assert counts_of(rows) == {"extractor": {"computed": 2 - reused, "reused": int(reused)}}
