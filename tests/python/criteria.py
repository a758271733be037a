"""The table of criteria: test_criteria.py puts each through what every criterion must pass. What is particular to one
stands in its own test file."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

import torch_ebm
from energies import FullyVisible, Gaussian
from known_values import all_states, case, numbered_states


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


SMOOTHING = 0.6


def gaussian_population(smoothing: float = 0.0) -> Population:
    """A Gaussian law on the nodes of a quadrature that is exact for polynomials of degree 5, and the model of that law
    smoothed by N(0, smoothing^2)."""
    mean = torch.tensor([0.5, -1.0, 0.25], dtype=torch.float64)
    factor = torch.tensor([[1.0, 0, 0], [0.4, 0.8, 0], [-0.3, 0.5, 1.2]], dtype=torch.float64)
    nodes, masses = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(3))
    points = torch.cartesian_prod(nodes, nodes, nodes)
    mass = torch.cartesian_prod(masses, masses, masses).prod(1)
    covariance = factor @ factor.T + smoothing**2 * torch.eye(3, dtype=torch.float64)
    energy = functools.partial(Gaussian, mean, torch.linalg.inv(covariance))
    return Population(energy, mean + points @ factor.T, mass / mass.sum())


BINARY = enumerated(fully_visible_model, all_states(4))

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
}


def data(row: Row, n: int = 7, seed: int = 1) -> torch.Tensor:
    """n examples of the row's population."""
    generator = torch.Generator().manual_seed(seed)
    p = row.population
    numbers = torch.multinomial(p.probabilities, n, replacement=True, generator=generator)
    return p.states[numbers].clone()
