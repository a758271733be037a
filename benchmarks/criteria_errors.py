"""Criteria at the true parameters, where the expected gradient must be zero: released libraries
and ours.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from experiments import Experiment, Run
from torch import Tensor, nn

import torch_ebm

N_EXAMPLES = 200_000
DIMENSIONS = 10


class ScaledGaussian(nn.Module):
    """E(x) = precision |x|^2 / 2 + constant."""

    def __init__(self) -> None:
        super().__init__()
        self.precision = nn.Parameter(torch.ones(()))
        self.constant = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * self.precision * x.square().flatten(1).sum(1) + self.constant


def exact_samples() -> Tensor:
    return torch.randn(N_EXAMPLES, DIMENSIONS)


def theirs() -> nn.Module:
    from torchebm.core import BaseModel

    class Model(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.energy = ScaledGaussian()

        def forward(self, x: Tensor) -> Tensor:
            return self.energy(x)

    return Model()


def gradient_of(loss: Tensor, parameter: nn.Parameter) -> float:
    return torch.autograd.grad(loss, parameter)[0].item()


def score_matching_of_torchebm(method: str) -> Callable[[], float]:
    def run() -> float:
        from torchebm.losses import ScoreMatching

        model = theirs()
        loss = ScoreMatching(model, hessian_method=method).compute_loss(exact_samples())
        return gradient_of(loss, model.energy.precision)

    return run


def score_matching_of_ours(name: str) -> Callable[[], float]:
    def run() -> float:
        energy = ScaledGaussian()
        return gradient_of(getattr(torch_ebm, name)(energy, exact_samples()), energy.precision)

    return run


def divergence_of_torchebm(of: Callable[[nn.Module, Tensor], float]) -> Callable[[], float]:
    """`of` the model and the loss, with exact samples as data and as negatives."""

    def run() -> float:
        from torchebm.losses import ContrastiveDivergence
        from torchebm.samplers import LangevinDynamics

        model = theirs()
        if of is value_if_nan:
            model.energy.precision.data.fill_(float("nan"))
        criterion = ContrastiveDivergence(model, LangevinDynamics(model, step_size=0.01))
        return of(model.energy, criterion.compute_loss(exact_samples(), exact_samples()))

    return run


def divergence_of_ours(of: Callable[[nn.Module, Tensor], float]) -> Callable[[], float]:
    def run() -> float:
        energy = ScaledGaussian()
        if of is value_if_nan:
            energy.precision.data.fill_(float("nan"))
        x, negative = exact_samples(), exact_samples()
        return of(energy, torch_ebm.maximum_likelihood(energy, x, negative_samples=negative))

    return run


def gradient_in_the_precision(energy: nn.Module, loss: Tensor) -> float:
    return gradient_of(loss, energy.precision)


def gradient_in_the_constant(energy: nn.Module, loss: Tensor) -> float:
    return gradient_of(loss, energy.constant)


def value_if_nan(energy: nn.Module, loss: Tensor) -> float:
    return loss.item()


def experiments() -> list[Experiment]:
    n, d = N_EXAMPLES, DIMENSIONS
    gaussian = f"{n:,} exact samples of N(0, I), {d} dimensions, as data"

    def divergence(title: str, statistic: str, right: str, of: Callable) -> Experiment:
        runs = [
            Run("ContrastiveDivergence", "torchebm", divergence_of_torchebm(of)),
            Run("maximum_likelihood", "torch_ebm", divergence_of_ours(of)),
        ]
        return Experiment(title, statistic, right, runs)

    names = ("score_matching", "sliced_score_matching")
    theirs = {
        'ScoreMatching(hessian_method="approx")': "approx",
        "ScoreMatching (control)": "exact",
    }
    return [
        Experiment(
            gaussian,
            "gradient in the precision, at the truth",
            "0.00 (standard error 0.01)",
            [
                *(
                    Run(what, "torchebm", score_matching_of_torchebm(method))
                    for what, method in theirs.items()
                ),
                *(Run(name, "torch_ebm", score_matching_of_ours(name)) for name in names),
            ],
        ),
        divergence(
            f"{gaussian} and as negatives",
            "gradient in the precision, at the truth",
            "0.00 (standard error 0.01)",
            gradient_in_the_precision,
        ),
        divergence(
            f"{gaussian} and as negatives",
            "gradient in an additive constant of the energy",
            "0",
            gradient_in_the_constant,
        ),
        divergence("The same, of a model that is NaN", "loss", "nan", value_if_nan),
    ]
