"""Supervised contrastive loss over the split tokens of several concepts.

    L = mean_i  -1/|P(i)| sum_{p in P(i)} log( exp(z_i z_p / t) / sum_{a != i} exp(z_i z_a / t) )

with z the L2-normalised vectors, P(i) the other vectors of i's concept and t the temperature.

Source: Khosla et al., NeurIPS 2020, equation 2 (L_out).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def supervised_contrastive(vectors_ND: Tensor, labels_N: Tensor, temperature: float = 0.07) -> Tensor:
    """Draw vectors of one label together and push those of different labels apart.

    Args:
        vectors_ND: float (N, D), any length; normalised here.
        labels_N: int64 (N,).

    Returns:
        A scalar; 0 (with zero gradient) where no vector has a partner of its label.
    """
    z_ND = F.normalize(vectors_ND, dim=1)
    logits_NN = z_ND @ z_ND.T / temperature
    itself_NN = torch.eye(len(labels_N), dtype=torch.bool, device=vectors_ND.device)
    partner_NN = (labels_N[:, None] == labels_N[None, :]) & ~itself_NN
    log_prob_NN = logits_NN - logits_NN.masked_fill(itself_NN, float("-inf")).logsumexp(dim=1, keepdim=True)
    num_partners_N = partner_NN.sum(dim=1)
    # where, not a product: a lone vector's log-probability is infinite
    per_vector_N = -torch.where(partner_NN, log_prob_NN, 0.0).sum(dim=1) / num_partners_N.clamp_min(1)
    return per_vector_N.sum() / (num_partners_N > 0).sum().clamp_min(1)
