"""Step sizes along a path, found by a pilot run."""

import pytest
import torch
from torch.distributions import Independent, Normal

import torch_ebm
from known_values import seeded
from paths import Gaussians
from statistical_checks import check_law, check_mean

PATH = Gaussians(4, 1.0, 0.05)


@pytest.mark.parametrize("sampler, target", [("hmc", 0.8), ("mala", 0.574)])
def test_acceptance_along_the_path_is_near_its_target(sampler, target):
    x = PATH.exact(200, 0, seeded(1))
    tuning = torch_ebm.tune_path(PATH, x, sampler=sampler, generator=seeded(2))
    assert tuning.step_size.shape == (11,) and tuning.inverse_mass.shape == (11, 4)
    for beta in (0.1, 0.25, 1.0):  # at 0.25 both are interpolated
        x = PATH.exact(2000, beta, seeded(3))
        rate = tuning(PATH, x, beta=beta, n_steps=5, generator=seeded(4)).acceptance_rate.mean()
        assert target - 0.1 < rate < target + 0.25  # a short warm-up errs on the careful side


def test_between_temperatures_steps_are_geometric_and_masses_linear():
    betas = torch.tensor([0.2, 0.6, 1.0], dtype=torch.float64)
    step_size = torch.tensor([0.4, 0.1, 0.05], dtype=torch.float64)
    mass = torch.tensor([[1.0, 4.0], [2.0, 1.0], [3.0, 3.0]], dtype=torch.float64)
    tuning = torch_ebm.PathTuning("mala", betas, step_size, mass)
    path = Gaussians(2, 1.0, 0.5)
    x = path.exact(10, 0, seeded(5))
    for beta, step, inverse_mass in [
        (0.1, 0.4, [1.0, 4.0]),
        (0.4, 0.2, [4 / 3, 1.6]),
        (0.6, 0.1, [2.0, 1.0]),
        (1.1, 0.05, [3.0, 3.0]),
    ]:
        one = tuning(path, x, beta=beta, n_steps=3, generator=seeded(6)).x
        other = torch_ebm.mala(
            path,
            x,
            beta=beta,
            n_steps=3,
            step_size=step,
            inverse_mass=torch.tensor(inverse_mass, dtype=torch.float64),
            generator=seeded(6),
        ).x
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("sampler", ["hmc", "mala"])
def test_every_temperature_is_warmed_up_from_the_states_of_the_last(sampler):
    betas = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    x, generator = PATH.exact(20, 0, seeded(14)), seeded(15)
    options = {"sampler": sampler, "n_steps": 30, "target_acceptance": 0.4, "n_leapfrog": 3}
    tuning = torch_ebm.tune_path(PATH, x, betas, generator=seeded(15), **options)
    assert tuning.n_leapfrog == 3
    for r, beta in enumerate(betas):
        found = torch_ebm.warm_up(PATH, x, beta=beta, generator=generator, **options)
        x = found.x
        assert tuning.step_size[r] == found.step_size
        assert torch.equal(tuning.inverse_mass[r], found.inverse_mass)


def test_path_lengths_of_hmc_depend_on_the_temperature_alone():
    class Counting(Gaussians):
        calls = 0

        def __call__(self, x):
            self.calls += 1
            return super().__call__(x)

    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    tuning = torch_ebm.PathTuning("hmc", ends, 0.1 * torch.ones(2).double(), torch.ones(2, 1), 4)

    def length(beta, seed):
        path = Counting(1, 1.0, 0.5)
        tuning(path, path.exact(1, 0, seeded(seed)), beta=beta, generator=seeded(seed))
        return path.calls - 1  # the first is for the states given

    betas = torch.linspace(0, 1, 1001, dtype=torch.float64)
    lengths = torch.tensor([length(beta, 16) for beta in betas])
    assert [length(beta, 17) for beta in betas[:50]] == lengths[:50].tolist()
    # 4 (1 +- 0.5), evenly, rounded.
    check_law(lengths, torch.tensor([0, 0, 1, 2, 2, 2, 1]) / 8, "path lengths")


@pytest.mark.parametrize("sampler", ["hmc", "mala"])
def test_a_tuned_sampler_leaves_the_law_invariant(sampler):
    tuning = torch_ebm.tune_path(PATH, PATH.exact(50, 0, seeded(7)), sampler=sampler)
    x = PATH.exact(20_000, 0.7, seeded(8))
    last = tuning(PATH, x, beta=0.7, n_steps=5, generator=seeded(9)).x
    variance = 1 / PATH.precision(0.7)
    check_mean(last.square() / variance, 1.0, 2.0, "variance")


def test_it_is_what_ais_takes_by_default():
    path = Gaussians(4, 1.0, 0.3)
    base = Independent(Normal(torch.zeros(4).double(), 1.0), 1)
    estimate = torch_ebm.ais(lambda x: path(x), base, betas=300, generator=seeded(10))
    assert abs(estimate.log_z - path.log_z(1)) < estimate.upper - estimate.lower < 0.5


@pytest.mark.parametrize(
    "changed, text",
    [
        ({"sampler": "nuts"}, 'sampler must be "hmc" or "mala", got "nuts"'),
        ({"betas": torch.tensor([1.0, 0.0])}, "tune_path: betas must rise"),
        ({"betas": torch.tensor([0.0])}, "betas must hold at least two temperatures"),
        ({"n_steps": 5}, "n_steps must be at least 20"),
    ],
)
def test_bad_input_is_refused_by_name(changed, text):
    with pytest.raises(ValueError) as caught:
        torch_ebm.tune_path(PATH, PATH.exact(10, 0, seeded(11)), **changed)
    assert text in str(caught.value)


@pytest.mark.parametrize("sampler", ["hmc", "mala"])
def test_it_moves_the_rungs_of_a_ladder_each_by_its_own_tuning(sampler):
    tuning = torch_ebm.tune_path(PATH, PATH.exact(50, 0, seeded(12)), sampler=sampler, n_steps=50)
    betas = torch.tensor([1.0, 0.6, 0.1], dtype=torch.float64)
    x = torch.stack([PATH.exact(7000, beta.item(), seeded(13)) for beta in betas])
    ladder = torch_ebm.replica_exchange(PATH, x, betas, tuning, n_steps=3, generator=seeded(14))
    for rung, beta in zip(ladder.x, betas):
        variance = 1 / PATH.precision(beta)
        check_mean(rung.square() / variance, 1.0, 2.0, f"variance at {beta}")
    assert (ladder.swap_rate > 0).all()


def test_one_beta_a_chain_equals_one_call_a_temperature():
    tuning = torch_ebm.tune_path(PATH, PATH.exact(10, 0, seeded(12)), n_steps=20)
    x = PATH.exact(5, 0, seeded(13))
    beta = torch.tensor([0.8, 0.2, 0.8, 0.2, 0.8], dtype=torch.float64)
    both, generator = tuning(PATH, x, beta=beta, generator=seeded(15)), seeded(15)
    for value in (0.2, 0.8):
        rows = beta == value
        one = tuning(PATH, x[rows], beta=value, generator=generator)
        assert torch.equal(both.x[rows], one.x) and torch.equal(both.energy[rows], one.energy)
        assert torch.equal(both.acceptance_rate[rows], one.acceptance_rate)
    with pytest.raises(ValueError, match=r"PathTuning: beta must have shape \(N,\)"):
        tuning(PATH, x, beta=torch.ones(3))
