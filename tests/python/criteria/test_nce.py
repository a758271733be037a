"""Noise-contrastive estimation: its definition, known optima, and the law of its estimates."""

import math

import pytest
import torch
from torch.distributions import Bernoulli, Independent

import torch_ebm
from criteria_table import BINARY
from energies import FullyVisible
from known_values import case, random_rbm, seeded
from noises import Normal, UniformBits
from statistical_checks import check_mean


def drawn(nu, n=6, seed=3):
    x = UniformBits(4).sample((n,), seeded(seed))
    return x, torch_ebm.draw_noise(Biased(), x, nu, generator=seeded(seed + 1))


class Biased(UniformBits):
    """Independent bits with unequal rates."""

    def __init__(self):
        super().__init__(4)
        rates = torch.tensor([0.2, 0.5, 0.7, 0.4], dtype=torch.float64)
        self.log_prob = Independent(Bernoulli(rates), 1).log_prob


@pytest.mark.parametrize("nu", [1, 2, 5])
def test_definition(nu):
    rbm, log_z = random_rbm(4, 3, 1.0, 5), 1.7
    x, noise = drawn(nu)
    with torch.no_grad():
        terms = torch_ebm.nce(rbm, x, noise, log_z=log_z, reduction="none")

    def p_data(u, log_prob):  # the probability that u is an example and not one of nu noise samples
        model = math.exp(-rbm(u[None]).item() - log_z)
        return model / (model + nu * math.exp(log_prob))

    for n, term in enumerate(terms.tolist()):
        expected = -math.log(p_data(x[n], noise.data_log_prob[n]))
        for k in range(nu):
            expected -= math.log1p(-p_data(noise.samples[n, k], noise.log_prob[n, k]))
        assert term == pytest.approx(expected, rel=1e-10)


def test_without_log_z_the_energy_is_normalised_itself():
    rbm = random_rbm(4, 3, 1.0, 5)
    x, noise = drawn(3)
    normalised = torch_ebm.nce(lambda u: rbm(u) + 2.5, x, noise)
    torch.testing.assert_close(torch_ebm.nce(rbm, x, noise, log_z=2.5), normalised)
    parameter = torch.tensor(2.5, dtype=torch.float64)
    torch.testing.assert_close(torch_ebm.nce(rbm, x, noise, log_z=parameter), normalised)


def test_the_gradient_vanishes_at_the_truth_and_its_log_z():
    """Exactly: every example is compared with all states, which are the uniform noise."""
    p, energy = BINARY, BINARY.energy()
    log_z = torch.logsumexp(-energy(p.states), 0).detach().requires_grad_()
    y = p.states.expand(16, 16, 4)
    uniform = UniformBits(4)
    noise = torch_ebm.NoiseSamples(
        y, uniform.log_prob(p.states).expand(16, 16), uniform.log_prob(p.states)
    )

    def gradients(log_z):
        loss = torch_ebm.nce(energy, p.states, noise, log_z=log_z, weights=p.probabilities)
        return torch.autograd.grad(loss, [*energy.parameters(), log_z])

    assert max(g.abs().max() for g in gradients(log_z)) < 1e-12
    assert gradients(log_z + 0.1)[-1] > 1e-3
    assert gradients(log_z - 0.1)[-1] < -1e-3


def fixed_noise():
    """400 examples with 5 noise samples each, and the optimum of (W, b, -log Z)."""
    known = case("fvbm_cd_n5_s6")
    x, y, q = (known.array(name) for name in ("data", "nce_noise", "noise_q"))
    law = Independent(Bernoulli(q), 1)
    noise = torch_ebm.NoiseSamples(y.view(400, 5, 5), law.log_prob(y).view(400, 5), law.log_prob(x))
    return known, x, noise


def test_known_optimum():
    known, x, noise = fixed_noise()
    energy = FullyVisible(torch.zeros(5, 5).double(), torch.zeros(5).double())
    log_z = torch.zeros((), dtype=torch.float64, requires_grad=True)
    parameters = [*energy.parameters(), log_z]
    off_diagonal = 1 - torch.eye(5, dtype=torch.float64)
    energy.weight.register_hook(lambda g: g * off_diagonal)  # there it would be a second bias
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=500,
        tolerance_grad=1e-12,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        loss = torch_ebm.nce(energy, x, noise, log_z=log_z)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert -closure().item() == pytest.approx(known["nce_opt_J"], rel=1e-12)
    assert -log_z.item() == pytest.approx(known["nce_opt_const"], abs=1e-6)
    torch.testing.assert_close(energy.weight.data, known.array("nce_opt_W"), rtol=0, atol=1e-6)
    torch.testing.assert_close(energy.bias.data, known.array("nce_opt_b"), rtol=0, atol=1e-6)
    with torch.no_grad():
        energy.weight.copy_(known.array("nce_opt_W"))
        energy.bias.copy_(known.array("nce_opt_b"))
        log_z.fill_(-known["nce_opt_const"])
    closure()
    assert max(p.grad.abs().max() for p in parameters) < 1e-11


class Precision(torch.nn.Module):
    """E(x) = precision x^2 / 2."""

    def __init__(self, precision):
        super().__init__()
        self.precision = torch.nn.Parameter(torch.tensor(precision, dtype=torch.float64))

    def forward(self, x):
        return 0.5 * self.precision * x.square().sum(1)


def newton(x, noise, start):
    """The NCE estimate of (precision, log Z): the loss is convex in both."""
    energy = Precision(start)
    log_z = torch.tensor(0.5 * math.log(2 * math.pi / start)).double().requires_grad_()
    parameters = [energy.precision, log_z]
    step = torch.ones(2)
    while step.abs().max() > 1e-4:  # the next would be about its square
        loss = torch_ebm.nce(energy, x, noise, log_z=log_z)
        gradient = torch.stack(torch.autograd.grad(loss, parameters, create_graph=True))
        hessian = [
            torch.stack(torch.autograd.grad(g, parameters, retain_graph=True)) for g in gradient
        ]
        step = torch.linalg.solve(torch.stack(hessian), gradient.detach())
        with torch.no_grad():
            energy.precision -= step[0]
            log_z -= step[1]
    return torch.stack(parameters).detach()


@pytest.mark.parametrize(
    "name, nu",
    [("nce_asym_lam1_s1", 1), ("nce_asym_lam1_s2", 5), ("nce_asym_lam2_s1.5", 10)],
)
def test_the_variance_of_the_estimates(name, nu):
    """T cov of (precision, -log Z) over replicates of T examples is the asymptotic one."""
    known, n_examples, n_replicates = case(name), 1000, 300
    precision, scale = known.params["lam"], known.params["s"]
    generator = seeded(8)
    estimates = []
    for _ in range(n_replicates):
        x = Normal(precision**-0.5, 1).sample((n_examples,), generator)
        noise = torch_ebm.draw_noise(Normal(scale, 1), x, nu, generator=generator)
        estimates.append(newton(x, noise, precision))
    truth = torch.tensor([precision, -known["c_true"]], dtype=torch.float64)
    error = (torch.stack(estimates) - truth) * n_examples**0.5
    squares = torch.stack([error[:, 0] ** 2, error[:, 1] ** 2, -error[:, 0] * error[:, 1]], 1)
    expected = [known[f"{what}[nu={nu}]"] for what in ("var_lam", "var_c", "cov_lam_c")]
    check_mean(squares, expected, what=f"covariance of NCE, {name}, nu = {nu}")


def test_float32_agrees():
    rbm, log_z = random_rbm(4, 3, 1.0, 5), torch.tensor(1.7, dtype=torch.float64)
    x, noise = drawn(3)
    expected = torch_ebm.nce(rbm, x, noise, log_z=log_z)
    rbm.float()
    single = torch_ebm.nce(
        rbm, x.float(), noise._replace(samples=noise.samples.float()), log_z=log_z
    )
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=1e-5, atol=1e-5)


class Flow(torch.nn.Module):
    """A normal law with parameters, which can be sampled with gradients: the simplest flow."""

    def __init__(self):
        super().__init__()
        self.mean = torch.nn.Parameter(torch.zeros(2))
        self.log_scale = torch.nn.Parameter(torch.ones(2))

    def law(self):
        return Independent(torch.distributions.Normal(self.mean, self.log_scale.exp()), 1)

    def sample(self, sample_shape):
        return self.law().rsample(sample_shape)

    def log_prob(self, u):
        return self.law().log_prob(u)


def test_flow_contrastive_estimation():
    """Gao et al. 2020: the energy learns against the flow, and the flow to be taken for data."""
    torch.manual_seed(0)
    target = torch.tensor([1.5, -0.5])
    mean = torch.nn.Parameter(torch.zeros(2))
    log_z = torch.nn.Parameter(torch.zeros(()))
    flow = Flow()
    model = lambda u: 0.5 * (u - mean).square().sum(1)  # noqa: E731
    learner = torch.optim.Adam([mean, log_z], lr=0.05)
    forger = torch.optim.Adam(flow.parameters(), lr=0.02)
    for _ in range(400):
        x = target + torch.randn(200, 2)
        learner.zero_grad()
        torch_ebm.nce(model, x, flow, log_z=log_z).backward()
        assert all(p.grad is None or not p.grad.any() for p in flow.parameters())
        learner.step()
        y = flow.sample((200,))
        noise = torch_ebm.NoiseSamples(y[:, None], flow.log_prob(y)[:, None], flow.log_prob(x))
        forger.zero_grad()
        (-torch_ebm.nce(model, x, noise, log_z=log_z)).backward()
        forger.step()
        forger.zero_grad(set_to_none=True)
    assert (mean - target).abs().max() < 0.15
    assert abs(log_z.item() - math.log(2 * math.pi)) < 0.15
    assert (flow.mean - target).abs().max() < 0.3


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), float("nan")])
def test_log_densities_that_are_not_finite_are_named(value):
    rbm = random_rbm(4, 3, 1.0, 5)
    x, noise = drawn(3)
    of_data, of_noise = noise.data_log_prob.clone(), noise.log_prob.clone()
    of_data[[4, 5]], of_noise[2, 1] = value, value
    with pytest.raises(
        ValueError, match=f"nce: data_log_prob must be finite, got {value} at example 4"
    ):
        torch_ebm.nce(rbm, x, noise._replace(data_log_prob=of_data))
    with pytest.raises(
        ValueError, match=f"nce: noise_log_prob must be finite, got {value} at example 2"
    ):
        torch_ebm.nce(rbm, x, noise._replace(log_prob=of_noise))


@pytest.mark.parametrize(
    "wrong, match",
    [
        (lambda n: n._replace(samples=n.samples[:5]), r"noise must have shape"),
        (lambda n: n._replace(samples=n.samples[:, 0]), r"noise must have shape"),
        (lambda n: n._replace(samples=n.samples[:, :0]), r"noise must hold at least one"),
        (lambda n: n._replace(samples=n.samples.float()), r"noise must have the dtype of x"),
        (lambda n: n._replace(samples=n.samples / 0), r"noise must be finite"),
        (lambda n: n._replace(log_prob=n.log_prob[:, :2]), r"noise_log_prob must have shape"),
        (lambda n: n._replace(log_prob=n.log_prob.long()), r"noise_log_prob must have a floating"),
        (lambda n: n._replace(data_log_prob=n.log_prob), r"data_log_prob must have shape \(N,\)"),
    ],
)
def test_noise_that_does_not_fit_is_refused(wrong, match):
    x, noise = drawn(3)
    for criterion in (torch_ebm.nce, torch_ebm.ranking_nce):
        with pytest.raises((ValueError, TypeError), match=f"{criterion.__name__}: {match}"):
            criterion(random_rbm(4, 3, 1.0, 5), x, wrong(noise))


def test_bad_options_are_refused():
    rbm = random_rbm(4, 3, 1.0, 5)
    x, noise = drawn(3)
    with pytest.raises(ValueError, match=r"nce: log_z must have shape \(\)"):
        torch_ebm.nce(rbm, x, noise, log_z=torch.zeros(1))
    with pytest.raises(TypeError, match="nce: log_z must have a floating dtype"):
        torch_ebm.nce(rbm, x, noise, log_z=torch.tensor(1))
    for options in ({"n_noise": 3}, {"generator": seeded()}):
        with pytest.raises(ValueError, match="nce: n_noise and generator must be left out"):
            torch_ebm.nce(rbm, x, noise, **options)


def test_a_generator_serves_noise_that_takes_none():
    x = torch.zeros(6, 3, dtype=torch.float64)
    noise = Independent(Bernoulli(torch.full((3,), 0.5, dtype=torch.float64)), 1)
    state = torch.get_rng_state()
    generator = seeded(1)
    one, two = (torch_ebm.draw_noise(noise, x, 4, generator=generator) for _ in range(2))
    again = torch_ebm.draw_noise(noise, x, 4, generator=seeded(1))
    assert torch.equal(one.samples, again.samples)
    assert not torch.equal(one.samples, two.samples)
    assert torch.equal(state, torch.get_rng_state())
