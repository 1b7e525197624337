"""Every plugin of this package keeps uce's contract."""

import pytest
from uce_superpixels.clusterer import SuperpixelClusterer
from uce_superpixels.counts import ConceptCounts
from uce_superpixels.snap import SnapToSuperpixels

from uce.testing import check_plugin


@pytest.mark.parametrize("plugin", [SuperpixelClusterer, ConceptCounts, SnapToSuperpixels])
def test_contract(plugin):
    check_plugin(plugin)
