"""Energies that the tests sample from: each is written once, as a module that can be scripted."""

import math

import torch
from torch import Tensor


class FullyVisible(torch.nn.Module):
    """E(x) = -x W x / 2 - b x; a generic energy, without a Gibbs sampler of its own."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight = torch.nn.Parameter(weight.clone())
        self.bias = torch.nn.Parameter(bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return -0.5 * (torch.matmul(x, self.weight) * x).sum(1) - torch.matmul(x, self.bias)


class Gaussian(torch.nn.Module):
    """E(x) = (x - mean) P (x - mean) / 2."""

    def __init__(self, mean, precision):
        super().__init__()
        self.mean = torch.nn.Parameter(mean.clone())
        self.precision = torch.nn.Parameter(precision.clone())

    def forward(self, x: Tensor) -> Tensor:
        d = x - self.mean
        return 0.5 * (torch.matmul(d, self.precision) * d).sum(1)


class Cliff:
    """E(x) = linear x, but where two units are on the first component of the score is `value`."""

    linear = torch.tensor([0.3, -0.5, 0.2]).double()

    def __init__(self, value):
        self.value = value

    def __call__(self, x):
        return torch.mv(x, self.linear.to(x.dtype))

    def value_and_score(self, x):
        score = -self.linear.to(x.dtype).repeat(len(x), 1)
        score[x.sum(1) > 1.5, 0] = self.value
        return self(x), score

    def law(self, states):
        """Of `states` with at most one unit on."""
        weights = torch.exp(-self(states)) * (states.sum(1) <= 1)
        return weights / weights.sum()


class CategoricalCliff(Cliff):
    """The same of one-hot sites: a unit that is on is one of state 1."""

    def __call__(self, x):
        return super().__call__(x[..., 1])

    def value_and_score(self, x):
        energy, score = Cliff(self.value).value_and_score(x[..., 1])
        return energy, torch.stack([torch.zeros_like(score), score], -1)


class Network(torch.nn.Module):
    """A small neural network with a quadratic term, so that it can be normalised."""

    def __init__(self, n_units, dtype=torch.float32):
        super().__init__()
        self.layer = torch.nn.Linear(n_units, 6, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * x.square().sum(1) + torch.tanh(self.layer(x)).sum(1)


class OwnGibbs(torch.nn.Module):
    """A Python energy with a Gibbs method: it records its calls and flips what is not clamped."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x):
        return x.sum(1)

    def gibbs(self, x, n_steps, beta, clamp, generator):
        self.calls.append((n_steps, beta, clamp, generator))
        return 1 - x if clamp is None else torch.where(clamp, x, 1 - x)


def standard_normal(x):
    return 0.5 * x.square().flatten(1).sum(1)


def ising_energy(couplings, field, beta):
    """-beta (sum over bonds s s + field sum s) with spins s = 2 x - 1; `couplings` symmetric."""

    def energy(x):
        s = 2 * x.flatten(1) - 1
        return -beta * (0.5 * ((s @ couplings) * s).sum(1) + field * s.sum(1))

    return energy


class GaussianMixture(torch.nn.Module):
    """Isotropic components: E(x) = -log sum_k w_k N(x; m_k, s_k^2 I)."""

    def __init__(self, weights, means, scales):
        super().__init__()
        self.register_buffer("log_weights", weights.log())
        self.means = torch.nn.Parameter(means.clone())
        self.scales = torch.nn.Parameter(scales.clone())

    def forward(self, x: Tensor) -> Tensor:
        squares = (x.unsqueeze(1) - self.means).square().sum(2) / self.scales.square()
        norms = self.means.size(1) * (self.scales.log() + 0.5 * math.log(2 * math.pi))
        return -torch.logsumexp(self.log_weights - norms - 0.5 * squares, 1)


class IndependentComponents(torch.nn.Module):
    """E(x) = sum_k log cosh (W x)_k."""

    def __init__(self, weight):
        super().__init__()
        self.weight = torch.nn.Parameter(weight.clone())

    def forward(self, x: Tensor) -> Tensor:
        u = torch.matmul(x, self.weight.t())
        return (u + torch.nn.functional.softplus(-2 * u) - math.log(2)).sum(1)


class GaussianBernoulliRBM(torch.nn.Module):
    """The free energy of an RBM of Gaussian visible and binary hidden units."""

    def __init__(self, weight, visible_bias, hidden_bias, scale):
        super().__init__()
        self.weight = torch.nn.Parameter(weight.clone())
        self.visible_bias = torch.nn.Parameter(visible_bias.clone())
        self.hidden_bias = torch.nn.Parameter(hidden_bias.clone())
        self.scale = torch.nn.Parameter(scale.clone())

    def forward(self, x: Tensor) -> Tensor:
        z = (x - self.visible_bias) / self.scale
        hidden = torch.matmul(x / self.scale, self.weight) + self.hidden_bias
        return 0.5 * z.square().sum(1) - torch.nn.functional.softplus(hidden).sum(1)
