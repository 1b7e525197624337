"""Make the autoencoder: a constructed linear encoder (see `codec`) and a trained decoder.

    python -m recipes.mini.train_vae --objects FOLDER --work FOLDER --minutes 10

Pictures of 128 px become 16 x 16 latents of 16 channels. The decoder's loss: L1 + MSE + L1 of the
finite differences (edges), on latents with a little noise, since what the diffusion model hands
over is never exact. `--continue` goes on from vae/ in the work folder; the encoder, and with it
every latent made before, stays.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from recipes.mini.codec import Codec, construct_encoder, fit_codec, load_codec
from recipes.mini.muon import Muon, split_parameters
from uce.scenes.composing import compose
from uce.scenes.objects import list_objects, load_object
from uce.scenes.things import draw_things, make_loader

SIDE = 128
CROPS_SHARE = 0.65  # of the time on quarter-size crops: four times the updates; the rest on whole pictures
NOISE = 0.15  # largest noise on the latents, as a share of their deviation


def make_vae() -> AutoencoderKL:
    """The autoencoder with fresh weights."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=16,
        block_out_channels=(16, 32, 64, 96),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        sample_size=SIDE,
    )


def pictures(objects: Path, work: Path, count: int, seed: int) -> np.ndarray:
    """Compose `count` scenes, or read them where an earlier call left them: uint8 (count, H, W, 3)."""
    path = work / f"vae_pictures_{seed}_{count}.npy"
    if path.exists():
        return np.asarray(np.load(path, mmap_mode="r"))
    stems = list_objects(objects, "train")
    weights = np.full(len(stems), 1 / len(stems))
    loader = make_loader(lambda stem: load_object(objects, stem), stems)
    made = np.empty((count, SIDE, SIDE, 3), np.uint8)
    for index in range(count):
        rng = np.random.default_rng((seed, index, 99))
        things = draw_things(rng, stems, weights, int(rng.integers(1, 5)), varied=0.3)
        made[index] = compose(things, loader, seed, index, SIDE, portrait=index % 2 == 0).picture
    np.save(path, made)
    return made


def to_tensor(batch: np.ndarray) -> Tensor:
    """uint8 (B, H, W, 3) to float (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.array(batch)).permute(0, 3, 1, 2).float() / 127.5 - 1


def edges(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of neighbouring pixels, down and across."""
    return picture[..., 1:, :] - picture[..., :-1, :], picture[..., 1:] - picture[..., :-1]


def reconstruction_loss(got: Tensor, want: Tensor) -> Tensor:
    """L1 + MSE + L1 of the edges."""
    difference = got - want
    loss = difference.abs().mean() + 2 * difference.square().mean()
    for a, b in zip(edges(got), edges(want), strict=True):
        loss = loss + (a - b).abs().mean()
    return loss


def draw_batch(rng: np.random.Generator, data: np.ndarray, batch: int, side: int) -> np.ndarray:
    """A random batch of square crops of `side` pixels."""
    rows, columns = rng.integers(0, SIDE - side + 1, 2)
    chosen = np.sort(rng.integers(0, len(data), batch))
    return np.ascontiguousarray(data[chosen][:, rows : rows + side, columns : columns + side])


def rate(elapsed: float, total: float, peak: float) -> float:
    """Learning rate after `elapsed` of `total` seconds: short warm-up, then a cosine to a twentieth."""
    share = min(1.0, elapsed / total)
    return float(peak * min(1.0, share / 0.03 + 0.05) * (0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * share))))


def train(
    vae: AutoencoderKL, codec: Codec, data: np.ndarray, minutes: float, peak: float, batch: int, seed: int, folder: Path
) -> None:
    """Train the decoder in place for a number of minutes."""
    matrices, others = split_parameters(vae.decoder.named_parameters())
    optimizers = [Muon(matrices, lr=peak), torch.optim.AdamW(others, lr=peak / 2, betas=(0.9, 0.99), weight_decay=0)]
    rng = np.random.default_rng(seed)
    start, step, running = time.time(), 0, 0.0
    while (elapsed := time.time() - start) < minutes * 60:
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate(elapsed, minutes * 60, peak)
        crop = draw_batch(rng, data, batch, SIDE // 2 if elapsed < CROPS_SHARE * minutes * 60 else SIDE)
        latent, want = torch.from_numpy(codec.encode(crop)), to_tensor(crop)
        latent = latent + NOISE * float(rng.random()) * latent.std() * torch.randn_like(latent)
        with torch.autocast("cpu", torch.bfloat16):
            got = vae.decode(latent).sample.float()
        loss = reconstruction_loss(got, want)
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(vae.decoder.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        step += 1
        running += (float((got.detach() - want).square().mean()) - running) * max(0.02, 1 / step)
        if step % 50 == 0:
            print(
                f"{elapsed:6.0f}s step {step} loss {float(loss.detach()):.4f} psnr {10 * np.log10(4 / running):.2f}",
                flush=True,
            )
        if step % 1000 == 0:
            vae.save_pretrained(folder)


def prepare(options: argparse.Namespace) -> tuple[AutoencoderKL, Codec, np.ndarray]:
    """Pictures, codec and autoencoder: from the work folder where they are there already."""
    options.work.mkdir(parents=True, exist_ok=True)
    data = pictures(options.objects, options.work, options.pictures, options.seed)
    path = options.work / "codec.npz"
    if not path.exists():
        fit_codec(data[:1500]).save(path)
    codec = load_codec(path)
    if getattr(options, "continue"):
        return AutoencoderKL.from_pretrained(options.work / "vae"), codec, data
    vae = make_vae()
    construct_encoder(vae, codec)
    sample = data[:64]
    with torch.no_grad():
        off = vae.encode(to_tensor(sample)).latent_dist.mode().numpy() - codec.encode(sample)
    deviation = float(codec.encode(data[:512]).std())
    print(f"encoder is off by {np.abs(off).max():.2g}; deviation of the latents {deviation:.3f}", flush=True)
    vae.register_to_config(scaling_factor=1 / deviation)
    vae.save_pretrained(options.work / "vae")
    return vae, codec, data


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=Path, required=True, help="folder with the objects' .webp files")
    parser.add_argument("--work", type=Path, required=True, help="folder for caches and the result (vae/)")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--pictures", type=int, default=3000, help="number of composed pictures to train on")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rate", type=float, default=6e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--continue", action="store_true", help="go on from vae/ in the work folder")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    vae, codec, data = prepare(options)
    train(vae, codec, data, options.minutes, options.rate, options.batch, options.seed, options.work / "vae")
    vae.save_pretrained(options.work / "vae")


if __name__ == "__main__":
    main()
