"""A bridge of one's own is a function: captions, the text encoder's embeddings and τ to a residual.

pscli train-e2e --bridge own_bridge:both
"""

from torch import Tensor

from pscli.components.bridge import Captions, dvtm, vtm


def both(captions: Captions, embeddings: Tensor, tau: float) -> Tensor:
    """The paper's matrix (Eq. 10) knows the words of the caption, the static one (Eq. 8) all words
    that both vocabularies have: zero in value, the sum of their gradients."""
    return dvtm(captions, embeddings, tau) + vtm(captions, embeddings, tau)
