"""Noise that the tests compare data with: laws whose sample takes a generator."""

import math

import torch


class UniformBits:
    """Fair coins, in the shape of `unit_shape`."""

    def __init__(self, *unit_shape):
        self.unit_shape = unit_shape

    def sample(self, sample_shape, generator=None):
        u = torch.rand(*sample_shape, *self.unit_shape, dtype=torch.float64, generator=generator)
        return (u < 0.5).double()

    def log_prob(self, u):
        log_2 = math.log(2) * math.prod(self.unit_shape)
        return torch.full((len(u),), -log_2, dtype=torch.float64)


class Normal:
    """Normal numbers with mean 0 and standard deviation `scale`, in the shape of `unit_shape`."""

    def __init__(self, scale, *unit_shape):
        self.law = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), scale)
        self.unit_shape = unit_shape

    def sample(self, sample_shape, generator=None):
        z = torch.randn(*sample_shape, *self.unit_shape, dtype=torch.float64, generator=generator)
        return self.law.scale * z

    def log_prob(self, u):
        return self.law.log_prob(u).flatten(1).sum(1)
