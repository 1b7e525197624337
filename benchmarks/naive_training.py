"""A plain rendition of the training in the paper's code, with what is wasteful about it, to measure ours against.

Every update encodes the picture twice, runs the UNet on two copies of which one is thrown away, computes and keeps
every attention map of every layer in float32 and averages all of them (over one step) for each copy to read a few,
for the loss and again for a picture that it writes to disk, runs all iterations of Sinkhorn in the log domain on a
cost that it makes anew, clips over all parameters of the model, and keeps Adam moments of the whole embedding table,
whose words it puts back afterwards.
"""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from PIL import Image
from torch import Tensor

from uce.core import Concepts, TokenPlan
from uce.core.flow.picture import Picture
from uce.core.training.contrastive import supervised_contrastive
from uce.core.training.objective import Draws
from uce.core.training.options import TrainingOptions
from uce.core.training.schedule import Update

K, S = 3, 5
SIDE = 16


class KeepingProcessor:
    """Attention written out, which keeps all its probabilities."""

    def __init__(self, kept: list[tuple[bool, Tensor]]) -> None:
        self.kept = kept

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, attention_mask: Any = None
    ) -> Tensor:
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            attn.head_to_batch_dim(x) for x in (attn.to_q(hidden_states), attn.to_k(text), attn.to_v(text))
        )
        probs = attn.get_attention_scores(query, key).float()
        self.kept.append((encoder_hidden_states is not None, probs))
        output = attn.batch_to_head_dim(torch.bmm(probs.to(value.dtype), value))
        return attn.to_out[1](attn.to_out[0](output))  # type: ignore[no-any-return]


class PlainSinkhorn(torch.autograd.Function):
    """All iterations in the log domain; the gradient is the potential."""

    @staticmethod
    def forward(ctx: Any, nu_N: Tensor, mu_N: Tensor, reg: float, iterations: int) -> Tensor:
        y, x = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
        points = torch.stack([y.flatten(), x.flatten()], dim=1).double()
        kernel = -torch.cdist(points, points) / reg
        log_mu, log_nu = mu_N.double().log(), nu_N.double().log()
        u = torch.zeros_like(log_mu)
        for _ in range(iterations):
            v = log_nu - torch.logsumexp(kernel + u[:, None], dim=0)
            u = log_mu - torch.logsumexp(kernel + v[None, :], dim=1)
        ctx.save_for_backward((reg * v).to(nu_N.dtype))
        return ((kernel + u[:, None] + v[None, :]).exp() * -kernel * reg).sum().to(nu_N.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (potential_N,) = ctx.saved_tensors
        return grads[0] * potential_N, None, None, None


class NaiveTraining:
    """The wasteful schedule. `step` does one update with given draws."""

    def __init__(self, backbone: Any, picture: Picture, concepts: Concepts, plan: TokenPlan) -> None:
        self.backbone, self.picture, self.concepts, self.plan = backbone, picture, concepts, plan
        self.options = TrainingOptions()
        self.text_encoder = copy.deepcopy(backbone.text_encoder)
        table = self.text_encoder.get_input_embeddings()
        self.words = table.weight.detach().clone()
        rows_VD = plan.starts["clip"].transpose(0, 1).flatten(0, 1)
        self.num_rows = len(rows_VD)
        whole = torch.nn.Embedding(len(self.words) + self.num_rows, self.words.shape[1])
        whole.weight.data = torch.cat([self.words, rows_VD])
        self.text_encoder.set_input_embeddings(whole)
        self.table = whole.weight
        self.adam = torch.optim.AdamW([self.table], lr=5e-4, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)
        self.merged = False
        self.folder = Path(tempfile.mkdtemp())

    @property
    def vectors(self) -> Tensor:
        """The concept tokens' rows."""
        return self.table[len(self.words) :][: K if self.merged else self.num_rows]

    def step(self, update: Update, draws: Draws) -> None:
        """One optimiser update."""
        if update.phase == "merged" and not self.merged:
            with torch.no_grad():
                self.table[len(self.words) :][:K] = self.vectors.reshape(-1, K, self.vectors.shape[1]).mean(dim=0)
            self.merged = True
        loss = self._loss(update.prompts[0], draws)
        loss.backward()  # type: ignore[no-untyped-call]
        models = (self.text_encoder, self.backbone.unet, self.backbone.vae)
        torch.nn.utils.clip_grad_norm_([weight for model in models for weight in model.parameters()], 1.0)
        self.adam.step()
        self.adam.zero_grad()
        with torch.no_grad():
            self.table[: len(self.words)] = self.words

    def _loss(self, rows: tuple[int, ...], draws: Draws) -> Tensor:
        backbone, flip = self.backbone, bool(draws.flips[0])
        names = {f"<asset{row}>": row for row in rows}
        prompt = backbone.tokenize("a photo of " + " and ".join(names), names)
        slots = prompt.slots["clip"]
        ids = torch.where(slots >= 0, slots + len(self.words), prompt.ids["clip"])
        pixels = self.picture.pixels.flip(-1) if flip else self.picture.pixels
        latents = backbone.encode_image(torch.stack([pixels, pixels]))
        timesteps, noise = draws.timesteps.repeat(2), draws.noise.repeat(2, 1, 1, 1)
        noisy = backbone.add_noise(latents, noise, timesteps)
        kept: list[tuple[bool, Tensor]] = []
        own = backbone.unet.attn_processors
        backbone.unet.set_attn_processor(KeepingProcessor(kept))
        states = self.text_encoder(input_ids=torch.stack([ids, ids])).last_hidden_state
        prediction = backbone.unet(noisy, timesteps, encoder_hidden_states=states, return_dict=False)[0]
        backbone.unet.set_attn_processor(own)
        masks, maps = self.concepts.masks.float(), self.concepts.maps.reshape(K, *self.concepts.grid)
        masks, maps = (masks.flip(-1), maps.flip(-1)) if flip else (masks, maps)
        union = masks[[row % K for row in rows]].amax(dim=0)
        target = backbone.target(latents, noise, timesteps)
        loss = F.mse_loss(prediction.chunk(2)[1] * union, target.chunk(2)[1] * union)
        attention = read_attention(kept)
        self._write_picture([(cross, probs.detach()) for cross, probs in kept])
        for row, position in zip(rows, (slots >= 0).nonzero()[:, 0].tolist(), strict=True):
            wanted = F.interpolate(maps[None, None, row % K], size=(SIDE, SIDE), mode="nearest").flatten()
            found = attention[:, position]
            term = PlainSinkhorn.apply(found / found.sum(), wanted / wanted.sum(), 1e-3, 200)  # type: ignore[no-untyped-call]
            loss = loss + self.options.attention_weight * term
        if not self.merged:
            contrast = supervised_contrastive(self.vectors, torch.arange(K).repeat(self.num_rows // K))
            loss = loss + self.options.contrastive_weight * contrast
        return loss

    def _write_picture(self, kept: list[tuple[bool, Tensor]]) -> None:
        """Where each of the first words looks, side by side."""
        maps = read_attention(kept).reshape(SIDE, SIDE, -1)[..., :8].permute(2, 0, 1)
        grey = (maps / maps.amax(dim=(1, 2), keepdim=True) * 255).byte().numpy()
        strip = [Image.fromarray(one).resize((256, 256)) for one in grey]
        whole = Image.new("L", (256 * len(strip), 256))
        for index, one in enumerate(strip):
            whole.paste(one, (256 * index, 0))
        whole.save(self.folder / "attention.png")


def read_attention(kept: list[tuple[bool, Tensor]]) -> Tensor:
    """Mean cross-attention of the 16 x 16 layers outside the mid block, both copies: (256, 77)."""
    num_steps, copies = 1, []
    for copy_number in range(2):
        averages = [(cross, probs / num_steps) for cross, probs in kept]
        read = [probs.chunk(2)[copy_number] for cross, probs in averages if cross and probs.shape[1] == SIDE**2]
        copies.append(torch.cat(read).mean(dim=0))
    return (copies[0] + copies[1]) / 2
