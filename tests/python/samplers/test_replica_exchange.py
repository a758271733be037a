"""Replica exchange: the product law is left invariant, swaps are accepted at the exact rates, replicas travel."""

import functools

import pytest
import torch

import torch_ebm
from energies import FullyVisible, ising_energy, standard_normal
from known_values import all_states, case, exact_samples, seeded, state_numbers
from statistical_checks import check_law, check_mean

gibbs = torch_ebm.gibbs
BETAS = [1.0, 0.6, 0.3, 0.0]


def stay(energy, x, *, beta, generator):
    """Leaves every law invariant."""
    return x


def ladder_of(laws, n_chains, n_units, seed):
    """Exact samples of every rung, (R, N, n_units)."""
    return torch.stack(
        [exact_samples(law, n_chains, n_units, seed + r) for r, law in enumerate(laws)]
    )


def rung_laws(energy, betas, n_units):
    states = all_states(n_units)
    tempered = getattr(energy, "tempered", lambda x, beta: beta * energy(x))
    with torch.no_grad():
        return [torch.softmax(-tempered(states, torch.tensor(b).double()), 0) for b in betas]


def fully_visible():
    known = case("kernels_fvbm_n6_s60")
    return FullyVisible(known.array("W"), known.array("b"))


# --- The law --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["fvbm", "rbm"])
@pytest.mark.parametrize("sampler", [gibbs, stay], ids=["gibbs", "swaps alone"])
def test_the_product_of_the_rungs_laws_is_invariant(kind, sampler):
    energy = fully_visible() if kind == "fvbm" else case("kernels_rbm_6x4_s62").rbm()
    laws = rung_laws(energy, BETAS, 6)
    x = ladder_of(laws, 50_000, 6, seed=400)
    after = torch_ebm.replica_exchange(
        energy, x, BETAS, sampler, n_steps=3, generator=seeded(401)
    ).x
    numbers = torch.stack([state_numbers(rung) for rung in after])
    for rung, law in enumerate(laws):
        check_law(numbers[rung], law, f"rung {rung}")
    for rung in range(3):  # and neighbours stay independent
        joint = torch.outer(laws[rung], laws[rung + 1]).flatten()
        check_law(64 * numbers[rung] + numbers[rung + 1], joint, f"rungs {rung} and {rung + 1}")


def test_two_normal_rungs_keep_their_variances():
    sampler = functools.partial(torch_ebm.mala, step_size=0.5)
    betas = [1.0, 0.25]
    x = torch.randn(2, 40_000, 1, generator=seeded(402)).double()
    x[1] *= 2
    out = torch_ebm.replica_exchange(
        standard_normal, x, betas, sampler, n_steps=6, generator=seeded(403)
    )
    for rung, variance in enumerate([1.0, 4.0]):
        check_mean(out.x[rung].square(), variance, 2 * variance**2, f"variance of rung {rung}")


# --- Rates ----------------------------------------------------------------------------------------


def lattice(rows, cols, periodic):
    couplings = torch.zeros(rows * cols, rows * cols).double()
    for r in range(rows):
        for c in range(cols):
            for dr, dc in ((0, 1), (1, 0)):
                if periodic or (r + dr < rows and c + dc < cols):
                    other = (r + dr) % rows * cols + (c + dc) % cols
                    couplings[r * cols + c, other] += 1
                    couplings[other, r * cols + c] += 1
    return ising_energy(couplings, 0.0, 1.0)


@pytest.mark.parametrize("name", ["pt_swap_4x4_p", "pt_swap_3x3_f"])
def test_swap_rates_are_the_exact_ones(name):
    params = case(name).params
    energy = lattice(params["rows"], params["cols"], params["periodic"])
    betas, n_units = params["betas"][::-1], params["rows"] * params["cols"]
    x = ladder_of(rung_laws(energy, betas, n_units), 40_000, n_units, seed=410)
    exact = [case(name)[f"swap_accept[{a:g},{b:g}]"] for b, a in zip(betas, betas[1:])]
    for first_step in (0, 1):  # every pair is tried at its exact start
        rates = torch.stack(
            [
                torch_ebm.replica_exchange(
                    energy, part, betas, stay, first_step=first_step, generator=seeded(411)
                ).swap_rate
                for part in x.split(400, 1)
            ]
        )
        for pair, rate in enumerate(exact):
            if pair % 2 == first_step:
                check_mean(rates[:, pair], rate, what=f"{name}, pair {pair}")
            else:
                assert rates[:, pair].isnan().all()


def test_an_rbm_swaps_by_its_tempered_free_energy():
    rbm, beta = case("kernels_rbm_6x4_s62").rbm(), torch.tensor([1.0, 0.4]).double()
    with torch.no_grad():
        cold, hot = (rbm.tempered(all_states(6), b) for b in beta)
    p, q = torch.softmax(-cold, 0), torch.softmax(-hot, 0)
    ratio = cold[:, None] + hot[None] - cold[None] - hot[:, None]
    exact = (p[:, None] * q[None] * ratio.exp().clamp(max=1)).sum()
    x = ladder_of([p, q], 100_000, 6, seed=412)
    rates = [
        torch_ebm.replica_exchange(rbm, part, beta, stay, generator=seeded(413)).swap_rate
        for part in x.split(500, 1)
    ]
    check_mean(torch.cat(rates), exact, what="swap rate of an RBM")


# --- Who is where ---------------------------------------------------------------------------------


def test_replicas_travel_as_a_naive_trace_says():
    def zero(x):
        return 0 * x.sum(1)  # every swap is accepted

    n_rungs, n_chains, n_steps = 5, 3, 20
    x = torch.arange(n_rungs).double()[:, None, None].repeat(1, n_chains, 1)
    out = torch_ebm.replica_exchange(
        zero, x, [1.0, 0.8, 0.6, 0.4, 0.2], stay, n_steps=n_steps, thin=1
    )
    every = torch_ebm.replica_exchange(
        zero, x, [1.0, 0.8, 0.6, 0.4, 0.2], stay, n_steps=n_steps, thin=1, all_rungs=True
    )
    holds, rung_of = list(range(n_rungs)), []
    for step in range(n_steps):
        for r in range(step % 2, n_rungs - 1, 2):
            holds[r], holds[r + 1] = holds[r + 1], holds[r]
        rung_of.append([holds.index(replica) for replica in range(n_rungs)])
        assert (out.trajectory[step] == holds[0]).all()
        assert (every.trajectory[step] == torch.tensor(holds)[:, None, None]).all()
    expected = torch.tensor(rung_of, dtype=torch.int16)[:, :, None].expand(-1, -1, n_chains)
    assert torch.equal(out.replica, expected)
    assert torch.equal(out.x[:, 0, 0], torch.tensor(holds).double())
    assert out.swap_rate.tolist() == [1, 1, 1, 1]


def test_replica_follows_the_states():
    x = torch.randn(4, 50, 2, generator=seeded(420)).double()
    out = torch_ebm.replica_exchange(
        standard_normal, x, [1.0, 0.7, 0.4, 0.2], stay, n_steps=7, generator=seeded(421)
    )
    last = out.replica[-1].long()
    assert torch.equal(out.x.gather(0, last[:, :, None].expand_as(x)), x)
    assert (last != torch.arange(4)[:, None]).any()


# --- The run --------------------------------------------------------------------------------------


def start(n_chains=5):
    return ladder_of(rung_laws(fully_visible(), BETAS, 6), n_chains, 6, seed=430)


def test_the_sampler_is_called_once_a_step_with_a_beta_for_every_row():
    calls = []

    def sampler(energy, x, *, beta, generator):
        calls.append((x.shape, beta.clone()))
        return x

    torch_ebm.replica_exchange(fully_visible(), start(2), BETAS, sampler, n_steps=3)
    assert len(calls) == 3 and calls[0][0] == (8, 6)
    assert calls[0][1].tolist() == [1, 1, 0.6, 0.6, 0.3, 0.3, 0, 0]


def test_an_energy_without_tempering_is_called_once_a_step():
    model, calls = fully_visible(), []

    def energy(x):
        calls.append(x)
        return model(x)

    torch_ebm.replica_exchange(energy, start(), BETAS, stay, n_steps=3)
    assert len(calls) == 3


def test_two_short_runs_are_one_long_run():
    run = functools.partial(torch_ebm.replica_exchange, fully_visible(), betas=BETAS, sampler=stay)
    x = start(200)
    half = run(x, n_steps=1, generator=seeded(1)).x
    odd = run(half, n_steps=1, first_step=1, generator=seeded(2))
    assert odd.swap_rate.isnan().tolist() == [True, False, True]
    assert torch.equal(odd.x[0], half[0])


def test_inplace_writes_into_x_and_otherwise_it_is_kept():
    x, generator = start().transpose(1, 2).contiguous().transpose(1, 2), seeded(3)
    before = x.clone()
    out = torch_ebm.replica_exchange(
        fully_visible(), x, BETAS, gibbs, n_steps=3, thin=2, generator=generator
    )
    assert torch.equal(x, before) and out.trajectory.shape == (1, 5, 6)
    same = torch_ebm.replica_exchange(
        fully_visible(), x, BETAS, gibbs, n_steps=3, inplace=True, generator=seeded(3)
    )
    assert same.x is x and torch.equal(x, out.x)


def test_if_the_sampler_raises_the_last_complete_step_is_left():
    calls = 0

    def sampler(energy, x, *, beta, generator):
        nonlocal calls
        calls += 1
        x += 1
        if calls == 3:
            raise KeyError("no")
        return x

    x = torch.zeros(2, 3, 1).double()
    with pytest.raises(KeyError):
        torch_ebm.replica_exchange(standard_normal, x, [1.0, 0.5], sampler, n_steps=5, inplace=True)
    assert (x == 2).all()


def test_nan_and_infinite_energies_are_never_swapped():
    x = torch.tensor([[[0.0], [0.0], [0.0]], [[1.0], [2.0], [3.0]]]).double()

    def energy(x):
        table = torch.tensor([5.0, float("nan"), float("inf"), 0.0]).double()
        return table[x.flatten().long()]

    out = torch_ebm.replica_exchange(energy, x, [1.0, 0.5], stay)
    assert out.x.flatten().tolist() == [0, 0, 3, 1, 2, 0]


class MalaOf(torch.nn.Module):
    def __init__(self, energy):
        super().__init__()
        self.energy = energy

    def forward(
        self, x: torch.Tensor, beta: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        return torch.ops.torch_ebm.mala(
            self.energy, x, step_size=0.1, beta=beta, generator=generator
        )[0]


class Tempering(torch.nn.Module):
    def __init__(self, energy):
        super().__init__()
        self.energy = energy
        self.sampler = MalaOf(energy)

    def forward(self, x: torch.Tensor, betas: torch.Tensor, generator: torch.Generator):
        return torch.ops.torch_ebm.replica_exchange(
            self.energy, x, betas, self.sampler, n_steps=4, thin=1, generator=generator
        )


class Normal(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * x.square().sum(1)


def test_a_scripted_model_runs_a_scripted_sampler():
    x, betas = torch.randn(3, 20, 2, generator=seeded(440)).double(), [1.0, 0.5, 0.2]
    scripted = torch.jit.script(Tempering(Normal()))(x, torch.tensor(betas), seeded(441))
    sampler = functools.partial(torch_ebm.mala, step_size=0.1)
    eager = torch_ebm.replica_exchange(
        standard_normal, x, torch.tensor(betas), sampler, n_steps=4, thin=1, generator=seeded(441)
    )
    for one, other in zip(scripted, eager):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"betas": [1.0, 1.0]}, "betas must be strictly decreasing, got 1 for rung 1"),
        ({"betas": [0.5, 1.0]}, "betas must be strictly decreasing"),
        ({"betas": [1.0, -0.5]}, "betas must be finite and >= 0, got -0.5 for rung 1"),
        ({"betas": [float("nan"), 0.5]}, "betas must be finite"),
        ({"betas": [1.0]}, "at least two rungs"),
        ({"betas": [1.0, 0.5, 0.1]}, r"x must have shape \(3, N, ...\), got \(2, 3, 1\)"),
        ({"x": torch.zeros(2, 0, 1)}, "x must"),
        ({"n_steps": 0}, "n_steps must be at least 1"),
        ({"thin": -1}, "thin must be at least 0"),
        ({"first_step": -1}, "first_step must be at least 0"),
        ({"sampler": lambda energy, x, **_: x[1:]}, "sampler must return the shape of the states"),
    ],
)
def test_bad_arguments_are_named(changed, message):
    arguments = {"x": torch.zeros(2, 3, 1), "betas": [1.0, 0.5], "sampler": stay, **changed}
    generator = seeded(1)
    with pytest.raises(ValueError, match=message):
        torch_ebm.replica_exchange(standard_normal, **arguments, generator=generator)
    if "sampler" not in changed:
        assert torch.equal(generator.get_state(), seeded(1).get_state())


@pytest.mark.parametrize("sampler", [3, lambda energy, x, **_: 3.0])
def test_what_is_no_sampler_is_refused(sampler):
    with pytest.raises(TypeError, match="sampler must"):
        torch_ebm.replica_exchange(standard_normal, torch.zeros(2, 3, 1), [1.0, 0.5], sampler)
