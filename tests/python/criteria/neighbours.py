"""The neighbours of discrete states, written naively."""

import torch


def neighbours(x, n_states=0):
    """The batches that differ from x in one site: bits, (N, S), or one-hot, (N, S, n_states)."""
    for site in range(x.shape[1]):
        for move in range(1, n_states or 2):
            other = x.clone()
            if n_states:
                other[:, site] = torch.roll(x[:, site], move, 1)
            else:
                other[:, site] = 1 - x[:, site]
            yield other
