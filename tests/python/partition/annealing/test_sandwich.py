"""Two bounds on log Z and the estimate between them, against exact values."""

import functools
import math

import pytest
import torch

import torch_ebm
from energies import FullyVisible, Gaussian
from known_values import all_states, case, exact_samples, random_rbm, seeded, state_numbers
from statistical_checks import check_count, check_law, check_mean

KNOWN = "ais_rbm_6x4_s30"


def coins(n, logit=0.0):
    law = torch.distributions.Bernoulli(logits=torch.full((n,), logit, dtype=torch.float64))
    return torch.distributions.Independent(law, 1)


def machine(weight):
    """A fully visible machine of these couplings, the law of its states, and log Z."""
    n = len(weight)
    energy = FullyVisible(weight.triu(1) + weight.triu(1).t(), torch.zeros(n).double())
    log_f = -energy(all_states(n)).detach()
    return energy, log_f.softmax(0), log_f.logsumexp(0)


def coupled(n=5, scale=1.5):
    return machine(scale * torch.randn(n, n, dtype=torch.float64, generator=seeded(7)))


def close(estimate, exact, errors=4.0):
    return abs(estimate.log_z - exact) < errors * estimate.std_error


def test_the_bounds_bound_and_their_bridge_is_nearer_than_either():
    known = case(KNOWN)
    # Two temperatures: both ways are far from slow enough.
    found = torch_ebm.sandwich(
        known.rbm(),
        n_chains=4000,
        betas=2,
        base_visible_bias=known.array("bA"),
        generator=seeded(1),
    )
    exact, base = known["logZ"], known["logZ0"]
    assert found.exact_samples
    up = found.forward.log_weights + base
    down = base - found.reverse.log_weights
    assert up.mean() + 8 * up.std() / 4000**0.5 < exact < down.mean() - 8 * down.std() / 4000**0.5
    assert all(close(e, exact) for e in (found.forward, found.reverse, found.bridge))
    assert found.bridge.std_error < min(found.forward.std_error, found.reverse.std_error)
    assert found.bridge.std_error < 0.05


@pytest.mark.parametrize("n_temperatures", [1, 5])
def test_intervals_of_the_bridge_cover(n_temperatures):
    known, n_repeats, covered = case(KNOWN), 400, 0
    generator = seeded(2)
    for _ in range(n_repeats):
        found = torch_ebm.sandwich(
            known.rbm(),
            n_chains=50,
            betas=n_temperatures,
            base_visible_bias=known.array("bA"),
            generator=generator,
        )
        covered += bool(found.bridge.lower <= known["logZ"] <= found.bridge.upper)
    check_count(covered, n_repeats, 0.93, "coverage", "less")


def test_samples_may_be_given():
    energy, law, log_z = coupled()
    x = exact_samples(law, 3000, 5, seed=3)
    found = torch_ebm.sandwich(energy, coins(5), x=x, n_chains=2000, betas=20, generator=seeded(4))
    assert found.exact_samples and len(found.reverse.log_weights) == 3000
    assert all(close(e, log_z) for e in found[:3])


def test_the_default_for_binary_states_is_reversible():
    # Sweeps in a fixed order are not the same backwards, and bias the bridge, not the bounds.
    star = torch.zeros(5, 5).double()
    star[0, 1:] = 2.0
    energy, law, log_z = machine(star)
    x = exact_samples(law, 100_000, 5, seed=5)
    options = {"x": x, "n_chains": 100_000, "betas": 2, "generator": seeded(6)}
    found = torch_ebm.sandwich(energy, coins(5), **options)
    assert close(found.bridge, log_z)
    sweeps = torch_ebm.sandwich(energy, coins(5), torch_ebm.gibbs, **options)
    assert close(sweeps.forward, log_z) and close(sweeps.reverse, log_z)
    assert not close(sweeps.bridge, log_z, 6)


def test_chains_make_the_samples_of_a_model_that_gives_none():
    precision = torch.tensor([[2.0, 0.8], [0.8, 1.0]]).double()
    energy = Gaussian(torch.tensor([0.5, -1.0]).double(), precision)
    log_z = math.log(2 * math.pi) - 0.5 * torch.logdet(precision)
    law = torch.distributions.Normal(torch.zeros(2).double(), 2.0)
    found = torch_ebm.sandwich(
        energy,
        torch.distributions.Independent(law, 1),
        n_chains=200,
        betas=30,
        n_burn_in=20,
        generator=seeded(8),
    )
    assert not found.exact_samples
    assert "upper bound, only as far as the chains have mixed: log Z" in str(found)
    assert all(close(e, log_z) for e in found[:3]) and found.warning == ""


def test_a_large_rbm_gives_no_exact_samples():
    rbm = random_rbm(22, 21, 0.3, seed=9)
    found, exact = torch_ebm.sandwich(rbm, betas=200, generator=seeded(10)), rbm.log_z()
    assert not found.exact_samples and all(close(e, exact) for e in found[:3])


class Doubled(torch_ebm.RBM):
    def forward(self, visible):
        return 2 * super().forward(visible)


def test_an_rbm_with_another_energy_does_not_sample_its_own_law():
    rbm = Doubled(4, 3, dtype=torch.float64)
    rbm.tempered = None  # its path is the geometric one
    options = {"betas": 20, "n_burn_in": 5, "generator": seeded(11)}
    sampler = functools.partial(torch_ebm.gibbs, scan="random", n_steps=4)
    found = torch_ebm.sandwich(rbm, coins(4), sampler, **options)
    assert not found.exact_samples
    assert close(found.forward, torch_ebm.exact_log_z(rbm, 4, dtype=torch.float64))


def test_bounds_far_apart_are_said_to_be():
    rbm = random_rbm(16, 16, 2.0, seed=12)
    found = torch_ebm.sandwich(rbm, n_chains=50, betas=1, generator=seeded(13))
    gap = (found.reverse.log_z - found.forward.log_z).item()
    assert gap > 1 and f"disagree by {gap:.1f} nats" in found.warning
    assert str(found).endswith(found.warning)
    slow = torch_ebm.sandwich(random_rbm(6, 4, 1.0, seed=12), betas=300, generator=seeded(13))
    assert slow.warning == "" and str(slow).count("\n") == 2


def test_bounds_the_wrong_way_round_are_said_to_be():
    energy, _, _ = coupled(scale=0.5)
    worst = all_states(5)[energy(all_states(5)).argmax()]
    x = worst.repeat(20, 1)
    found = torch_ebm.sandwich(energy, coins(5), x=x, n_chains=4000, betas=1, generator=seeded(14))
    crossed = (found.forward.log_z - found.reverse.log_z).item()
    assert found.forward.lower - found.reverse.upper > 0.1
    assert f"{crossed:.1f} nats below" in found.warning


def test_intervals_apart_are_a_disagreement_however_small():
    def warning(*numbers):
        return torch.ops.torch_ebm.sandwich_warning(*numbers)

    assert "disagree by 0.5 nats" in warning(0.0, -0.1, 0.1, 0.5, 0.4, 0.6)
    assert warning(0.0, -0.2, 0.2, 0.5, 0.25, 0.75) == ""  # apart, but by less than 0.1
    assert "disagree by 1.5 nats" in warning(0.0, -2.0, 2.0, 1.5, -1.0, 3.0)
    assert "0.5 nats below" in warning(0.5, 0.4, 0.6, 0.0, -0.1, 0.1)
    assert warning(1.5, -1.0, 3.0, 0.0, -2.0, 2.0) == ""


def test_bounds_that_touch_but_for_roundings_are_not_doubted():
    rbm = torch_ebm.RBM(6, 4, dtype=torch.float64)
    torch.nn.init.zeros_(rbm.weight)
    found = torch_ebm.sandwich(rbm, n_chains=10, betas=3)
    assert found.warning == "" and found.bridge.log_z.item() == pytest.approx(10 * math.log(2))


def test_the_generator_decides():
    rbm = random_rbm(6, 4, 1.0, seed=15)
    one, again = (
        torch_ebm.sandwich(rbm, n_chains=9, betas=5, generator=seeded(16)) for _ in range(2)
    )
    assert torch.equal(one.reverse.log_weights, again.reverse.log_weights)
    other = torch_ebm.sandwich(rbm, n_chains=9, betas=5)
    assert not torch.equal(one.forward.log_weights, other.forward.log_weights)


def test_what_is_refused():
    rbm = random_rbm(4, 3, 1.0, seed=17)
    with pytest.raises(ValueError, match="n_burn_in must be at least 0, got -1"):
        torch_ebm.sandwich(rbm, n_burn_in=-1)
    with pytest.raises(ValueError, match="base must be given"):
        torch_ebm.sandwich(rbm.forward)
    with pytest.raises(ValueError, match="n_chains must be at least 2, got 1"):
        torch_ebm.sandwich(rbm, n_chains=1)


# --- Samples from a run ---------------------------------------------------------------------------


@pytest.mark.parametrize("n_burn_in", [0, 10])
def test_resampled_states_follow_the_model(n_burn_in):
    # Two temperatures: the last states alone, before they are drawn anew, are far from the model.
    known = case(KNOWN)
    rbm, n = known.rbm(), 20_000
    law = (-rbm(all_states(6))).softmax(0).detach()
    run = torch_ebm.AISRun(rbm, n_chains=n, betas=torch.tensor([0, 0.4, 1]), generator=seeded(18))
    run.run()
    x = run.samples(n_burn_in)
    # Copies of a state are no independent draws: only some, drawn at random, are counted.
    chosen = torch.randperm(n, generator=seeded(19))[:1000]
    check_law(state_numbers(x)[chosen], law)


@pytest.mark.parametrize("generic", [False, True])
def test_samples_of_a_run_are_those_that_the_operators_draw(generic):
    # The C++ sandwich draws by the same operators, see its test.
    rbm, n = random_rbm(6, 4, 2.0, seed=24), 50
    sampler = functools.partial(torch_ebm.gibbs, scan="random")
    arguments = (rbm, coins(6), sampler) if generic else (rbm,)
    run = torch_ebm.AISRun(*arguments, n_chains=n, batch_size=20, betas=2, generator=seeded(25))
    run.run()
    log_weights = run.estimate().log_weights
    last = torch.cat(run.state_dict()["ended"])
    generator = torch.Generator()
    generator.set_state(run.state_dict()["generator"])
    # Systematic resampling, written out.
    ops, choice = torch.ops.torch_ebm, 7
    key = ops._draw_key(log_weights, generator=generator)
    u = ops._uniform_numbers(torch.empty(1).double(), key, 0, choice)
    chosen = torch.searchsorted(log_weights.softmax(0).cumsum(0), (torch.arange(n) + u) / n)
    x = last[chosen]
    assert len(chosen.unique()) < n
    for _ in range(2 if generic else 0):
        x = sampler(run._path.path, x, beta=1.0, generator=generator).x
    if not generic:
        x = rbm.gibbs(x, 2, generator=generator)
    assert torch.equal(run.samples(2), x)


def test_a_finished_run_that_was_loaded_moves_its_samples_by_the_sampler_it_found():
    law = torch.distributions.Normal(torch.zeros(2).double(), 2.0)
    base = torch.distributions.Independent(law, 1)
    run, other = (
        torch_ebm.AISRun(lambda x: x.square().sum(1), base, n_chains=9, betas=3, generator=g)
        for g in (seeded(26), seeded(27))
    )
    run.run()
    other.load_state_dict(run.state_dict())
    assert torch.equal(run.samples(2), other.samples(2))


def test_a_run_that_was_saved_gives_the_same_samples():
    rbm = random_rbm(6, 4, 1.0, seed=20)
    run, other = (
        torch_ebm.AISRun(rbm, n_chains=10, batch_size=4, betas=7, generator=seeded(i))
        for i in (21, 22)
    )
    with pytest.raises(ValueError, match="samples need a finished run up to the model"):
        run.samples()
    run.run()
    other.load_state_dict(run.state_dict())
    assert torch.equal(run.samples(3), other.samples(3))
    down = torch_ebm.AISRun(rbm, x=run.samples(), betas=7)
    down.run()
    with pytest.raises(ValueError, match="samples need a finished run up to the model"):
        down.samples()


def test_a_scripted_sampler_moves_the_samples():
    class Flip(torch.nn.Module):
        def forward(self, x: torch.Tensor, beta: torch.Tensor, generator: torch.Generator):
            return 1 - x

    def run():
        path = (lambda x: 0 * x[:, 0], coins(3, 1.0), torch.jit.script(Flip()))
        run = torch_ebm.AISRun(*path, n_chains=50, betas=1, generator=seeded(23))
        run.run()
        return run

    assert torch.equal(run().samples(1), 1 - run().samples(0))


def test_the_bridge_of_the_default_sampler_of_continuous_states_has_an_honest_error():
    # HMC whose path length is drawn in every step for all chains: 0.37 covered here.
    base = torch.distributions.Independent(
        torch.distributions.Normal(torch.zeros(3).double(), 2.0), 1
    )

    def energy(x):
        return (x - 1).square().sum(1)

    path = torch_ebm.annealed_energy(energy, base)
    sampler = torch_ebm.tune_path(path, base.sample((100,)), n_leapfrog=5, generator=seeded(31))
    z = []
    for seed in range(60):
        x = 1 + torch.randn(1000, 3, dtype=torch.float64, generator=seeded(100 + seed)) / 2**0.5
        found = torch_ebm.sandwich(
            energy, base, sampler, x=x, betas=10, n_chains=1000, generator=seeded(seed)
        ).bridge
        z.append((found.log_z - 1.5 * math.log(math.pi)) / found.std_error)
    check_mean(torch.stack(z).square(), 1.0, 2.0, "mean square of the error over its estimate")
