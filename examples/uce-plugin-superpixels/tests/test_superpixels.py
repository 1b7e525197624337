"""What superpixels find, and what the wrappers do."""

import numpy as np
import pytest
import torch
from uce_superpixels.clusterer import SuperpixelClusterer, merged
from uce_superpixels.counts import VARIABLE, ConceptCounts
from uce_superpixels.regions import superpixels
from uce_superpixels.snap import SnapToSuperpixels

import uce
from uce.core import Clusters, load_manager
from uce.testing import tiny_attention, tiny_concepts, tiny_labels, tiny_picture


def cluster(maps, image=None, **settings):
    return SuperpixelClusterer().uce_cluster(maps, image, SuperpixelClusterer.Settings(**settings))


def flat(grid=(16, 16)):
    """Maps that say nothing."""
    return tiny_attention(grid, things=0)


def test_superpixels_follow_the_picture():
    labels = superpixels(flat(), tiny_picture((64, 64)), 60, 5.0)
    height, width = labels.shape
    red, green = labels[height // 2, width // 4], labels[height // 2, 3 * width // 4]
    assert 10 < len(np.unique(labels)) <= 80 and labels.max() + 1 == len(np.unique(labels))
    assert red != green and red not in labels[:2] and green not in labels[:2]


def test_superpixels_of_bare_maps_follow_the_affinity():
    truth = tiny_labels((16, 16), things=2).numpy()
    labels = superpixels(tiny_attention((16, 16), things=2), None, 40, 5.0)
    purity = sum(np.bincount(truth[labels == region]).max() for region in np.unique(labels)) / truth.size
    assert purity > 0.95


def test_two_things_and_their_background():
    truth = tiny_labels((16, 16), things=2)
    found = cluster(tiny_attention((16, 16), things=2), count=256)
    assert found.num_clusters == 3 and found.merge_threshold == 2.0
    assert all(len(found.labels[truth == thing].unique()) == 1 for thing in range(3))


def test_settings():
    maps = tiny_attention((16, 16), things=2)
    assert cluster(maps, count=1).num_clusters == 1
    assert cluster(maps, threshold=1000).num_clusters == 1
    assert cluster(maps, threshold=0).num_clusters > 20


def test_only_regions_that_touch_are_merged():
    labels = np.array([[0, 1, 2]])
    same = np.array([[0.45, 0.1, 0.45], [0.1, 0.8, 0.1], [0.45, 0.1, 0.45]])
    assert merged(labels, same, 0.1).tolist() == [[0, 1, 2]]
    assert len(np.unique(merged(labels, same, 10.0))) == 1


def test_a_merged_region_has_the_mean_map_of_its_cells():
    maps = np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.3, 0.3, 0.4]])
    first_two = merged(np.array([[0, 1, 2]]), maps, 0.1)
    assert first_two.tolist() == [[0, 0, 2]]


def wrapped(generator, inner):
    """What a wrapper makes of the stage's own result."""
    next(generator)
    with pytest.raises(StopIteration) as ended:
        generator.send(inner)
    return ended.value.value


def test_the_counts_change_nothing_and_are_silent_unless_asked(monkeypatch, capsys):
    three = tiny_concepts(things=2)
    one = three.select([1])
    assert wrapped(ConceptCounts().uce_refine_masks(three), one) is one
    assert capsys.readouterr().err == ""
    monkeypatch.setenv(VARIABLE, "1")
    assert wrapped(ConceptCounts().uce_refine_masks(three), one) is one
    assert capsys.readouterr().err == "refiner: 3 concepts in, 1 out\n"


def test_snapping_moves_borders_to_those_of_the_picture():
    picture, maps = tiny_picture((64, 64)), flat()
    regions = torch.from_numpy(superpixels(maps, picture, 200, 5.0))
    shifted = (torch.arange(16) >= 7).long().expand(16, 16)  # two halves whose border runs through superpixels
    snapped = wrapped(SnapToSuperpixels().uce_cluster(maps, picture), Clusters(shifted, merge_threshold=0.5))
    assert snapped.merge_threshold == 0.5 and not torch.equal(snapped.labels, shifted)
    assert all(len(snapped.labels[regions == region].unique()) == 1 for region in regions.unique())
    assert float((snapped.labels == shifted).float().mean()) > 0.8


def test_snapping_never_unassigns_everything():
    lonely = torch.full((16, 16), -1)
    lonely[8, 8] = 0
    clusters = Clusters(lonely)
    assert wrapped(SnapToSuperpixels().uce_cluster(flat(), tiny_picture((64, 64))), clusters).num_clusters == 1


def test_the_clusterer_works_in_the_chain_that_uce_knows():
    plugin = "uce_superpixels.clusterer:SuperpixelClusterer"
    chosen = {} if "superpixels" in load_manager().available("clusterer") else {"plugin": [plugin]}
    found = uce.localize(tiny_attention((16, 16), things=2), clusterer="superpixels", refiner="saliency", **chosen)
    assert len(found) == 2
