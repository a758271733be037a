"""Models whose truth is known: their data, an exact log Z, and the error of a fitted model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent, MultivariateNormal

import torch_ebm

torch.set_default_dtype(torch.float64)


class GaussianModel(torch.nn.Module):
    """E(x) = x P x / 2 with P = L L', by its lower triangle L: P stays positive definite."""

    def __init__(self, factor: Tensor) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(factor.tril())

    def precision(self) -> Tensor:
        return self.factor.tril() @ self.factor.tril().T

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * (x @ self.factor.tril()).square().sum(1)

    def log_z(self) -> Tensor:
        log_det = self.factor.diagonal().abs().log().sum()
        return 0.5 * len(self.factor) * math.log(2 * math.pi) - log_det


class BoltzmannModel(torch.nn.Module):
    """E(x) = -sum of the weights of the pairs of units that are on - b x."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(weight.clone())
        self.bias = torch.nn.Parameter(bias.clone())
        self.register_buffer("states", torch_ebm.testing.enumerate_states([len(bias)]))
        self.register_buffer("pairs", torch.combinations(torch.arange(len(bias))))

    def forward(self, x: Tensor) -> Tensor:
        both = x[:, self.pairs[:, 0]] * x[:, self.pairs[:, 1]]
        return -both @ self.weight - x @ self.bias

    def log_z(self) -> Tensor:
        return torch.logsumexp(-self(self.states), 0)


class IcaModel(torch.nn.Module):
    """E(x) = sum_i log cosh(pi / 2 w_i x).

    The sources are like Laplace's, but smooth at 0; their variance is 1.
    """

    def __init__(self, unmixing: Tensor) -> None:
        super().__init__()
        self.unmixing = torch.nn.Parameter(unmixing.clone())

    def forward(self, x: Tensor) -> Tensor:
        u = (0.5 * math.pi * x @ self.unmixing.T).abs()
        return (u + torch.log1p(torch.exp(-2 * u)) - math.log(2)).sum(1)

    def log_z(self) -> Tensor:
        return len(self.unmixing) * math.log(2) - torch.linalg.slogdet(self.unmixing)[1]


@dataclass(frozen=True)
class Problem:
    """A distribution to learn: `start` makes a model to fit to `sample(n)`; `error` rates it."""

    binary: bool
    what: str
    start: Callable[[], torch.nn.Module]
    sample: Callable[[int], Tensor]
    error: Callable[[torch.nn.Module], Tensor]

    def noise(self, x: Tensor) -> torch.distributions.Distribution:
        """Fitted to the data: independent units, or a Gaussian."""
        if self.binary:
            return Independent(Bernoulli(x.mean(0).clamp(0.02, 0.98)), 1)
        return MultivariateNormal(x.mean(0), x.T.cov())


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().sum()


def gaussian(d: int = 4) -> Problem:
    truth = (
        torch.eye(d) + 0.4 * torch.randn(d, d, generator=torch.Generator().manual_seed(1)).tril()
    )
    precision = truth @ truth.T
    law = MultivariateNormal(torch.zeros(d), precision_matrix=precision)
    return Problem(
        binary=False,
        what="squared error of the precision matrix",
        start=lambda: GaussianModel(torch.eye(d)),
        sample=lambda n: law.sample((n,)),
        error=lambda model: squared_distance(model.precision(), precision),
    )


def drawn_from(model: torch.nn.Module, n_units: int) -> Callable[[int], Tensor]:
    """A sampler of exact samples, by enumeration."""
    states = torch_ebm.testing.enumerate_states([n_units])
    with torch.no_grad():
        p = torch.softmax(-model(states), 0)
    return lambda n: states[torch.multinomial(p, n, replacement=True)]


def boltzmann_machine(n_units: int = 5) -> Problem:
    generator = torch.Generator().manual_seed(2)
    n_pairs = n_units * (n_units - 1) // 2
    weight = 0.7 * torch.randn(n_pairs, generator=generator)
    bias = 0.3 * torch.randn(n_units, generator=generator)
    return Problem(
        binary=True,
        what="squared error of weights and biases",
        start=lambda: BoltzmannModel(torch.zeros(n_pairs), torch.zeros(n_units)),
        sample=drawn_from(BoltzmannModel(weight, bias), n_units),
        error=lambda m: squared_distance(m.weight, weight) + squared_distance(m.bias, bias),
    )


def rbm(n_visible: int = 5, n_hidden: int = 3) -> Problem:
    """Hidden units may be permuted, so the error compares distributions. Starts at the truth."""
    truth = torch_ebm.RBM(n_visible, n_hidden)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        truth.weight.normal_(0, 1.5, generator=generator)
        truth.visible_bias.normal_(0, 0.3, generator=generator)
        truth.hidden_bias.normal_(0, 0.3, generator=generator)
    states = torch_ebm.testing.enumerate_states([n_visible])
    log_p = torch.log_softmax(-truth(states), 0).detach()

    def start() -> torch.nn.Module:
        model = torch_ebm.RBM(n_visible, n_hidden)
        model.load_state_dict(truth.state_dict())
        return model

    return Problem(
        binary=True,
        what="KL divergence from the truth",
        start=start,
        sample=drawn_from(truth, n_visible),
        error=lambda m: (log_p.exp() * (log_p - torch.log_softmax(-m(states), 0))).sum(),
    )


def ica(d: int = 4) -> Problem:
    """Sources may be permuted, so the fit starts at the truth and ends near it."""
    truth = torch.eye(d) + 0.3 * torch.randn(d, d, generator=torch.Generator().manual_seed(4))

    def sample(n: int) -> Tensor:
        sources = 2 / math.pi * torch.log(torch.tan(0.5 * math.pi * torch.rand(n, d)))
        return torch.linalg.solve(truth, sources.T).T

    return Problem(
        binary=False,
        what="squared error of the unmixing matrix",
        start=lambda: IcaModel(truth),
        sample=sample,
        error=lambda model: squared_distance(model.unmixing, truth),
    )


PROBLEMS = {
    "Gaussian": gaussian(),
    "Boltzmann machine": boltzmann_machine(),
    "RBM": rbm(),
    "ICA": ica(),
}
