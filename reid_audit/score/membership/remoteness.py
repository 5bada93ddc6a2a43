"""Remoteness: how far an embedding lies from those of all images.

    score(x) = | h(x) - mean_j h(x_j) |

h(x) is what the network makes of image x before its head. A classifier drives the embeddings of its training images
apart until their classes part with a wide margin, and keeps on when they do (Papyan, Han and Donoho, Prevalence of
neural collapse, PNAS 2020); new images stay nearer to the middle. That this tells who was in the training is this
project's finding (docs/membership.md).
"""

from __future__ import annotations

import torch
from torch import Tensor


def remoteness(embeddings: Tensor) -> Tensor:
    """[N] distance of embeddings [N, D] from their mean."""
    distances: Tensor = torch.linalg.vector_norm(embeddings - embeddings.mean(0), dim=1)
    return distances
