"""Discrete models, and the transition matrices of their samplers written down naively:
T[a, b] = P(next is b | now a)."""

import itertools

import torch
from torch import Tensor

from energies import FullyVisible
from known_values import case, seeded


class Potts(torch.nn.Module):
    """E(x) = -sum h x - sum over pairs x J x / 2 of one-hot x (N, n, K); fields (n, K), couplings (n, n, K, K)."""

    def __init__(self, fields, couplings):
        super().__init__()
        n_units = fields.numel()
        self.fields = torch.nn.Parameter(fields.clone())
        self.couplings = torch.nn.Parameter(
            couplings.transpose(1, 2).reshape(n_units, n_units).clone()
        )

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        pairs = 0.5 * (torch.matmul(flat, self.couplings) * flat).sum(1)
        return -pairs - torch.matmul(flat, self.fields.flatten())


def fully_visible():
    known = case("kernels_fvbm_n6_s60")
    return FullyVisible(known.array("W"), known.array("b"))


def dca():
    known = case("potts_dca_n5_q4_s111")
    return Potts(known.array("h"), known.array("J"))


def small_potts():
    """Two sites of three states."""
    couplings = torch.zeros(2, 2, 3, 3, dtype=torch.float64)
    couplings[0, 1] = torch.randn(3, 3, generator=seeded(60), dtype=torch.float64)
    couplings[1, 0] = couplings[0, 1].T
    return Potts(torch.randn(2, 3, generator=seeded(61), dtype=torch.float64), couplings)


def curved_potts():
    """Two sites of three states, whose energy is no quadratic function: first-order changes are off."""
    potts = small_potts()
    weight = torch.randn(6, 4, generator=seeded(62), dtype=torch.float64)
    return lambda x: potts(x) - torch.nn.functional.softplus(2 * x.flatten(1) @ weight).sum(1)


def all_labels(n_sites, n_states):
    """All states as labels, (K^n, n); site i of state r is digit i of r."""
    digits = itertools.product(range(n_states), repeat=n_sites)
    return torch.tensor([row[::-1] for row in digits])


def one_hot(labels, n_states, dtype=torch.float64):
    return torch.nn.functional.one_hot(labels, n_states).to(dtype)


def label_numbers(labels, n_states):
    return (labels * n_states ** torch.arange(labels.shape[1])).sum(1)


def block_update(energies, labels, block):
    """Draws the sites of `block` from their conditional law."""
    rest = [site for site in range(labels.shape[1]) if site not in block]
    weights = torch.exp(-energies)
    agree = (labels[:, None, rest] == labels[None, :, rest]).all(2)
    kernel = agree * weights
    return kernel / kernel.sum(1, keepdim=True)


def sweep(energies, labels, blocks):
    kernel = torch.eye(len(labels), dtype=torch.float64)
    for block in blocks:
        kernel = kernel @ block_update(energies, labels, block)
    return kernel


def random_scan(energies, labels, blocks):
    return sum(block_update(energies, labels, block) for block in blocks) / len(blocks)


def scores(energy, x, beta=1.0):
    leaf = x.clone().requires_grad_()
    return -beta * torch.autograd.grad(energy(leaf).sum(), leaf)[0]


def metropolis_hastings(proposal, energies):
    """The kernel, and the acceptance probability of a step from every state."""
    law = torch.exp(-energies)
    ratio = (law[None, :] * proposal.T) / (law[:, None] * proposal)
    accepted = proposal * ratio.nan_to_num(0).clamp(max=1)
    kernel = accepted.clone()
    kernel.diagonal().add_(1 - accepted.sum(1))
    return kernel, accepted.sum(1)


def gwg_proposal(x, score, labels):
    """Gibbs with gradients: softmax(score . (x' - x) / 2) over the x' that differ from x in one site."""
    proposal = torch.zeros(len(x), len(x), dtype=torch.float64)
    for a, b in itertools.product(range(len(x)), repeat=2):
        if (labels[a] != labels[b]).sum() == 1:
            proposal[a, b] = torch.exp((score[a] * (x[b] - x[a])).sum() / 2)
    return proposal / proposal.sum(1, keepdim=True)


def langevin_proposal(x, score, labels, site_states, step_size):
    """Every site draws its new value from exp(score_i . (x'_i - x_i) / 2 - |x'_i - x_i|^2 / (2 step_size)).

    x and score: (R, n, width); site_states: (K, width), the values a site can take.
    """
    proposal = torch.ones(len(x), len(x), dtype=torch.float64)
    for site in range(x.shape[1]):
        change = site_states[None] - x[:, site, None]  # (R, K, width)
        exponent = (score[:, site, None] * change).sum(2) / 2
        exponent = exponent - change.square().sum(2) / (2 * step_size)
        proposal *= torch.softmax(exponent, 1)[:, labels[:, site]]
    return proposal


def numbers_of_one_hot(x):
    return label_numbers(x.argmax(2), x.shape[2])
