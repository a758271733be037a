"""The table of criteria: test_criteria.py puts each through what every criterion must pass. What is particular to one
stands in its own test file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

import torch_ebm
from energies import FullyVisible, Gaussian
from known_values import all_states, case
from noises import UniformBits


@dataclass(frozen=True)
class Population:
    """A model and the law that it defines, as weighted states: expectations are sums."""

    energy: Callable[[], torch.nn.Module]
    states: torch.Tensor
    probabilities: torch.Tensor


@dataclass(frozen=True)
class Row:
    """A criterion: `call(energy, x, **options)`, which the operator of the table's key is behind. The key is that
    operator's name, and, of a criterion that has several rows, more words after it."""

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
    #: Whether, with these options, the gradient at the truth vanishes exactly over the population, and not only within
    #: its Monte Carlo error.
    exact_at_truth: Callable[[dict], bool] = lambda options: "n_sites" not in options
    #: Options that a scripted model has to give, as source: "categorical=True". None: more than can be written so.
    script_options: str | None = ""


def operator(key: str) -> str:
    """The operator of a row of the table."""
    return key.split()[0]


def fully_visible_model() -> FullyVisible:
    model = case("fvbm_n4_s1")
    return FullyVisible(model.array("W"), model.array("b"))


def enumerated(energy, states) -> Population:
    with torch.no_grad():
        return Population(energy, states, torch.softmax(-energy()(states), 0))


SMOOTHING = 0.6


def gaussian_population(smoothing: float = 0.0, n_nodes: int = 3) -> Population:
    """A Gaussian law on the nodes of a quadrature that is exact for polynomials of degree
    2 n_nodes - 1, and the model of that law smoothed by N(0, smoothing^2)."""
    mean = torch.tensor([0.5, -1.0, 0.25], dtype=torch.float64)
    factor = torch.tensor([[1.0, 0, 0], [0.4, 0.8, 0], [-0.3, 0.5, 1.2]], dtype=torch.float64)
    nodes, masses = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(n_nodes))
    points = torch.cartesian_prod(nodes, nodes, nodes)
    mass = torch.cartesian_prod(masses, masses, masses).prod(1)
    covariance = factor @ factor.T + smoothing**2 * torch.eye(3, dtype=torch.float64)
    energy = functools.partial(Gaussian, mean, torch.linalg.inv(covariance))
    return Population(energy, mean + points @ factor.T, mass / mass.sum())


def gaussian_lattice() -> Population:
    """A Gaussian law on the points of a lattice: expectations of smooth functions are those of the density."""
    mean = torch.tensor([0.5, -0.25], dtype=torch.float64)
    precision = torch.tensor([[1.5, 0.4], [0.4, 0.8]], dtype=torch.float64)
    line = torch.arange(-8, 8.01, 0.4, dtype=torch.float64)
    return enumerated(
        functools.partial(Gaussian, mean, precision), torch.cartesian_prod(line, line) + mean
    )


def from_the_true_conditional(energy, noisy, *, generator):
    """Exact draws of what points of the lattice were, given that N(0, SMOOTHING^2) made them `noisy`."""
    truth = LATTICE.energy()
    mean, precision = truth.mean.detach(), truth.precision.detach()
    covariance = torch.linalg.inv(precision + torch.eye(2) / SMOOTHING**2)
    noise = torch.randn(noisy.shape, dtype=noisy.dtype, generator=generator)
    centre = (mean @ precision + noisy / SMOOTHING**2) @ covariance
    return centre + noise @ torch.linalg.cholesky(covariance).T


def categorical_model() -> FullyVisible:
    """Three sites of three states, one-hot."""
    generator = torch.Generator().manual_seed(2)
    weight = torch.randn(9, 9, generator=generator, dtype=torch.float64) / 2
    return FullyVisible(weight + weight.T, weight[0])


BINARY = enumerated(fully_visible_model, all_states(4))
CATEGORICAL = enumerated(
    categorical_model, torch.eye(3)[torch.cartesian_prod(*[torch.arange(3)] * 3)].double()
)
LATTICE = gaussian_lattice()


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
    "minimum_probability_flow": Row(
        torch_ebm.minimum_probability_flow,
        BINARY,
        variants=({}, {"chunk_size": 20}, {"n_sites": 3}),
    ),
    "minimum_probability_flow of categories": Row(
        torch_ebm.minimum_probability_flow,
        CATEGORICAL,
        variants=({"categorical": True}, {"categorical": True, "chunk_size": 20}),
        script_options="categorical=True",
    ),
    "concrete_score_matching": Row(
        torch_ebm.concrete_score_matching,
        BINARY,
        variants=({}, {"chunk_size": 20}, {"n_sites": 3}),
    ),
    "concrete_score_matching of categories": Row(
        torch_ebm.concrete_score_matching,
        CATEGORICAL,
        variants=({"categorical": True}, {"categorical": True, "chunk_size": 20}),
        script_options="categorical=True",
    ),
    "score_matching": Row(
        torch_ebm.score_matching, gaussian_population(), variants=({}, {"chunk_size": 14})
    ),
    "sliced_score_matching": Row(
        torch_ebm.sliced_score_matching,
        gaussian_population(),
        variants=(
            {},
            {"chunk_size": 20, "n_projections": 5},
            {"variance_reduced": False},
            {"projections": "gaussian"},
            {"projections": "gaussian", "variance_reduced": False},
            {"method": "finite_difference", "chunk_size": 20, "n_projections": 5},
            {"method": "finite_difference", "variance_reduced": False},
        ),
        random=True,
    ),
    "denoising_score_matching": Row(
        torch_ebm.denoising_score_matching,
        gaussian_population(SMOOTHING),
        variants=(
            {"sigma": SMOOTHING},
            {"sigma": SMOOTHING, "weighting": "sigma_squared"},
            {"sigma": [SMOOTHING, SMOOTHING]},
        ),
        random=True,
        script_options=f"sigma={SMOOTHING}",
    ),
    "kernel_stein_discrepancy": Row(
        torch_ebm.kernel_stein_discrepancy,
        LATTICE,
        variants=(
            {"bandwidth": 1.3},
            {"bandwidth": 0.8, "kernel": "rbf"},
            {"statistic": "v"},
            {"statistic": "v", "exponent": -0.25},
            {"statistic": "v", "kernel": "rbf"},
        ),
        by_example=False,
        exact_at_truth=lambda options: options.get("statistic") == "v",
        script_options="bandwidth=1.3",
    ),
    "energy_discrepancy": Row(
        torch_ebm.energy_discrepancy,
        LATTICE,
        variants=({"t": 0.5}, {"t": 2.0, "n_samples": 1}),
        random=True,
        script_options="t=0.5",
    ),
    "energy_discrepancy of bits": Row(
        torch_ebm.energy_discrepancy,
        BINARY,
        variants=({"flip_probability": 0.2}, {"flip_probability": 0.5, "n_samples": 3}),
        random=True,
        script_options="flip_probability=0.2",
    ),
    "recovery_likelihood": Row(
        torch_ebm.recovery_likelihood,
        LATTICE,
        variants=({"sigma": SMOOTHING, "sampler": from_the_true_conditional},),
        random=True,
        script_options=None,
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
        gaussian_population(n_nodes=16),
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
