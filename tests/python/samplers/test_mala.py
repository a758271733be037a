"""The Metropolis-adjusted Langevin algorithm: its proposal, its acceptance and what it costs."""

import pytest
import torch

import torch_ebm
from energies import Network, standard_normal
from known_values import case, seeded
from statistical_checks import check_mean
from targets import first_momenta


def normal(*size, seed=31):
    return torch.randn(*size, generator=seeded(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", ["langevin_gauss_sigma1", "langevin_gauss_sigma0.5"])
@pytest.mark.parametrize("relative_step", [0.1, 0.5, 1.0, 2.0])
def test_acceptance_on_a_gaussian_is_the_exact_one(name, relative_step):
    # The values are for x - (eps / 2) E' + sqrt(eps) xi: twice our step size.
    known = case(name)
    sigma = known.params["sigma"]
    eps = relative_step * sigma**2
    result = torch_ebm.mala(
        lambda x: standard_normal(x / sigma),
        sigma * normal(60_000, 1),
        step_size=eps / 2,
        generator=seeded(32),
    )
    check_mean(result.acceptance_rate, known[f"mala_accept[eps={eps:g}]"], what="acceptance")


def test_the_proposal_and_the_ratio_are_the_stated_formulas():
    energy, x, eps = Network(3, dtype=torch.float64), normal(400, 3), 0.4
    mass = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)  # inverse

    def value_and_drift(x):
        x = x.clone().requires_grad_()
        value = energy(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        return value.detach(), -eps * mass * gradient

    def log_density(y, x, drift):
        return -((y - x - drift).square() / (4 * eps * mass)).sum(1)

    noise = first_momenta(x, seed=33) * mass.sqrt()
    value, drift = value_and_drift(x)
    y = x + drift + (2 * eps) ** 0.5 * noise
    new_value, new_drift = value_and_drift(y)
    log_ratio = value - new_value + log_density(x, y, new_drift) - log_density(y, x, drift)

    result = torch_ebm.mala(energy, x, step_size=eps, inverse_mass=mass, generator=seeded(33))
    torch.testing.assert_close(result.acceptance_rate, log_ratio.exp().clamp_max(1))
    moved = (result.x != x).any(1)
    torch.testing.assert_close(result.x[moved], y[moved])
    assert moved[log_ratio > 0].all() and 0.3 < moved.double().mean() < 0.97


def test_one_evaluation_a_step_and_one_to_start():
    calls = []

    def counting(x):
        calls.append(x.shape)
        return standard_normal(x)

    torch_ebm.mala(counting, normal(4, 3), n_steps=9)
    assert calls == [(4, 3)] * 10
