"""Small exact experiments that a sampler or a criterion passes or fails, for several libraries.

Each starts chains from the distribution that a correct sampler leaves invariant, runs the sampler,
and measures how far the chains are from that distribution. A library that is not installed is
skipped, with a line that says so.

    python benchmarks/known_errors.py
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

import torch_ebm

sys.path.insert(0, str(Path(__file__).resolve().parent))
import criteria_errors  # noqa: E402
import replay_lineages  # noqa: E402
from models import BoltzmannEnergy  # noqa: E402
from experiments import Experiment, Run, table  # noqa: E402


def binary_states(n_units: int) -> Tensor:
    """All states, (2^n, n)."""
    return torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * n_units)


def law_of(energies: Tensor) -> Tensor:
    return torch.softmax(-energies.double(), 0)


def draw_states(law: Tensor, n_chains: int) -> Tensor:
    states = binary_states(int(math.log2(len(law))))
    return states[torch.multinomial(law, n_chains, replacement=True)]


def max_z(x: Tensor, law: Tensor) -> float:
    """The largest error of a state's count among the chains x (N, units), in standard errors."""
    index = (x.long() * 2 ** torch.arange(x.size(1) - 1, -1, -1)).sum(1)
    count = torch.bincount(index, minlength=len(law))
    return ((count - len(x) * law) / (len(x) * law * (1 - law)).sqrt()).abs().max().item()


# --- Tempered transitions (Neal 1996) -------------------------------------------------------------

TEMPERATURES = (1.0, 2.0, 4.0)
BETAS = torch.tensor([1 / t for t in TEMPERATURES])


def tempered_transitions(n_chains: int = 500_000, n_steps: int = 5) -> Experiment:
    energy = BoltzmannEnergy(3).requires_grad_(False)
    law = law_of(energy(binary_states(3)))

    def ebmkit(tempered: bool) -> float:
        from ebm.samplers import GibbsWithGradients, TemperedTransitions

        kernel = GibbsWithGradients()
        sampler = TemperedTransitions(kernel, TEMPERATURES, kernel_steps=1) if tempered else kernel
        return max_z(sampler.sample(energy, draw_states(law, n_chains), steps=n_steps), law)

    def ours() -> float:
        samples = torch_ebm.tempered_transitions(
            energy,
            draw_states(law, n_chains),
            betas=BETAS,
            sampler=torch_ebm.gibbs_with_gradients,
            n_steps=n_steps,
        )
        return max_z(samples.x, law)

    return Experiment(
        f"Tempered transitions from the exact law of 8 states, {n_steps} transitions of"
        f" {n_chains:,} chains",
        "max abs z of the 8 counts",
        "below 4",
        [
            Run("TemperedTransitions(GibbsWithGradients)", "ebmkit", partial(ebmkit, True)),
            Run("GibbsWithGradients alone (control)", "ebmkit", partial(ebmkit, False)),
            Run("tempered_transitions(gibbs_with_gradients)", "torch_ebm", ours),
        ],
    )


# --- Replica exchange of underdamped Langevin -----------------------------------------------------


def exchange_with_velocity(n_chains: int = 20_000, n_steps: int = 400) -> Experiment:
    step_size = 0.05

    def energy(x: Tensor) -> Tensor:
        return 0.5 * (x**2).sum(1)

    def ebmkit(tempered: bool) -> float:
        from ebm.samplers import ParallelTempering, UnderdampedLangevin

        kernel = UnderdampedLangevin(step_size=step_size)
        sampler = ParallelTempering(kernel, TEMPERATURES) if tempered else kernel
        return sampler.sample(energy, torch.randn(n_chains, 1), steps=n_steps).var().item()

    def ours() -> float:
        samples = torch_ebm.replica_exchange(
            energy,
            torch.randn(len(BETAS), n_chains, 1) / BETAS.sqrt()[:, None, None],
            BETAS,
            partial(torch_ebm.underdamped_langevin, step_size=step_size),
            n_steps=n_steps,
        )
        return samples.x[0].var().item()

    return Experiment(
        f"Replica exchange of underdamped Langevin on N(0, 1), {n_steps} sweeps of"
        f" {n_chains:,} chains",
        "variance of the cold chains",
        "1.00 (standard error 0.01)",
        [
            Run("ParallelTempering(UnderdampedLangevin)", "ebmkit", partial(ebmkit, True)),
            Run("UnderdampedLangevin alone (control)", "ebmkit", partial(ebmkit, False)),
            Run("replica_exchange(underdamped_langevin)", "torch_ebm", ours),
        ],
    )


# --- Replica exchange of an RBM -------------------------------------------------------------------


def exchange_of_rbm(n_chains: int = 100_000, n_sweeps: int = 50) -> Experiment:
    """Block Gibbs tempers the joint energy E(v, h), so a swap of visible states has to weigh them
    by the free energy of the tempered joint, which is not beta times the free energy."""
    weight = torch.tensor([[2.0, -3.0], [-2.0, 3.0], [3.0, 2.0]])
    b, c = torch.tensor([-1.0, 0.5, -1.0]), torch.tensor([-1.0, 0.0])
    betas = torch.tensor([0.25, 0.5, 1.0])

    def tempered(v: Tensor, beta: Tensor) -> Tensor:
        return -beta * (v @ b) - torch.nn.functional.softplus(beta * (c + v @ weight)).sum(1)

    laws = [law_of(tempered(binary_states(3), beta)) for beta in betas]

    def rbms(swap: bool) -> float:
        from rbms.bernoulli_bernoulli.classes import BBRBM
        from rbms.sampling.pt import swap_configurations

        rbm = BBRBM(weight, b, c)
        chains = [rbm.init_chains(n_chains, start_v=draw_states(law, n_chains)) for law in laws]
        for _ in range(n_sweeps):
            chains = [
                rbm.sample_state(n_steps=1, chains=chain, beta=beta)
                for chain, beta in zip(chains, betas.tolist())
            ]
            if swap:
                chains = swap_configurations(chains, rbm, betas)[0]
        return max_z(chains[-1]["visible"], laws[-1])

    def ours() -> float:
        rbm = torch_ebm.RBM(3, 2)
        rbm.load_state_dict({"weight": weight, "visible_bias": b, "hidden_bias": c})
        start = torch.stack([draw_states(law, n_chains) for law in reversed(laws)])
        samples = torch_ebm.replica_exchange(
            rbm, start, betas.flip(0), torch_ebm.gibbs, n_steps=n_sweeps
        )
        return max_z(samples.x[0], laws[-1])

    return Experiment(
        f"Replica exchange of an RBM 3x2 from the exact laws, {n_sweeps} sweeps of"
        f" {n_chains:,} chains",
        "max abs z of the 8 counts of cold visible states",
        "below 4",
        [
            Run("sample_state + swap_configurations", "rbms", partial(rbms, True)),
            Run("sample_state alone (control)", "rbms", partial(rbms, False)),
            Run("replica_exchange(gibbs)", "torch_ebm", ours),
        ],
    )


# --- Persistent chains ----------------------------------------------------------------------------


def persistent_chains() -> list[Experiment]:
    theirs, ours = replay_lineages.torchebm, replay_lineages.ours
    names = ("ContrastiveDivergence(persistent=True)", "ReplayBuffer")

    def experiment(title: str, statistic: str, right: str, field: str, setting: dict) -> Experiment:
        value = lambda run: getattr(run(**setting), field)  # noqa: E731
        runs = [
            Run(names[0], "torchebm", partial(value, theirs)),
            Run(names[1], "torch_ebm", partial(value, ours)),
        ]
        return Experiment(title, statistic, right, runs)

    return [
        experiment(
            "64 persistent chains, sampler nearly frozen, 200 updates of 16",
            "chains with a descendant in the buffer",
            "64",
            "n_lineages",
            {"capacity": 64, "batch": 16, "restart": 0.0, "n_calls": 200},
        ),
        experiment(
            "The same with a restart probability of 1/2 (new_sample_ratio=0.5)",
            "negatives of the 3,200 that descend from a restart",
            "more than 1,600",
            "n_restarted",
            {"capacity": 64, "batch": 16, "restart": 0.5, "n_calls": 200},
        ),
        experiment(
            "100 persistent chains, sampler nearly frozen, 500 updates of 60",
            "chains that never gave a negative",
            "0",
            "n_never_drawn",
            {"capacity": 100, "batch": 60, "restart": 0.0, "n_calls": 500},
        ),
    ]


if __name__ == "__main__":
    experiments = [tempered_transitions(), exchange_with_velocity(), exchange_of_rbm()]
    print(table([*experiments, *persistent_chains(), *criteria_errors.experiments()]))
