"""What every sampler must pass: to be tested here it needs one line in a table below.

Discrete samplers: the law of an enumerated model is kept, also at other temperatures; chains from one state
reach it; the whole transition matrix, by simulation, is in detailed balance where the sampler is reversible;
Geweke's joint test. Continuous samplers: exact samples of a Gaussian, a mixture, a
funnel and a double well keep their moments; Geweke's joint test. The rate of false alarms is that of
statistical_checks.py. What is particular to one sampler stands in its own test file.
"""

from dataclasses import dataclass
from functools import partial

import pytest
import torch

import torch_ebm
from energies import FullyVisible, Gaussian
from known_values import case, random_rbm, seeded
from statistical_checks import require
from torch_ebm import testing

# --- The table ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Kernel:
    """A sampler under test. ``op`` names the operator that it is the line of."""

    op: str
    sampler: object
    reversible: bool = True
    #: Calls after which a chain has forgotten its start.
    n_calls: int = 40


def tuned(sampler, step_size):
    """A sampler tuned along a path, from step_size at beta = 0 to half of it at 1."""
    steps = torch.tensor([step_size, step_size / 2], dtype=torch.float64)
    tuning = torch_ebm.PathTuning(sampler, torch.tensor([0.0, 1.0]).double(), steps, torch.ones(2))

    def move(energy, x, *, beta=1.0, generator=None):
        return tuning(energy, x, beta=1.0 if beta is None else beta, generator=generator)

    return move


def exchange(sampler, betas=(1.0, 0.6, 0.3)):
    """Rung 0 of replica exchange, with the other rungs drawn from their exact laws beforehand, as a sampler.

    What it leaves invariant is the product law, so that the other rungs must start right.
    """

    def run(e, x, generator, beta=1.0):
        ladder = torch.tensor([beta * b for b in betas], dtype=torch.float64)
        others = [e.exact(len(x), b, generator).to(x) for b in ladder[1:].tolist()]
        replicas = torch.stack([x, *others])
        return torch_ebm.replica_exchange(
            e, replicas, ladder, sampler, n_steps=2, generator=generator
        ).x[0]

    return run


def tempered(sampler, betas=(1.0, 0.7, 0.4)):
    def run(e, x, generator, beta=1.0):
        ladder = torch.tensor([beta * b for b in betas], dtype=torch.float64)
        return torch_ebm.tempered_transitions(e, x, ladder, sampler, generator=generator)

    return run


gwg = torch_ebm.gibbs_with_gradients
dmala = partial(torch_ebm.discrete_langevin, step_size=0.5)
BLOCKS = torch.tensor([[0, 1], [2, 3]])

DISCRETE = {
    "gibbs, sweeps": Kernel("gibbs", torch_ebm.gibbs, reversible=False),
    "gibbs, random scan": Kernel("gibbs", partial(torch_ebm.gibbs, scan="random"), n_calls=150),
    "gibbs, blocks": Kernel("gibbs", partial(torch_ebm.gibbs, blocks=BLOCKS), reversible=False),
    "gibbs_with_gradients": Kernel("gibbs_with_gradients", gwg, n_calls=150),
    "discrete_langevin": Kernel("discrete_langevin", dmala, n_calls=150),
    "replica_exchange": Kernel("replica_exchange", exchange(gwg), reversible=False, n_calls=100),
    "tempered_transitions": Kernel("tempered_transitions", tempered(gwg), n_calls=150),
}
CATEGORICAL = {
    "gibbs": Kernel("gibbs", partial(torch_ebm.gibbs, categorical=True), reversible=False),
    "gibbs, random scan": Kernel(
        "gibbs", partial(torch_ebm.gibbs, categorical=True, scan="random"), n_calls=150
    ),
    "gibbs_with_gradients": Kernel("gibbs_with_gradients", partial(gwg, categorical=True)),
    "discrete_langevin": Kernel("discrete_langevin", partial(dmala, categorical=True)),
}
CONTINUOUS = {
    "mala": Kernel("mala", partial(torch_ebm.mala, step_size=0.1, n_steps=2)),
    "mala, preconditioned": Kernel(
        "mala", partial(torch_ebm.mala, step_size=0.1, inverse_mass=torch.tensor(0.5))
    ),
    "hmc": Kernel("hmc", partial(torch_ebm.hmc, step_size=0.3, n_leapfrog=5)),
    "hmc, jittered": Kernel("hmc", partial(torch_ebm.hmc, step_size=0.3, n_leapfrog=4, jitter=0.5)),
    "nuts": Kernel("nuts", partial(torch_ebm.nuts, step_size=0.3, max_depth=5)),
    "nuts, large steps": Kernel("nuts", partial(torch_ebm.nuts, step_size=0.9, max_depth=3)),
    "tuned_step, hmc": Kernel("tuned_step", tuned("hmc", 0.3)),
    "tuned_step, mala": Kernel("tuned_step", tuned("mala", 0.1)),
    "replica_exchange": Kernel(
        "replica_exchange", exchange(partial(torch_ebm.mala, step_size=0.1)), reversible=False
    ),
    "tempered_transitions": Kernel(
        "tempered_transitions", tempered(partial(torch_ebm.mala, step_size=0.1))
    ),
}
#: Not exact by design: their own files test the law that they do have.
BIASED = {"langevin", "underdamped_langevin"}


def test_every_sampler_stands_in_the_table():
    ops = torch.ops.torch_ebm
    samplers = {
        name
        for name in (
            schema.name.removeprefix("torch_ebm::") for schema in torch._C._jit_get_all_schemas()
        )
        if hasattr(ops, name)
        and {"acceptance_rate", "trajectory"}
        <= {r.name for r in getattr(ops, name).default._schema.returns}
        and not name.startswith(("_", "boltzmann", "rbm"))
    }
    listed = {k.op for table in (DISCRETE, CATEGORICAL, CONTINUOUS) for k in table.values()}
    assert {"gibbs", "hmc", "langevin"} <= samplers
    assert samplers - BIASED <= listed


def each(table):
    return pytest.mark.parametrize("kernel", list(table.values()), ids=list(table))


# --- Binary states --------------------------------------------------------------------------------


class Enumerated(torch.nn.Module):
    """An energy whose law can be drawn from, at every temperature."""

    def __init__(self, energy, states):
        super().__init__()
        self.energy, self.states = energy, states
        if hasattr(energy, "tempered"):
            self.tempered = energy.tempered
        if hasattr(energy, "gibbs"):
            self.gibbs = energy.gibbs

    def forward(self, x):
        return self.energy(x)

    def exact(self, n, beta, generator):
        law = testing.exact_law(self, self.states, beta)
        return self.states[torch.multinomial(law, n, True, generator=generator)]


STATES = testing.enumerate_states((4,))


def binary():
    truth = case("fvbm_n4_s1")
    return Enumerated(FullyVisible(truth.array("W"), truth.array("b")), STATES)


@each(DISCRETE)
def test_discrete_laws_are_kept_and_reached(kernel):
    energy = binary()
    for beta in (None, 0.4, 2.0):
        require(testing.check_invariance(kernel.sampler, energy, STATES, beta=beta, n_calls=3))
    require(
        testing.check_convergence(
            kernel.sampler, energy, STATES, start=5, n_calls=kernel.n_calls, n_chains=4000
        )
    )


@each(DISCRETE)
def test_discrete_transition_matrices(kernel):
    energy = binary()
    counts = testing.transition_counts(kernel.sampler, energy, STATES, n_chains=2000)
    assert (counts.diag() < counts.sum(1)).all(), "it moves from every state"
    if kernel.reversible:
        require(testing.check_detailed_balance(counts, testing.exact_law(energy, STATES)))


RBM = random_rbm(4, 3, 1.5, seed=5)
RBM_KERNELS = {
    "block gibbs": Kernel("gibbs", torch_ebm.gibbs),
    "gibbs_with_gradients": Kernel("gibbs_with_gradients", gwg),
    "replica_exchange": Kernel("replica_exchange", exchange(torch_ebm.gibbs)),
    "tempered_transitions": Kernel("tempered_transitions", tempered(torch_ebm.gibbs)),
}


@each(RBM_KERNELS)
def test_an_rbm_keeps_its_law_at_every_temperature(kernel):
    # Its block Gibbs sampler tempers the joint energy: everything else must mean the same by beta.
    energy = Enumerated(RBM, STATES)
    for beta in (None, 0.4):
        require(testing.check_invariance(kernel.sampler, energy, STATES, beta=beta, n_calls=3))


def joint_of_bits(y):
    energy = binary()
    return lambda z: energy(z) + 0.5 * (y - z).square().sum(1)


@each({k: v for k, v in DISCRETE.items() if v.op not in ("replica_exchange",)})
def test_discrete_samplers_pass_the_joint_test(kernel):
    def data(z, generator):
        return z + torch.randn(z.shape, generator=generator, dtype=torch.float64)

    def prior(n, generator):
        return binary().exact(n, 1.0, generator)

    require(testing.check_joint(kernel.sampler, joint_of_bits, prior, data, n_chains=10_000))


# --- Categorical states ---------------------------------------------------------------------------


class Potts(torch.nn.Module):
    """E(x) = -sum_i h_i . x_i - sum_(i < j) x_i J_ij x_j, of one-hot states (N, D, K)."""

    def __init__(self, fields, couplings):
        super().__init__()
        self.fields, self.couplings = fields, couplings

    def forward(self, x):
        pairs = torch.einsum("nia,ijab,njb->n", x, self.couplings, x) / 2
        return -(x * self.fields).flatten(1).sum(1) - pairs


def potts():
    generator = seeded(7)
    fields = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    couplings = torch.randn(3, 3, 3, 3, generator=generator, dtype=torch.float64)
    couplings = couplings + couplings.permute(1, 0, 3, 2)
    couplings[torch.arange(3), torch.arange(3)] = 0
    return Potts(fields, couplings)


@each(CATEGORICAL)
def test_categorical_laws_are_kept_and_reached(kernel):
    states, energy = testing.enumerate_states((3,), 3), potts()
    for beta in (None, 0.4):
        require(testing.check_invariance(kernel.sampler, energy, states, beta=beta, n_calls=3))
    require(testing.check_convergence(kernel.sampler, energy, states, n_calls=150, n_chains=4000))
    counts = testing.transition_counts(kernel.sampler, energy, states, n_chains=1000)
    if kernel.reversible:
        require(testing.check_detailed_balance(counts, testing.exact_law(energy, states)))


# --- Continuous states ----------------------------------------------------------------------------


class Gauss(Gaussian):
    def exact(self, n, beta, generator):
        root = torch.linalg.cholesky(torch.linalg.inv(beta * self.precision.detach()))
        noise = torch.randn(n, len(root), generator=generator, dtype=torch.float64)
        return self.mean.detach() + noise @ root.T


class OnALine(torch.nn.Module):
    """An energy of one coordinate, drawn from by inverting its distribution function on a fine grid."""

    def __init__(self, energy, low, high):
        super().__init__()
        self.energy, self.grid = energy, torch.linspace(low, high, 400_001, dtype=torch.float64)

    def forward(self, x):
        return self.energy(x[:, 0])

    def exact(self, n, beta, generator):
        cumulative = torch.softmax(-beta * self.energy(self.grid), 0).cumsum(0)
        u = torch.rand(n, generator=generator, dtype=torch.float64)
        cell = torch.searchsorted(cumulative, u).clamp_max(len(self.grid) - 1)
        jitter = torch.rand(n, generator=generator, dtype=torch.float64) - 0.5
        return (self.grid[cell] + jitter * (self.grid[1] - self.grid[0]))[:, None]


class Mixture(torch.nn.Module):
    """-log of a mixture of spherical Gaussians; exact draws at beta = 1, by rejection below."""

    def __init__(self, truth):
        super().__init__()
        self.weights, self.means, self.scales = (truth.array(name) for name in "wms")

    def forward(self, x):
        z = (x[:, None] - self.means) / self.scales[:, None]
        log_norm = 2 * self.scales.log() + torch.log(2 * torch.tensor(torch.pi))
        return -torch.logsumexp(self.weights.log() - log_norm - 0.5 * z.square().sum(2), 1)

    def exact(self, n, beta, generator):
        # p^beta <= sum_k (w_k N_k)^beta for beta <= 1: propose from the right-hand side, normalised.
        d2 = 2 * self.scales.square() * torch.pi
        mass = self.weights**beta * d2 ** (1 - beta) / beta
        kept, total = [], 0
        while total < n:
            which = torch.multinomial(mass, 2 * n, True, generator=generator)
            noise = torch.randn(2 * n, 2, generator=generator, dtype=torch.float64)
            x = self.means[which] + self.scales[which, None] * noise / beta**0.5
            z = (x[:, None] - self.means) / self.scales[:, None]
            bound = ((self.weights / d2) ** beta * torch.exp(-0.5 * beta * z.square().sum(2))).sum(
                1
            )
            u = torch.rand(2 * n, generator=generator, dtype=torch.float64)
            kept.append(x[u * bound < torch.exp(-beta * self(x))])
            total += len(kept[-1])
        return torch.cat(kept)[:n]


class Funnel(torch.nn.Module):
    """Neal's funnel in two dimensions; v has scale 3 in the fixtures, 1 here, so that short runs see it."""

    def forward(self, x):
        v, z = x[:, 0], x[:, 1]
        return 0.5 * v.square() + 0.5 * v + 0.5 * (-v).exp() * z.square()

    def exact(self, n, beta, generator):
        # exp(-beta E) integrated over z leaves a Gaussian in v.
        noise = torch.randn(2, n, generator=generator, dtype=torch.float64)
        v = (1 - beta) / (2 * beta) + noise[0] / beta**0.5
        return torch.stack([v, noise[1] * (v / 2).exp() / beta**0.5], 1)


def gauss():
    mean = torch.tensor([1.0, -2.0, 0.5]).double()
    precision = torch.tensor([[2.0, 0.8, 0.3], [0.8, 1.0, 0.1], [0.3, 0.1, 0.5]]).double()
    return Gauss(mean, precision)


TARGETS = {
    "gaussian": gauss,
    "mixture": lambda: Mixture(case("gmm_d2_k5_s72")),
    "funnel": Funnel,
    "double well": lambda: OnALine(lambda x: 4 * (x.square() - 1).square() - 0.5 * x, -3.5, 3.5),
}


@pytest.mark.parametrize("target", TARGETS)
@each(CONTINUOUS)
def test_continuous_laws_keep_their_moments(kernel, target):
    energy = TARGETS[target]()
    exact = energy.exact(20_000, 1.0, seeded(11))
    require(testing.check_keeps_law(kernel.sampler, energy, exact, n_calls=3))
    warm = energy.exact(20_000, 0.6, seeded(12))
    require(testing.check_keeps_law(kernel.sampler, energy, warm, beta=0.6, n_calls=2))


@each({k: v for k, v in CONTINUOUS.items() if v.op not in ("replica_exchange",)})
def test_continuous_samplers_pass_the_joint_test(kernel):
    def prior(n, generator):
        return torch.randn(n, 2, generator=generator, dtype=torch.float64)

    def data(z, generator):
        return z + z[:, :1] * torch.randn(z.shape, generator=generator, dtype=torch.float64)

    def given(y):
        def energy(z):
            scale = z[:, :1]
            likelihood = ((y - z) / scale).square().sum(1) / 2 + 2 * scale[:, 0].abs().log()
            return 0.5 * z.square().sum(1) + likelihood

        return energy

    require(testing.check_joint(kernel.sampler, given, prior, data, n_chains=10_000, n_rounds=3))


def test_exact_draws_are_exact():
    # The double well's moments are known to 40 digits; the others' are elementary.
    well = TARGETS["double well"]().exact(200_000, 1.0, seeded(13))[:, 0]
    truth = case("doublewell_a4_t0.5")
    require(testing.mean_check(well, truth["E_x"]))
    require(testing.mean_check(well.square(), truth["E_x2"]))
    require(testing.mean_check((well > 0).double(), truth["P_x_pos"]))
    mixture = case("gmm_d2_k5_s72")
    require(
        testing.mean_check(
            TARGETS["mixture"]().exact(100_000, 1.0, seeded(14)), mixture.array("mean")
        )
    )
    funnel = Funnel().exact(100_000, 1.0, seeded(15))
    require(testing.mean_check(funnel[:, 0].square(), 1.0))
    require(testing.mean_check(funnel[:, 1].square() * (-funnel[:, 0]).exp(), 1.0))


# --- Energies with habits -------------------------------------------------------------------------


class ReusesMemory:
    """Returns the same tensor in every call."""

    def __init__(self, energy):
        self.energy, self.memory = energy, None

    def __call__(self, x):
        value = self.energy(x)
        if self.memory is None:
            self.memory = torch.zeros_like(value)
        self.memory = self.memory.detach()
        self.memory.copy_(value)
        return self.memory


class KeepsStates:
    """Answers from memory where it is asked for the states of the last call again."""

    def __init__(self, energy):
        self.energy, self.last = energy, None

    def __call__(self, x):
        if self.last is None or x.requires_grad or not torch.equal(self.last[0], x):
            self.last = (x, self.energy(x))
        return self.last[1]


@pytest.mark.parametrize("habit", [ReusesMemory, KeepsStates])
@pytest.mark.parametrize(
    "kernel, start, energy",
    [(k, STATES.repeat(20, 1), binary) for k in DISCRETE.values() if k.op != "replica_exchange"]
    + [
        (k, torch.linspace(-1, 1, 60, dtype=torch.float64).view(20, 3), gauss)
        for k in CONTINUOUS.values()
        if k.op != "replica_exchange"
    ],
)
def test_energies_may_reuse_their_memory_and_keep_what_they_saw(kernel, start, energy, habit):
    def run(e):
        result = kernel.sampler(e, start, generator=seeded(9))
        return result.x, result.acceptance_rate

    with torch.no_grad():
        for one, other in zip(run(energy()), run(habit(energy())), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@each({name: kernel for name, kernel in DISCRETE.items() if kernel.op == "gibbs"})
def test_an_infinite_energy_forbids_a_state_at_every_temperature(kernel):
    class Wall(torch.nn.Module):
        def forward(self, x):
            return torch.where(x.sum(1) < 3, -x[:, 0], torch.inf)

    for beta in (None, 0.0):
        require(testing.check_invariance(kernel.sampler, Wall(), STATES, beta=beta))


def test_a_wall_splits_no_ladder():
    # At beta = 0, where a factor of the energy would be 0 times infinity.
    def wall(x):
        return torch.where(x.sum(1) < 3, -x[:, 0], torch.inf)

    move = partial(torch_ebm.replica_exchange, betas=[1.0, 0.0], sampler=torch_ebm.gibbs, n_steps=2)
    require(testing.check_swap_rule(move, wall, STATES, (1.0, 0.0)))


# --- The energies that samplers report ------------------------------------------------------------

UNDERDAMPED = partial(torch_ebm.underdamped_langevin, step_size=0.1)
GAUSS = Gauss(torch.ones(2).double(), torch.eye(2).double())
REPORTING = {"gibbs_with_gradients", "discrete_langevin", "mala", "hmc", "nuts", "tuned_step"}


@pytest.mark.parametrize(
    "table, energy, states",
    [
        (DISCRETE, binary(), STATES),
        (CATEGORICAL, potts(), testing.enumerate_states((3,), 3)),
        (CONTINUOUS, GAUSS, torch.ones(9, 2).double()),
        ({"": Kernel("", UNDERDAMPED)}, GAUSS, torch.ones(9, 2).double()),
    ],
    ids=["binary", "categorical", "continuous", "underdamped"],
)
def test_reported_energies_are_those_of_the_last_states(table, energy, states):
    beta = torch.tensor(0.7, dtype=torch.float64)
    for name, kernel in table.items():
        x = states
        for _ in range(3):
            result = kernel.sampler(energy, x, beta=beta, generator=seeded(9))
            x = getattr(result, "x", result)
        if kernel.op in REPORTING or not kernel.op:
            torch.testing.assert_close(
                result.energy, beta * energy(x).detach().double(), msg=lambda m: f"{name}: {m}"
            )
        else:
            assert getattr(result, "energy", None) is None
