"""The table of criteria: test_criteria.py puts each through what every criterion must pass. What is particular to one
stands in its own test file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

import torch_ebm
from energies import FullyVisible, Gaussian
from known_values import all_states, case, numbered_states
from noises import UniformBits


@dataclass(frozen=True)
class Population:
    """A model and the law that it defines, as weighted states: expectations are sums."""

    energy: Callable[[], torch.nn.Module]
    states: torch.Tensor
    probabilities: torch.Tensor


@dataclass(frozen=True)
class Row:
    """A criterion: `call(energy, x, **options)`, which the operator of the table's key is behind."""

    call: Callable
    population: Population
    #: Options under which it is tested, one dictionary a variant.
    variants: tuple = ({},)
    #: It draws random numbers, whatever the options.
    random: bool = False
    #: A constant added to the energy changes nothing.
    z_cancels: bool = True
    #: Its terms are those of single examples: the weight 2 is the same as the example twice.
    by_example: bool = True
    #: The gradient at the truth vanishes exactly over the population, not only within its Monte Carlo error.
    exact_at_truth: bool = True
    #: Options that a scripted model has to give, as source: "categorical=True".
    script_options: str = ""


def fully_visible_model() -> FullyVisible:
    model = case("fvbm_n4_s1")
    return FullyVisible(model.array("W"), model.array("b"))


def enumerated(energy, states) -> Population:
    with torch.no_grad():
        return Population(energy, states, torch.softmax(-energy()(states), 0))


BINARY = enumerated(fully_visible_model, all_states(4))


def gaussian_model() -> Gaussian:
    precision = torch.tensor([[1.4, 0.5], [0.5, 0.8]], dtype=torch.float64)
    return Gaussian(torch.tensor([0.3, -0.2], dtype=torch.float64), precision)


def gauss_hermite(n: int = 16) -> Population:
    """The nodes and weights of the Gaussian: expectations of polynomials up to degree 2 n - 1 are exact."""
    model = gaussian_model()
    nodes, weights = (torch.tensor(a) for a in np.polynomial.hermite_e.hermegauss(n))
    z = torch.cartesian_prod(nodes, nodes)
    p = torch.cartesian_prod(weights, weights).prod(1)
    root = torch.linalg.cholesky(torch.linalg.inv(model.precision.detach()))
    return Population(gaussian_model, model.mean.detach() + z @ root.T, p / p.sum())


GAUSSIAN = gauss_hermite()


def with_fair_coins(criterion: Callable) -> Callable:
    """Three noise samples for each example."""

    def call(energy, x, *, generator=None, **options):
        noise = UniformBits(*x.shape[1:])
        return criterion(energy, x, noise, n_noise=3, generator=generator, **options)

    return call


FAIR_COINS = (
    "noise=(torch.rand([x.size(0), 3, 4], dtype=x.dtype) < 0.5).to(x.dtype), "
    "noise_log_prob=-2.772588722239781 * x.new_ones([x.size(0), 3]), "
    "data_log_prob=-2.772588722239781 * x.new_ones([x.size(0)])"
)


def exact_maximum_likelihood(energy, x, *, generator=None, **options):
    """With log Z by enumeration, differentiable; it draws nothing."""
    valid = callable(energy) and x.dim() == 2 and x.is_floating_point()
    log_z = torch.logsumexp(-energy(all_states(4, x.dtype)), 0) if valid else 0.0
    return torch_ebm.maximum_likelihood(energy, x, log_z=log_z, **options)


LOG_Z = torch.logsumexp(-fully_visible_model()(all_states(4)).detach(), 0)

CRITERIA = {
    "pseudolikelihood": Row(
        torch_ebm.pseudolikelihood,
        BINARY,
        variants=(
            {},
            {"chunk_size": 20},
            {"n_sites": 3},
            {"blocks": torch.tensor([[0, 2], [1, 3]])},
            {"blocks": torch.tensor([[3, 1]])},
        ),
    ),
    "ratio_matching": Row(
        torch_ebm.ratio_matching, BINARY, variants=({}, {"chunk_size": 20}, {"n_sites": 2})
    ),
    "nce": Row(
        with_fair_coins(torch_ebm.nce),
        BINARY,
        variants=({"log_z": LOG_Z},),
        random=True,
        z_cancels=False,
        script_options=f"{FAIR_COINS}, log_z=torch.tensor({LOG_Z.item()})",
    ),
    "ranking_nce": Row(
        with_fair_coins(torch_ebm.ranking_nce), BINARY, random=True, script_options=FAIR_COINS
    ),
    "conditional_nce": Row(
        torch_ebm.conditional_nce,
        GAUSSIAN,
        variants=({"sigma": 0.7}, {"sigma": 0.3, "n_noise": 3}),
        random=True,
        script_options="sigma=0.7",
    ),
    "maximum_likelihood": Row(
        exact_maximum_likelihood,
        BINARY,
        script_options="log_z=torch.logsumexp(-self.energy((torch.arange(16).unsqueeze(1) "
        ">> torch.arange(4) & 1).to(x.dtype)), 0)",
    ),
}


def data(row: Row, n: int = 7, seed: int = 1) -> torch.Tensor:
    """n examples of the row's population."""
    generator = torch.Generator().manual_seed(seed)
    p = row.population
    numbers = torch.multinomial(p.probabilities, n, replacement=True, generator=generator)
    return p.states[numbers].clone()
