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


class AveragedGaussians:
    """From N(m0, s0^2) to N(m1, s1^2) in one dimension, where moments or densities are averaged.

    Grosse, Maddison & Salakhutdinov (2013). At every beta E = (x - m)^2 / (2 s^2), so that
    log Z = log(2 pi s^2) / 2.
    """

    def __init__(self, mean_0, std_0, mean_1, std_1, *, average):
        self.ends = (mean_0, std_0, mean_1, std_1)
        self.average = average

    def law(self, beta):
        """Mean and variance."""
        m0, s0, m1, s1 = self.ends
        if self.average == "moments":
            mean = (1 - beta) * m0 + beta * m1
            square = (1 - beta) * (s0**2 + m0**2) + beta * (s1**2 + m1**2)
            return mean, square - mean**2
        precision = (1 - beta) / s0**2 + beta / s1**2
        return ((1 - beta) * m0 / s0**2 + beta * m1 / s1**2) / precision, 1 / precision

    def log_z(self, beta):
        return math.log(2 * math.pi * self.law(beta)[1]) / 2

    def bias(self, betas):
        """log Z ratio - E[log w] of exact draws: the sum of KL(p_k || p_{k + 1})."""
        total = 0.0
        for k in range(len(betas) - 1):
            (m, v), (n, w) = self.law(float(betas[k])), self.law(float(betas[k + 1]))
            total += (math.log(w / v) + (v + (m - n) ** 2) / w - 1) / 2
        return total

    def __call__(self, x):
        return self.tempered(x, torch.ones((), dtype=x.dtype))

    def tempered(self, x, beta):
        mean, variance = self.law(float(beta))
        return (x[:, 0] - mean).square() / (2 * variance)

    def exact(self, n, beta, generator):
        mean, variance = self.law(float(beta))
        normal = torch.randn(n, 1, dtype=torch.float64, generator=generator)
        return mean + math.sqrt(variance) * normal

    def perfect_sampler(self, energy, x, *, beta, generator):
        """Independent draws from the law at beta."""
        return self.exact(len(x), beta, generator)


class ScriptedPath(torch.nn.Module):
    """From N(0, 1) to N(0, 1/4), for a scripted model."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x.square().sum(1)

    @torch.jit.export
    def base_energy(self, x: torch.Tensor) -> torch.Tensor:
        return x.square().sum(1) / 2


class ScriptedSampler(torch.nn.Module):
    """MALA along it."""

    def __init__(self, n_steps: int) -> None:
        super().__init__()
        self.energy, self.n_steps = ScriptedPath(), n_steps

    def forward(self, x: torch.Tensor, beta: torch.Tensor, generator: torch.Generator | None):
        return torch.ops.torch_ebm.mala(
            self.energy, x, step_size=0.1, n_steps=self.n_steps, beta=beta, generator=generator
        )[0]
