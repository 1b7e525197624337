"""The linear half of the autoencoder: 8 x 8 patches onto their 16 principal components.

A small convolutional encoder learns slowly on a CPU, and everything else waits for it. Here the
encoder is *constructed*: an `AutoencoderKL` encoder whose weights make it compute, exactly, the
projection of each 8 x 8 patch onto principal components of training pictures. So latents need no
network while training (one matrix product), the encoder is perfect from the first second, and
only the decoder is learned.

How the encoder is linear although it holds GroupNorm and SiLU:
- residual branches end in zero weights; only shortcuts and downsampling convolutions carry signal;
- each channel group of the last norm holds +C and -C constants and every signal as a pair (x, -x),
  so its mean is 0 and its deviation C * sqrt(2 / channels) up to (x / C)^2;
- silu(x) - silu(-x) = x.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn

Floats = npt.NDArray[np.float32]
PATCH, CHANNELS, MIDDLE = 8, 16, 32
CONSTANT = 300.0


@dataclass(frozen=True)
class Codec:
    """z = (patch - mean) @ basis, for a patch of 8 x 8 x 3 in [-1, 1], ordered row, column, colour."""

    mean: Floats  # (192,)
    basis: Floats  # (192, 16), columns scaled so that loud components are quieter and quiet ones louder
    inverse: Floats  # (16, 192)

    def encode(self, pictures: npt.NDArray[np.uint8]) -> Floats:
        """uint8 (B, H, W, 3) to latents float (B, 16, H / 8, W / 8)."""
        latents = (patches(pictures) - self.mean) @ self.basis
        return np.ascontiguousarray(latents.transpose(0, 3, 1, 2))

    def save(self, path: Path) -> None:
        """Write to a .npz file."""
        np.savez(path, mean=self.mean, basis=self.basis, inverse=self.inverse)


def load_codec(path: Path) -> Codec:
    """Read what `Codec.save` wrote."""
    with np.load(path) as stored:
        return Codec(stored["mean"], stored["basis"], stored["inverse"])


def patches(pictures: npt.NDArray[np.uint8]) -> Floats:
    """uint8 (B, H, W, 3) to float (B, H / 8, W / 8, 192) in [-1, 1]."""
    count, height, width, _ = pictures.shape
    cut = pictures.reshape(count, height // PATCH, PATCH, width // PATCH, PATCH, 3).transpose(0, 1, 3, 2, 4, 5)
    return np.asarray(cut.reshape(count, height // PATCH, width // PATCH, -1), np.float32) / 127.5 - 1


def fit_codec(pictures: npt.NDArray[np.uint8], evenness: float = 0.5) -> Codec:
    """Principal components of a set of pictures; `evenness` 0 keeps their variances, 1 makes them equal."""
    flat = patches(pictures).reshape(-1, PATCH * PATCH * 3)
    mean = flat.mean(0)
    values, vectors = np.linalg.eigh(np.cov((flat - mean).T))
    values, vectors = values[::-1][:CHANNELS], vectors[:, ::-1][:, :CHANNELS]
    scale = (values / values.mean()) ** (-evenness / 2)
    kept = values.sum() / np.trace(np.cov((flat - mean).T))
    print(f"principal components keep {kept:.4f} of the variance; deviations {np.round(np.sqrt(values) * scale, 2)}")
    return Codec(mean.astype(np.float32), (vectors * scale).astype(np.float32), (vectors / scale).T.astype(np.float32))


def _silence(module: nn.Module) -> None:
    for parameter in module.parameters():
        nn.init.zeros_(parameter)


def _quarters(block: int) -> npt.NDArray[np.intp]:
    """For a patch of `block` x `block` x 3: rows of entries of its four quarters, in tap order (4, n)."""
    index = np.arange(block * block * 3).reshape(block, block, 3)
    half = block // 2
    return np.stack([index[r : r + half, c : c + half].reshape(-1) for r in (0, half) for c in (0, half)])


def _split_basis(basis: Floats) -> tuple[Floats, Floats]:
    """Factor basis (192, 16) as 4 x 4 quarters first: (48, 32) shared by the quarters, then (4, 32, 16)."""
    quarters = basis[_quarters(8)]  # (4, 48, 16)
    stacked = quarters.transpose(1, 0, 2).reshape(48, -1)
    left = np.linalg.svd(stacked, full_matrices=False)[0][:, :MIDDLE].astype(np.float32)
    return left, np.einsum("nm,qnk->qmk", left, quarters)


def _taps(weight: Tensor, matrices: Floats) -> None:
    """Set a 3 x 3 stride-2 convolution to matrices (4, in, out) on the 2 x 2 block of each cell."""
    with torch.no_grad():
        for place, matrix in enumerate(matrices):
            inputs, outputs = matrix.shape
            weight[:outputs, :inputs, place // 2, place % 2] = torch.from_numpy(np.ascontiguousarray(matrix.T))


def _identity(convolution: nn.Conv2d, channels: int) -> None:
    centre = convolution.kernel_size[0] // 2
    with torch.no_grad():
        for channel in range(channels):
            convolution.weight[channel, channel, centre, centre] = 1.0


@torch.no_grad()
def construct_encoder(vae: AutoencoderKL, codec: Codec) -> None:
    """Set the encoder's weights so that `vae.encode(x).latent_dist.mode()` is the codec's projection."""
    encoder = vae.encoder
    _silence(encoder)
    shared, last = _split_basis(codec.basis)
    quarter = _quarters(4)  # which of a 4 x 4 patch's 48 entries lie in which 2 x 2 quarter
    _identity(encoder.conv_in, 3)
    first = np.zeros((4, 3, 12), np.float32)
    for place in range(4):
        first[place, np.arange(3), place * 3 + np.arange(3)] = 1
    blocks = encoder.down_blocks
    _taps(blocks[0].downsamplers[0].conv.weight, first)
    _identity(blocks[1].resnets[0].conv_shortcut, 12)
    _taps(blocks[1].downsamplers[0].conv.weight, shared[quarter])
    _identity(blocks[2].resnets[0].conv_shortcut, MIDDLE)
    _taps(blocks[2].downsamplers[0].conv.weight, last)
    blocks[2].downsamplers[0].conv.bias[:CHANNELS] = -torch.from_numpy(codec.mean @ codec.basis)
    _pair_up(encoder.conv_norm_out, encoder.conv_out, blocks[3].resnets[0].conv_shortcut)


def _pair_up(norm: nn.GroupNorm, last: nn.Conv2d, shortcut: nn.Conv2d) -> None:
    """Lay the signals out in pairs beside constants, then undo norm and SiLU in the last convolution."""
    width = shortcut.out_channels
    groups = norm.num_groups
    assert shortcut.bias is not None and last.bias is not None
    size = width // groups
    gain = CONSTANT * (2 / size) ** 0.5
    norm.weight.fill_(1.0)
    signals = iter(range(CHANNELS))
    for group in range(groups):
        start = group * size
        shortcut.bias[start], shortcut.bias[start + 1] = CONSTANT, -CONSTANT
        for plus in range(start + 2, start + size, 2):
            signal = next(signals, None)
            if signal is None or plus + 1 >= start + size:
                break
            for channel, sign in ((plus, 1.0), (plus + 1, -1.0)):
                shortcut.weight[channel, signal, 0, 0] = sign
                norm.weight[channel] = gain
                last.weight[signal, channel, 1, 1] = sign
    last.bias[CHANNELS:] = -20.0  # log-variance: none
