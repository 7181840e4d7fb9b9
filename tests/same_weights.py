"""Whether two networks are the same, weight by weight."""

import torch

from icss_core.networks import Segmenter


def same_weights(first: Segmenter, second: Segmenter) -> bool:
    """Whether two networks hold bit-identical tensors under the same names."""
    one, two = first.state_dict(), second.state_dict()
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
