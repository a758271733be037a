"""Annealing paths with exact answers."""

import math

import torch

import torch_ebm


class Gaussians:
    """From N(0, s0^2 I) to N(0, s1^2 I) in d dimensions: E = |x|^2 / (2 s1^2), and s0 at beta = 0."""

    def __init__(self, d, s0, s1):
        self.d, self.s0, self.s1 = d, s0, s1

    def __call__(self, x):
        return x.square().sum(1) / (2 * self.s1**2)

    def base_energy(self, x):
        return x.square().sum(1) / (2 * self.s0**2)

    def precision(self, beta):
        return (1 - beta) / self.s0**2 + beta / self.s1**2

    def log_z(self, beta):
        return self.d / 2 * math.log(2 * math.pi / self.precision(beta))

    def exact(self, n, beta, generator):
        normal = torch.randn(n, self.d, dtype=torch.float64, generator=generator)
        return normal / math.sqrt(self.precision(beta))

    def perfect_sampler(self, energy, x, *, beta, generator):
        """Independent draws from the law at beta."""
        return self.exact(len(x), float(beta), generator)


class SalakhutdinovMurray:
    """The path of torch_ebm.rbm_ais, as any energy with a path of its own would define it."""

    def __init__(self, rbm, base_bias):
        self.rbm, self.base_bias = rbm, base_bias

    def at(self, beta):
        rbm = self.rbm
        bias = (1 - beta) * self.base_bias + beta * rbm.visible_bias
        return beta * rbm.weight, bias, beta * rbm.hidden_bias

    def __call__(self, v):
        return self.rbm(v)

    def tempered(self, v, beta):
        return torch.ops.torch_ebm.rbm_free_energy(v, *self.at(beta))

    def gibbs_sampler(self, energy, v, *, beta, generator):
        return torch_ebm.rbm_gibbs(v, *self.at(float(beta)), generator=generator)[0]

    def base(self):
        return torch.distributions.Independent(
            torch.distributions.Bernoulli(logits=self.base_bias), 1
        )
