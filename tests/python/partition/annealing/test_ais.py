"""Annealed importance sampling against exact moments of its weights."""

import functools
import math

import pytest
import torch

import torch_ebm
from known_values import case, embedded, random_rbm, seeded
from statistical_checks import check_count, check_mean

CASES = ["ais_rbm_6x4_s30", "ais_rbm_7x5_s31"]


def run(known, n_temperatures, n_chains, dtype, seed):
    return torch_ebm.ais(
        known.rbm(dtype),
        n_chains=n_chains,
        betas=torch.linspace(0, 1, n_temperatures + 1, dtype=torch.float64),
        base_visible_bias=known.array("bA").to(dtype),
        generator=seeded(seed),
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n_temperatures", [2, 10, 50])
@pytest.mark.parametrize("name", CASES)
def test_weights_have_the_exact_moments(name, n_temperatures, dtype):
    known, k = case(name), f"[K={n_temperatures}]"
    estimate = run(known, n_temperatures, 20_000, dtype, seed=91)
    log_w = estimate.log_weights
    assert log_w.dtype == torch.float64
    check_mean(log_w, known["E_logw" + k], known["var_logw" + k], "mean log weight")
    if n_temperatures >= 10:  # with fewer, the mean of 20,000 weights is far from normal
        ratio = torch.exp(log_w - known["log_E_w" + k])
        check_mean(ratio, 1.0, known["relvar_w" + k], "mean weight")


@pytest.mark.parametrize("name", CASES)
def test_base_log_z_is_added(name):
    known = case(name)
    estimate = run(known, 10, 50, torch.float64, seed=92)
    base = estimate.log_z - (torch.logsumexp(estimate.log_weights, 0) - math.log(50))
    assert base.item() == pytest.approx(known["logZ0"], abs=1e-10)


@pytest.mark.parametrize("with_base", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "rbm_4x3_s10",
        "rbm_6x4_s11",
        "rbm_12x8_s12",
        "rbm_100x14_s15",
        "rbm_784x16_s16",
        "rbm_cd_5x3_s20",
        "digits_rbm64x12_s900",
        "digits_rbm64x8_s901",
    ],
)
def test_estimate_agrees_with_the_exact_value(name, with_base):
    known = case(name)
    base = None
    if with_base:
        stored = "train" if name.startswith("digits") else "data"
        base = torch_ebm.base_rate_bias(known.array(stored))
    large = known.params["nv"] > 500
    estimate = torch_ebm.ais(
        known.rbm(),
        n_chains=100 if large else 1000,
        betas=torch.linspace(0, 1, 301, dtype=torch.float64),
        base_visible_bias=base,
        generator=seeded(93),
    )
    # The interval of 95% twice over: |z| = 3.9, which a correct estimate exceeds once in 10,000.
    assert abs(estimate.log_z - known["logZ"]) < estimate.upper - estimate.lower
    assert estimate.upper - estimate.lower < 0.3


def test_intervals_cover_the_exact_value_and_are_not_wide():
    n_models, covered, widths = 200, 0, []
    for seed in range(n_models):
        rbm = random_rbm(8, 6, 0.7, seed=1000 + seed, dtype=torch.float32)
        estimate = torch_ebm.ais(
            rbm, betas=torch.linspace(0, 1, 101, dtype=torch.float64), generator=seeded(seed)
        )
        covered += bool(estimate.lower <= rbm.log_z() <= estimate.upper)
        widths.append((estimate.upper - estimate.lower).item())
    assert covered >= 0.9 * n_models
    check_count(covered, n_models, 0.93, "coverage", "less")
    assert sorted(widths)[n_models // 2] < 0.2


def test_zero_weights_give_the_exact_value_with_no_variance():
    rbm = torch_ebm.RBM(20, 5, dtype=torch.float64)
    with torch.no_grad():
        rbm.weight.zero_()
        rbm.visible_bias.normal_()
        rbm.hidden_bias.normal_()
    estimate = torch_ebm.ais(rbm, n_chains=10, base_visible_bias=rbm.visible_bias)
    assert estimate.log_z.item() == pytest.approx(rbm.log_z().item(), abs=1e-10)
    assert estimate.std_error.item() < 1e-10
    assert estimate.ess.item() == pytest.approx(10) and estimate.warning == ""


def test_uneven_betas_are_used_as_they_are():
    known = case("ais_rbm_6x4_s30")
    estimate = torch_ebm.ais(
        known.rbm(),
        n_chains=100_000,
        betas=torch.tensor([0, 0.02, 0.1, 0.11, 0.5, 0.9, 1.0]).double(),
        base_visible_bias=known.array("bA"),
        generator=seeded(94),
    )
    ratio = torch.exp(estimate.log_weights - known["log_E_w[K=10]"])
    check_mean(ratio, 1.0, what="mean weight")


@pytest.mark.parametrize("name", CASES)
def test_a_large_rbm_has_the_weights_of_the_small_one_inside_it(name):
    # Small weights stay in a processor's cache; large ones go through matrix products.
    known = case(name)
    small, large = known.rbm(), embedded(known.rbm(), 700, 400)
    base = torch.zeros(700, dtype=torch.float64)
    base[: small.n_visible] = known.array("bA")
    one, other = (
        torch_ebm.ais(
            rbm,
            n_chains=100,
            betas=torch.linspace(0, 1, 51, dtype=torch.float64),
            base_visible_bias=base[: rbm.n_visible],
            generator=seeded(98),
        )
        for rbm in (small, large)
    )
    torch.testing.assert_close(one.log_weights, other.log_weights, rtol=1e-10, atol=1e-10)


def test_last_states_follow_the_model_when_annealing_is_slow():
    known = case("ais_rbm_6x4_s30")
    rbm = known.rbm()
    log_w, visible = torch.ops.torch_ebm.rbm_ais(
        rbm.weight,
        rbm.visible_bias,
        rbm.hidden_bias,
        known.array("bA"),
        torch.linspace(0, 1, 51, dtype=torch.float64),
        n_chains=20_000,
        generator=seeded(96),
    )
    assert ((visible == 0) | (visible == 1)).all()
    rbm.log_z().backward()
    mean = rbm.visible_bias.grad
    check_mean(visible, mean, mean * (1 - mean), "mean of the last states")


def test_estimate_prints_itself():
    text = str(torch_ebm.ais(random_rbm(4, 3, 1.0, seed=97), n_chains=10))
    assert text.startswith("log Z = ") and "ESS" in text and "of 10" in text


def test_one_chain_is_refused_before_any_work():
    generator = seeded(1)
    before = generator.get_state()
    with pytest.raises(ValueError, match="ais: n_chains must be at least 2, got 1"):
        torch_ebm.ais(random_rbm(4, 3, 1.0, seed=1), n_chains=1, generator=generator)
    assert torch.equal(generator.get_state(), before)


def test_a_beta_too_small_to_divide_by_is_refused():
    with pytest.raises(ValueError, match="first beta after 0 must be at least"):
        torch_ebm.ais(random_rbm(4, 3, 1.0, seed=1), betas=torch.tensor([0, 1e-30, 1.0]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_makes_the_weights_of_float(dtype):
    rbm = random_rbm(5, 3, 0.5, seed=7, dtype=torch.float32).to(dtype)
    base = torch.full((5,), 2.0)
    betas = torch.tensor([0, 1e-5, 0.5, 1])
    estimate = torch_ebm.ais(
        rbm, betas=betas, base_visible_bias=base.to(dtype), generator=seeded(3)
    )
    expected = torch_ebm.ais(rbm.float(), betas=betas, base_visible_bias=base, generator=seeded(3))
    assert estimate.log_z == expected.log_z
    assert estimate.log_weights.dtype == torch.float64


@pytest.mark.parametrize("n_steps", [2, 10, 50])
@pytest.mark.parametrize("name", CASES)
def test_weights_of_the_way_down_have_the_exact_moments(name, n_steps):
    known, k = case(name), f"[K={n_steps}]"
    rbm = known.rbm()
    x = rbm.sample(20_000, seeded(8))
    estimate = torch_ebm.reverse_ais(
        rbm, x, betas=n_steps, base_visible_bias=known.array("bA"), generator=seeded(9)
    )
    check_mean(
        -estimate.log_weights, known["rev_E_logw" + k], known["rev_var_logw" + k], "mean log weight"
    )
    error = (known["logZ"] - estimate.log_z).abs()
    assert error < 3 * (estimate.upper - estimate.lower)
    assert estimate.betas[0] == 1 and estimate.betas[-1] == 0


@pytest.mark.parametrize("offset", [0.0, 1e5])
def test_a_base_that_is_not_the_law_at_zero_is_refused(offset):
    class OwnPath:
        def __call__(self, x):
            return (x - 1).square().sum(1)

        def base_energy(self, x):
            return x.square().sum(1) / 8 + offset

    def normal(scale):
        law = torch.distributions.Normal(torch.zeros(3).double(), scale)
        return torch.distributions.Independent(law, 1)

    mala = functools.partial(torch_ebm.mala, step_size=0.1)
    x = torch.ones(1, 3, dtype=torch.float64)
    for run in (
        lambda base: torch_ebm.ais(OwnPath(), base, mala, n_chains=20, betas=50),
        lambda base: torch_ebm.raise_log_likelihood(OwnPath(), x, base, mala, betas=10),
    ):
        with pytest.raises(ValueError, match="base must be the distribution that the energy"):
            run(normal(1.0))
        run(normal(2.0))


def stay(energy, x, *, beta, generator):
    return x


class Shifted:
    """A path from N(0, 2^2); if wrong, with 0.1 more where the first coordinate is positive."""

    def __init__(self, offset, wrong):
        self.offset, self.wrong = offset, wrong

    def __call__(self, x):
        return x.square().sum(1)

    def base_energy(self, x):
        energy = x.square().sum(1) / 8 + self.offset
        return energy + 0.1 * (x[:, 0] > 0) if self.wrong else energy


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_a_right_base_is_not_refused_for_the_rounding_of_its_states(dtype):
    base = torch.distributions.Independent(
        torch.distributions.Normal(torch.zeros(30, dtype=dtype), 2.0), 1
    )
    estimate = torch_ebm.ais(Shifted(10.0, False), base, stay, n_chains=10, betas=1)
    exact = 15 * math.log(8 * math.pi) - 10
    log_z_base = estimate.log_z - estimate.log_weights.logsumexp(0) + math.log(10)
    eps = torch.finfo(dtype).eps
    assert abs(log_z_base - exact) < 1e-5 + 200 * eps  # of sums of 30 numbers, below 100


@pytest.mark.parametrize("offset, told", [(1e3, [32, 64]), (1e6, [64])])
def test_a_wrong_base_is_told_as_far_as_the_precision_of_its_states_reaches(offset, told):
    for dtype in (torch.float32, torch.float64):
        law = torch.distributions.Normal(torch.zeros(3, dtype=dtype), 2.0)
        base = torch.distributions.Independent(law, 1)
        run = functools.partial(torch_ebm.ais, base=base, sampler=stay, n_chains=10, betas=1)
        run(Shifted(offset, False))
        if torch.finfo(dtype).bits in told:
            with pytest.raises(ValueError, match="base must be the distribution that the energy"):
                run(Shifted(offset, True))
        else:
            run(Shifted(offset, True))


def test_a_base_with_states_that_the_path_forbids_is_refused():
    class Half(Shifted):
        def base_energy(self, x):
            return super().base_energy(x).masked_fill(x[:, 0] > 0, math.inf)

    law = torch.distributions.Normal(torch.zeros(3).double(), 2.0)
    with pytest.raises(ValueError, match="base must be the distribution that the energy"):
        torch_ebm.ais(Half(0.0, False), torch.distributions.Independent(law, 1), stay, betas=1)


@pytest.mark.parametrize(
    "base",
    [
        torch.distributions.Gamma(torch.full((2,), 2.0).double(), 1.0),
        torch.distributions.Uniform(torch.zeros(2).double(), 5.0),
        torch.distributions.Exponential(torch.ones(2).double()),
    ],
)
def test_bounded_bases_do_with_the_default_sampler(base):
    def energy(x):
        return (2 * x).sum(1)

    estimate = torch_ebm.ais(
        energy, torch.distributions.Independent(base, 1), betas=100, generator=seeded(11)
    )
    top = 5.0 if isinstance(base, torch.distributions.Uniform) else math.inf
    exact = 2 * math.log((1 - math.exp(-2 * top)) / 2)
    assert abs(estimate.log_z - exact) < estimate.upper - estimate.lower


def test_one_hot_states_are_moved_by_categorical_gibbs():
    field = torch.tensor([[0.5, -1.0, 2.0], [0.0, 1.0, 0.3]]).double()
    base = torch.distributions.OneHotCategorical(torch.full((2, 3), 1 / 3).double())
    estimate = torch_ebm.ais(
        lambda x: -(x * field).sum((1, 2)),
        torch.distributions.Independent(base, 1),
        betas=50,
        generator=seeded(12),
    )
    exact = field.logsumexp(1).sum()
    assert abs(estimate.log_z - exact) < estimate.upper - estimate.lower


def test_few_groups_that_agree_give_no_warning():
    rbm = random_rbm(6, 4, 0.5, seed=13)
    base = torch.distributions.Independent(
        torch.distributions.Bernoulli(torch.full((6,), 0.5).double()), 1
    )
    estimate = torch_ebm.ais(
        rbm,
        base,
        torch_ebm.gibbs,
        n_chains=400,
        n_groups=8,
        resample_below=0.5,
        betas=50,
        generator=seeded(14),
    )
    assert len(estimate.log_weights) == 8 and estimate.ess > 7 and estimate.warning == ""
    assert abs(estimate.log_z - rbm.log_z()) < estimate.upper - estimate.lower < 0.2


@pytest.mark.parametrize(
    "base, text",
    [
        (
            torch.distributions.Normal(torch.zeros(3), 1.0),
            r"ais: the base's log_prob must have shape \(50,\) .* torch.distributions.Independent",
        ),
        (
            torch.distributions.Independent(torch.distributions.Poisson(torch.ones(2)), 1),
            "ais: sampler must be given for a base of discrete states",
        ),
    ],
)
def test_bases_that_cannot_be_used_are_named(base, text):
    with pytest.raises(ValueError, match=text):
        torch_ebm.ais(lambda x: x.square().sum(1), base)


def test_the_pilot_run_is_as_long_as_the_run():
    n_calls = 0

    def energy(x):
        nonlocal n_calls
        n_calls += 1
        return (x - 1).square().sum(1)

    base = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2), 1.0), 1)
    estimate = torch_ebm.ais(energy, base, betas=3, n_chains=20, generator=seeded(50))
    assert n_calls < 900 and estimate.log_z.isfinite()


@pytest.mark.parametrize("n_stages, total", [(1, 60), (3, 60), (100, 125), (300, 330), (1000, 1100)])
def test_a_pilot_run_has_about_as_many_steps_as_the_run(n_stages, total):
    betas, n_steps = torch.ops.torch_ebm._pilot_run(n_stages)
    assert len(betas) * n_steps == total and betas[0] == 0 and betas[-1] == 1


def spin_glass(seed):
    """19x11 spins with couplings N(0, 1.5^2) and no fields, and base rates of one mode and of all."""
    g = seeded(seed)
    weight = 6 * torch.randn(19, 11, generator=g)
    rbm = torch_ebm.RBM.from_tensors(weight, -weight.sum(1) / 2, -weight.sum(0) / 2)
    start = torch.randint(2, (1, 19), generator=g).float().repeat(500, 1)
    of_one = torch_ebm.base_rate_bias(rbm.gibbs(start, 30, generator=g))
    return rbm.requires_grad_(False), of_one, torch_ebm.base_rate_bias(rbm.sample(500, g))


def test_chains_that_miss_a_nat_from_a_base_of_the_callers_warn_and_others_do_not():
    n_warned, n_missed, n_false, n_right = 0, 0, 0, 0
    for seed in range(70):
        rbm, *rates = spin_glass(1000 + seed)
        exact = rbm.log_z()
        for base in rates:
            e = torch_ebm.ais(rbm, base_visible_bias=base, betas=100, generator=seeded(seed))
            of_base = "10 chains from the uniform base find" in e.warning
            if e.warning and not of_base:
                continue
            if e.log_z < exact - 1:
                n_missed, n_warned = n_missed + 1, n_warned + of_base
            elif e.upper >= exact:
                n_right, n_false = n_right + 1, n_false + of_base
    assert n_missed >= 8 and n_right >= 50 and n_warned >= 0.7 * n_missed
    check_count(n_warned, n_missed, 0.8, "misses of a nat that warn", "less")
    check_count(n_false, n_right, 0.05, "false alarms", "greater")  # at most, by Markov's inequality


def test_the_default_base_is_uniform_and_its_chains_do_not_warn():
    for seed in range(5):
        rbm, *_ = spin_glass(300 + seed)
        e, same = (
            torch_ebm.ais(rbm, betas=100, generator=seeded(seed), **options)
            for options in ({}, {"base_visible_bias": torch.zeros(19)})
        )
        assert e.log_z == same.log_z and "base" not in e.warning


def test_the_check_of_the_base_leaves_the_generator_and_the_numbers_alone():
    rbm, rates, _ = spin_glass(200)
    one, other = seeded(5), seeded(5)
    betas = torch_ebm.linear_schedule(20)
    run = torch_ebm.AISRun(rbm, n_chains=50, betas=betas, base_visible_bias=rates, generator=one)
    estimate = run.run()
    log_w, x = None, None
    for end in range(1, 21):  # AISRun has a stage for every temperature here
        log_w, x = torch.ops.torch_ebm.rbm_ais(
            rbm.weight,
            rbm.visible_bias,
            rbm.hidden_bias,
            rates,
            betas[end - 1 : end + 1],
            n_chains=50,
            visible=x,
            log_weights=log_w,
            generator=other,
        )
    assert torch.equal(estimate.log_weights, log_w)
    assert torch.equal(one.get_state(), other.get_state())
    assert run.estimate().warning == estimate.warning
