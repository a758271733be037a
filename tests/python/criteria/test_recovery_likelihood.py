"""Recovery likelihood: what is particular to it.
What all criteria must pass stands in test_criteria.py."""

import functools
from typing import Optional

import pytest
import torch

import torch_ebm
from criteria_table import LATTICE, SMOOTHING, data, from_the_true_conditional
from energies import Gaussian
from known_values import seeded
from statistical_checks import check_mean
from torch_ebm import recovery_energy, recovery_likelihood

F64 = torch.float64


def conditional_law(noisy, sigma):
    """The mean and the covariance of the truth given `noisy`."""
    truth = LATTICE.energy()
    precision = truth.precision.detach()
    covariance = torch.linalg.inv(precision + torch.eye(2, dtype=F64) / sigma**2)
    return (truth.mean.detach() @ precision + noisy / sigma**2) @ covariance, covariance


def test_the_conditional_of_a_gaussian():
    """The conditional energy is that of the known conditional law, up to a constant of each row."""
    noisy, sigma = torch.randn(5, 2, dtype=F64), 0.7
    conditional = recovery_energy(LATTICE.energy(), noisy, sigma=sigma)
    mean, covariance = conditional_law(noisy, sigma)
    x = torch.randn(5, 2, dtype=F64)

    def quadratic(y):
        d = y - mean
        return 0.5 * ((d @ torch.linalg.inv(covariance)) * d).sum(1)

    difference = (conditional(x) - conditional(torch.zeros_like(x))).detach()
    torch.testing.assert_close(difference, quadratic(x) - quadratic(torch.zeros_like(x)))


@pytest.mark.parametrize("shape", [(3,), (2, 2), ()])
def test_shapes_and_replicas(shape):
    noisy = torch.randn(4, *shape, dtype=F64)
    x = torch.randn(8, *shape, dtype=F64)
    conditional = recovery_energy(lambda y: y.reshape(len(y), -1).sum(1), noisy, sigma=0.5)
    displacement = (torch.cat([noisy, noisy]) - x).reshape(8, -1)
    expected = x.reshape(8, -1).sum(1) + 2 * displacement.square().sum(1)
    torch.testing.assert_close(conditional(x), expected)


def test_the_closed_form_of_the_score_is_used():
    mlp = torch_ebm.MLP([3, 5, 1], confinement=1.0, dtype=F64)
    noisy, x = torch.randn(2, 6, 3, dtype=F64)
    conditional = recovery_energy(mlp, noisy, sigma=0.8)
    energies, score = conditional.value_and_score(x)
    leaf = x.clone().requires_grad_()
    value = conditional(leaf)
    torch.testing.assert_close(energies, value.detach())
    torch.testing.assert_close(score, -torch.autograd.grad(value.sum(), leaf)[0])
    assert not hasattr(recovery_energy(lambda y: y.sum(1), noisy, sigma=1), "value_and_score")


SAMPLERS = {
    "mala": functools.partial(torch_ebm.mala, step_size=0.3, n_steps=40),
    "hmc": functools.partial(torch_ebm.hmc, step_size=0.3, n_leapfrog=4, n_steps=15),
    "nuts": functools.partial(torch_ebm.nuts, step_size=0.4, n_steps=10),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_samplers_of_the_conditional_energy(name):
    sigma, n = 0.8, 4000
    noisy = torch.tensor([2.0, -1.5], dtype=F64).expand(n, 2).clone()
    conditional = recovery_energy(LATTICE.energy(), noisy, sigma=sigma)
    x = SAMPLERS[name](conditional, noisy, generator=seeded(4)).x
    mean, covariance = conditional_law(noisy[:1], sigma)
    check_mean(x, mean[0], covariance.diagonal(), what="mean")
    d = x - mean
    products = torch.stack([d[:, 0] ** 2, d[:, 0] * d[:, 1], d[:, 1] ** 2], 1)
    check_mean(products, covariance[[0, 0, 1], [0, 1, 1]], what="covariance")


def test_replica_exchange_of_the_conditional_energy():
    noisy = torch.tensor([2.0, -1.5], dtype=F64).expand(2000, 2).clone()
    conditional = recovery_energy(LATTICE.energy(), noisy, sigma=0.8)
    replicas = torch_ebm.replica_exchange(
        conditional,
        noisy.expand(2, -1, -1).clone(),
        [1.0, 0.6],
        functools.partial(torch_ebm.mala, step_size=0.3),
        n_steps=40,
        generator=seeded(4),
    )
    mean, covariance = conditional_law(noisy[:1], 0.8)
    check_mean(replicas.x[0], mean[0], covariance.diagonal(), what="mean")


def test_definition():
    """The sampler starts at x + sigma noise and moves the conditional energy of that."""
    x, sigma = torch.randn(50, 2, dtype=F64), 0.6
    energy, calls = LATTICE.energy(), []

    def sampler(conditional, noisy, *, generator):
        calls.append(noisy.clone())
        expected = energy(2 * noisy) + noisy.square().sum(1) / (2 * sigma**2)
        torch.testing.assert_close(conditional(2 * noisy), expected)
        noisy.mul_(3)  # in place
        return noisy

    terms = recovery_likelihood(
        energy, x, sigma=sigma, sampler=sampler, reduction="none", generator=seeded(1)
    )
    (noisy,) = calls
    torch.testing.assert_close(terms, energy(x) - energy(3 * noisy), rtol=1e-10, atol=0)


def test_the_noise_and_the_sampler_have_laws_and_streams_of_their_own():
    starts, ends = [], []

    def sampler(conditional, noisy, *, generator):
        starts.append(noisy.clone())
        ends.append(torch.randn(noisy.shape, generator=generator, dtype=F64))
        return noisy

    x = torch.full((20000, 2), 5.0, dtype=F64)
    recovery_likelihood(LATTICE.energy(), x, sigma=0.6, sampler=sampler, generator=seeded(1))
    noise = (starts[0] - x) / 0.6
    check_mean(noise, torch.zeros(2), torch.ones(2), "noise")
    check_mean(noise**2, torch.ones(2), what="squared noise")
    check_mean(noise * ends[0], torch.zeros(2), torch.ones(2), "noise times the sampler's")


def test_mala_gives_the_gradient_of_the_conditional_likelihood():
    """Of the mean of a wrong Gaussian, where -log p(x | x~) is known in closed form."""
    sigma, wrong = 0.8, torch.tensor([-0.4, 0.9], dtype=F64)
    precision = LATTICE.energy().precision.detach()
    energy = Gaussian(wrong, precision)
    x = data(type("Row", (), {"population": LATTICE}), 4000, seed=5)
    starts = []

    def sampler(conditional, noisy, *, generator):
        starts.append(noisy.clone())
        return SAMPLERS["mala"](conditional, noisy, generator=generator)

    terms = recovery_likelihood(
        energy, x, sigma=sigma, sampler=sampler, reduction="none", generator=seeded(9)
    )
    means = terms.view(200, 20).mean(1)
    found = [torch.autograd.grad(m, energy.mean, retain_graph=True)[0] for m in means]
    covariance = torch.linalg.inv(precision + torch.eye(2, dtype=F64) / sigma**2)
    mean = (wrong @ precision + starts[0] / sigma**2) @ covariance
    expected = -(x - mean) @ precision  # of -log N(x; mean, covariance) in `wrong`
    expected = expected.view(200, 20, 2).mean(1)
    check_mean(torch.stack(found) - expected, torch.zeros(2), what="gradient")
    assert expected.mean(0).abs().max() > 0.3


class ScriptedSampler(torch.nn.Module):
    def forward(self, x: torch.Tensor, beta: torch.Tensor, generator: Optional[torch.Generator]):
        assert beta.item() == 1
        return 3 * x


class Model(torch.nn.Module):
    def __init__(self, energy, sampler):
        super().__init__()
        self.energy = energy
        self.sampler = sampler

    def forward(self, x: torch.Tensor):
        return torch.ops.torch_ebm.recovery_likelihood(
            self.energy, x, sigma=0.6, sampler=self.sampler
        )


def test_inside_a_scripted_model(tmp_path):
    x = torch.randn(7, 2, dtype=F64)
    sampler = torch.jit.script(ScriptedSampler())
    torch.jit.script(Model(LATTICE.energy(), sampler)).save(tmp_path / "model.pt")
    loaded = torch.jit.load(tmp_path / "model.pt")
    values = []
    for call in (
        loaded,
        lambda y: recovery_likelihood(LATTICE.energy(), y, sigma=0.6, sampler=sampler),
        lambda y: recovery_likelihood(
            LATTICE.energy(), y, sigma=0.6, sampler=lambda e, z, *, generator: 3 * z
        ),
    ):
        torch.manual_seed(5)
        values.append(call(x))
    assert values[0] == values[1] == values[2]
    values[0].backward()
    assert all(p.grad.abs().max() > 0 for p in loaded.parameters())


@pytest.mark.parametrize(
    "options, error, match",
    [
        ({"sigma": 0.0}, ValueError, "sigma must be > 0 and finite, got 0"),
        ({"sigma": -1.0}, ValueError, "sigma must be > 0 and finite, got -1"),
        ({"sigma": float("nan")}, ValueError, "sigma must be > 0 and finite, got nan"),
        ({"sampler": 3}, TypeError, "sampler must be callable, got int"),
        (
            {"sampler": lambda e, x, *, generator: x[:1]},
            ValueError,
            "sampler must return the shape",
        ),
        ({"sampler": lambda e, x, *, generator: x.float()}, TypeError, "sampler returns must have"),
        ({"sampler": lambda e, x, *, generator: 3}, TypeError, "sampler must return Samples"),
    ],
)
def test_bad_options_are_refused(options, error, match):
    x = torch.randn(3, 2, dtype=F64)
    options = {"sigma": SMOOTHING, "sampler": from_the_true_conditional, **options}
    with pytest.raises(error, match=match):
        recovery_likelihood(LATTICE.energy(), x, **options)


def test_bad_conditionals_are_refused():
    energy, noisy = LATTICE.energy(), torch.randn(3, 2, dtype=F64)
    with pytest.raises(TypeError, match="recovery_energy: noisy must have a floating dtype"):
        recovery_energy(energy, noisy.long(), sigma=1.0)
    for wrong in (noisy[:0], torch.tensor(1.0), noisy / 0):
        with pytest.raises(ValueError, match="recovery_energy: noisy must be a batch of finite"):
            recovery_energy(energy, wrong, sigma=1.0)
    for sigma in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="recovery_energy: sigma must be > 0 and finite"):
            recovery_energy(energy, noisy, sigma=sigma)
    for x in (noisy[:2], noisy[:, :1]):
        with pytest.raises(ValueError, match="recovery_energy: x must have the shape of noisy"):
            recovery_energy(energy, noisy, sigma=1.0)(x)
