"""Annealing along a path against exact moments of its weights."""

import functools
import math

import pytest
import torch

import torch_ebm
from known_values import case, seeded
from paths import Gaussians, SalakhutdinovMurray, ScriptedPath, ScriptedSampler
from statistical_checks import check_mean
from torch_ebm import anneal, linear_schedule

RBM_CASES = ["ais_rbm_6x4_s30", "ais_rbm_7x5_s31"]


def gaussians(name):
    known = case(name)
    return known, Gaussians(known.params["d"], known.params["s0"], known.params["s1"])


@pytest.mark.parametrize("n_steps", [1, 10, 100])
@pytest.mark.parametrize("name", ["ais_gauss_d3_s2", "ais_gauss_d5_s0.3"])
def test_weights_between_gaussians_have_the_exact_moments(name, n_steps):
    known, path = gaussians(name)
    n, k = 20_000, f"[K={n_steps}]"
    up, down = linear_schedule(n_steps), linear_schedule(n_steps).flip(0)
    start = path.exact(n, 0, seeded(1))
    chains = anneal(path, start, up, path.perfect_sampler, generator=seeded(2))
    check_mean(chains.log_weights, known["E_logw" + k], known["var_logw" + k], "mean log weight")
    start = path.exact(n, 1, seeded(3))
    chains = anneal(path, start, down, path.perfect_sampler, generator=seeded(4))
    check_mean(-chains.log_weights, known["rev_E_logw" + k], what="mean log weight, downwards")


@pytest.mark.parametrize("n_steps", [2, 10, 50])
@pytest.mark.parametrize("name", RBM_CASES)
def test_weights_of_a_path_of_its_own_have_the_exact_moments(name, n_steps):
    known, k = case(name), f"[K={n_steps}]"
    path = SalakhutdinovMurray(known.rbm(), known.array("bA"))
    torch.manual_seed(5)
    start = path.base().sample((20_000,))
    chains = anneal(path, start, linear_schedule(n_steps), path.gibbs_sampler, generator=seeded(6))
    check_mean(chains.log_weights, known["E_logw" + k], known["var_logw" + k], "mean log weight")
    if n_steps >= 10:
        ratio = torch.exp(chains.log_weights - known["log_E_w" + k])
        check_mean(ratio, 1.0, known["relvar_w" + k], "mean weight")


@pytest.mark.parametrize("resample_below", [0.5, 1.0])
def test_resampled_weights_are_unbiased_for_z(resample_below):
    path = Gaussians(2, 1.0, 0.3)
    n_groups, size = 4000, 5
    chains = anneal(
        path,
        path.exact(n_groups * size, 0, seeded(7)),
        linear_schedule(4),
        functools.partial(torch_ebm.mala, step_size=0.02, n_steps=2),
        n_groups=n_groups,
        resample_below=resample_below,
        generator=seeded(8),
    )
    # One estimate a group: its chains depend on each other once they were resampled.
    z = chains.log_weights.view(n_groups, size).logsumexp(1) - math.log(size)
    check_mean(torch.exp(z - (path.log_z(1) - path.log_z(0))), 1.0, what="mean weight of groups")


def test_resampling_gives_every_chain_of_a_group_its_mean_weight():
    path = Gaussians(2, 1.0, 0.3)
    x = path.exact(12, 0, seeded(9))
    betas = torch.tensor([0.0, 1.0])
    stay = lambda energy, x, beta, generator: x  # noqa: E731
    plain = anneal(path, x, betas, stay)
    chains = anneal(path, x, betas, stay, n_groups=3, resample_below=1.0, generator=seeded(10))
    assert torch.equal(chains.stage_ess, plain.stage_ess)  # before resampling
    mean = plain.log_weights.view(3, 4).logsumexp(1, keepdim=True) - math.log(4)
    torch.testing.assert_close(chains.log_weights.view(3, 4), mean.expand(3, 4))
    for group in range(3):  # nobody leaves a group
        own = {tuple(row.tolist()) for row in x.view(3, 4, 2)[group]}
        assert {tuple(row.tolist()) for row in chains.x.view(3, 4, 2)[group]} <= own


def test_only_groups_whose_ess_is_low_resample():
    # ESS 1, 2.7 and 0 of 4 chains. The second group would lose state 5, the third has none to copy.
    shares = torch.tensor([1.0, 0, 0, 0, 0.5, 1e-9, 0.25, 0.25, 0, 0, 0, 0], dtype=torch.float64)
    x = torch.arange(12.0).double().unsqueeze(1)
    stay = lambda energy, x, beta, generator: x  # noqa: E731
    energy = lambda x: -shares[x.flatten().long()].log()  # noqa: E731
    chains = anneal(
        energy, x, torch.tensor([0.0, 1.0]), stay, n_groups=3, resample_below=0.5,
        generator=seeded(20),
    )  # fmt: skip
    assert chains.x.flatten().tolist() == [0, 0, 0, 0, *range(4, 12)]
    torch.testing.assert_close(chains.log_weights[:4].exp(), torch.full((4,), 0.25).double())
    torch.testing.assert_close(chains.log_weights[4:].exp(), shares[4:])


def test_resampled_states_are_as_frequent_as_their_weights():
    n = 40_000
    x = torch.arange(4.0).repeat(n).unsqueeze(1).double()  # groups of four states, 0 to 3
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    stay = lambda energy, x, beta, generator: x  # noqa: E731
    energy = lambda x: -weights[x.flatten().long()].log()  # noqa: E731
    chains = anneal(
        energy, x, torch.tensor([0.0, 1.0]), stay, n_groups=n, resample_below=1.0,
        generator=seeded(11),
    )  # fmt: skip
    counts = torch.nn.functional.one_hot(chains.x.view(n, 4).long(), 4).sum(1).double()
    for state in range(4):
        check_mean(counts[:, state], 4 * weights[state].item(), what=f"copies of state {state}")
    # Systematic resampling: as many copies as expected, rounded up or down.
    assert ((counts - 4 * weights).abs() < 1).all()


@pytest.mark.parametrize("resample_below", [0.0, 0.8])
@pytest.mark.parametrize("direction", [1, -1])
def test_two_short_runs_are_one_long_run(resample_below, direction):
    path = Gaussians(2, 1.0, 0.4)
    x = path.exact(8, 0 if direction == 1 else 1, seeded(12))
    betas = linear_schedule(10)[::1] if direction == 1 else linear_schedule(10).flip(0)
    sampler = functools.partial(torch_ebm.mala, step_size=0.05)
    options = {"n_groups": 2, "resample_below": resample_below}
    long = anneal(path, x, betas, sampler, generator=seeded(13), **options)
    generator = seeded(13)
    first = anneal(path, x, betas[:5], sampler, generator=generator, **options)
    second = anneal(
        path, first.x, betas[4:], sampler, log_weights=first.log_weights, generator=generator,
        **options,
    )  # fmt: skip
    assert torch.equal(second.x, long.x)
    torch.testing.assert_close(second.log_weights, long.log_weights, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        torch.cat([first.stage_ess, second.stage_ess]), long.stage_ess, rtol=1e-12, atol=0
    )


def test_stage_ess_is_that_of_the_weights_so_far():
    path = Gaussians(2, 1.0, 0.4)
    x, betas = path.exact(7, 0, seeded(14)), torch.tensor([0.0, 0.3, 1.0])
    stay = lambda energy, x, beta, generator: x  # noqa: E731
    chains = anneal(path, x, betas, stay)
    for k in (1, 2):
        w = torch.exp(betas[k] * (path.base_energy(x) - path(x)))
        expected = w.sum() ** 2 / w.square().sum()
        torch.testing.assert_close(chains.stage_ess[k - 1], expected)


@pytest.mark.parametrize("until", [0.6, 0.8, 1.0])
def test_a_forbidden_state_has_weight_zero_from_then_on(until):
    class Wall:
        """Those above 0 are forbidden from beta = 0.5 on."""

        def __call__(self, x):
            return self.tempered(x, torch.tensor(1.0))

        def tempered(self, x, beta):
            return torch.where(
                (x[:, 0] > 0) & (beta >= 0.5) & (beta <= until), math.inf, 0.0
            ).double()

    x = torch.tensor([[-1.0], [1.0], [2.0], [-2.0]], dtype=torch.float64)
    stay = lambda energy, x, beta, generator: x  # noqa: E731
    chains = anneal(Wall(), x, torch.tensor([0.0, 0.5, 0.7, 1.0]), stay)
    assert chains.log_weights.tolist() == [0, -math.inf, -math.inf, 0]
    assert chains.stage_ess.tolist() == [2, 2, 2]


def test_a_sampler_is_called_at_the_temperature_after_the_change():
    seen = []

    def sampler(energy, x, *, beta, generator):
        seen.append(float(beta))
        return x

    path = Gaussians(2, 1.0, 0.4)
    anneal(path, path.exact(3, 0, seeded(15)), torch.tensor([0.0, 0.25, 1.0]), sampler)
    assert seen == [0.25, 1.0]


class Scripted(torch.nn.Module):
    """An annealed energy, its sampler, and an estimate, all inside one scripted model."""

    def __init__(self):
        super().__init__()
        self.energy = ScriptedPath()
        self.sampler = ScriptedSampler(2)

    def forward(self, n: int, betas: torch.Tensor) -> torch.Tensor:
        x = torch.randn(n, 2, dtype=torch.float64)
        x, log_weights, stage_ess = torch.ops.torch_ebm.anneal(self.energy, x, betas, self.sampler)
        log_z_base = torch.tensor(1.8378770664093453, dtype=torch.float64)
        log_z, error, lower, upper, ess = torch.ops.torch_ebm.log_z_from_weights(
            log_weights, log_z_base
        )
        return torch.stack([log_z, lower, upper, stage_ess[-1]])


def test_a_scripted_model_anneals_itself(tmp_path):
    torch.jit.script(Scripted()).save(tmp_path / "model.pt")
    model = torch.jit.load(tmp_path / "model.pt")
    torch.manual_seed(16)
    log_z, lower, upper, ess = model(500, linear_schedule(20)).tolist()
    exact = math.log(2 * math.pi / 4)
    assert abs(log_z - exact) < upper - lower < 0.2 and 100 < ess <= 500


FINE = {
    "energy": Gaussians(2, 1.0, 0.4),
    "x": torch.zeros(6, 2, dtype=torch.float64),
    "betas": torch.tensor([0.0, 1.0]),
    "sampler": lambda energy, x, beta, generator: x,
}


@pytest.mark.parametrize(
    "changed, error, text",
    [
        ({"betas": torch.tensor([0.0])}, ValueError, "betas must hold at least two temperatures"),
        ({"betas": torch.tensor([0.0, 0.0])}, ValueError, "betas must rise strictly or fall"),
        ({"betas": torch.tensor([0.0, 1.0, 0.5])}, ValueError, "betas must rise strictly or fall"),
        ({"betas": torch.tensor([-1.0, 1.0])}, ValueError, "betas must not be negative, got -1"),
        ({"betas": torch.tensor([0.0, math.inf])}, ValueError, "betas must be finite"),
        ({"betas": torch.tensor([[0.0, 1.0]])}, ValueError, "betas must have shape"),
        ({"x": torch.zeros(0, 2)}, ValueError, "x must hold at least one chain"),
        ({"x": torch.full((6, 2), math.nan)}, ValueError, "x must be finite"),
        ({"x": torch.zeros(6, 2, dtype=torch.long)}, TypeError, "x must have a floating dtype"),
        ({"log_weights": torch.zeros(5)}, ValueError, "log_weights must have shape (N,) = (6,)"),
        ({"log_weights": torch.full((6,), math.nan)}, ValueError, "must not be NaN or +inf"),
        ({"n_groups": 4}, ValueError, "n_groups must divide the number of chains, 6, got 4"),
        ({"n_groups": 0}, ValueError, "n_groups must be at least 1"),
        ({"resample_below": 1.5}, ValueError, "resample_below must be in [0, 1], got 1.5"),
        ({"energy": lambda x: x.sum(1) * math.nan}, ValueError, "chain 0 is NaN or -inf"),
        (
            {"sampler": lambda energy, x, beta, generator: x[1:]},
            ValueError,
            "anneal: sampler must return the shape of the states",
        ),
        ({"sampler": 3}, TypeError, "sampler must be callable"),
        ({"energy": 3}, TypeError, "energy must be callable"),
    ],
)
def test_bad_input_is_refused_by_name(changed, error, text):
    with pytest.raises(error) as caught:
        anneal(**{**FINE, **changed})
    assert text in str(caught.value)


def test_the_states_given_are_left_alone():
    x = torch.randn(6, 2, dtype=torch.float64, generator=seeded(17))
    before = x.clone()
    sampler = functools.partial(torch_ebm.mala, step_size=0.1)
    chains = anneal(FINE["energy"], x, linear_schedule(3), sampler)
    assert torch.equal(x, before) and not chains.x.requires_grad
