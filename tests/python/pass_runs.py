"""One short run of everything that draws by passes: ``RUNS[name](dtype, device)`` returns states
or numbers. test_passes.py compares the two forms of the passes by them, ../devices.py a device
with the CPU."""

import functools

import torch

import torch_ebm
from criteria_table import CRITERIA, data
from energies import Network
from known_values import random_rbm, seeded

D = 20
#: An RBM whose steps are fused, for its weights fit in the cache; and one of passes.
SMALL, LARGE = (30, 20), (320, 240)


def normal(*size, seed=5):
    return torch.randn(*size, generator=seeded(seed), dtype=torch.float64)


def bits(*size, seed=4):
    return torch.bernoulli(torch.full(size, 0.5, dtype=torch.float64), generator=seeded(seed))


def network(dtype, device):
    torch.manual_seed(2)
    return Network(D, torch.float64).to(device, dtype)


def rbm_of(size, dtype, device):
    return random_rbm(*size, 0.1, seed=9).to(device, dtype)


def boltzmann_machine(dtype, device):
    weight = normal(D, D) / 4
    return (weight + weight.T).to(device, dtype), normal(D, seed=6).to(device, dtype)


def on(device, options):
    return {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in options.items()}


def real(sampler, **options):
    def run(dtype, device):
        start = normal(60, D).to(device, dtype)
        energy = network(dtype, device)
        return sampler(energy, start, generator=seeded(1), **on(device, options)).x

    return run


def binary(sampler, shape=(60, 5, 20), **options):
    def run(dtype, device):
        start = bits(*shape).to(device, dtype)
        slope = torch.linspace(-1, 1, start[0].numel(), dtype=torch.float64).to(device, dtype)

        def energy(x):
            flat = x.flatten(1)
            return -flat @ slope - 0.05 * (flat[:, 1:] * flat[:, :-1]).sum(1)

        return sampler(energy, start, generator=seeded(1), **on(device, options)).x

    return run


def categorical(sampler, **options):
    def run(dtype, device):
        start = torch.eye(3)[torch.arange(60 * 8).view(60, 8) % 3].to(device, dtype)
        slope = normal(8, 3).to(device, dtype)
        energy = lambda x: (x * slope).flatten(1).sum(1)  # noqa: E731
        return sampler(energy, start, categorical=True, generator=seeded(1), **options).x

    return run


def tempered(run_ladder, **options):
    def run(dtype, device):
        start = normal(3, 20, D).to(device, dtype)
        start = start if run_ladder is torch_ebm.replica_exchange else start[0]
        mala = functools.partial(torch_ebm.mala, step_size=0.1)
        ladder = torch.tensor([1.0, 0.5, 0.2])
        energy = network(dtype, device)
        return run_ladder(energy, start, ladder, mala, generator=seeded(1), **options).x

    return run


def annealed(dtype, device):
    sampler = functools.partial(torch_ebm.hmc, step_size=0.2, n_leapfrog=3)
    start, betas = normal(60, D).to(device, dtype), torch.linspace(0.1, 1, 4)
    return torch_ebm.anneal(
        network(dtype, device), start, betas, sampler, resample_below=0.9, generator=seeded(1)
    ).x


def unbiased(dtype, device):
    criterion = torch_ebm.UnbiasedCD(seed=5)
    return criterion(rbm_of(SMALL, dtype, device), bits(20, 30).to(device, dtype)).detach()[None]


SAMPLERS = {
    "langevin": real(torch_ebm.langevin, n_steps=3, step_size=0.05),
    "langevin, bounded": real(
        torch_ebm.langevin, n_steps=3, step_size=[0.1, 0.05, 0.02], max_score=1.0,
        bounds=(-1.0, 1.0),
    ),
    "underdamped_langevin": real(
        torch_ebm.underdamped_langevin, n_steps=3, step_size=torch.linspace(0.05, 0.2, 60)
    ),
    "mala": real(torch_ebm.mala, n_steps=3, step_size=0.05),
    "hmc": real(
        torch_ebm.hmc, n_steps=3, step_size=0.2, n_leapfrog=4, jitter=0.5,
        inverse_mass=torch.linspace(0.5, 2, D),
    ),
    "nuts": real(torch_ebm.nuts, n_steps=2, step_size=0.3),
    "warm_up": real(torch_ebm.warm_up, n_steps=20),
    "replica_exchange": tempered(torch_ebm.replica_exchange, n_steps=2),
    "tempered_transitions": tempered(torch_ebm.tempered_transitions, n_steps=2),
    "anneal": annealed,
}  # fmt: skip
DISCRETE_SAMPLERS = {
    "gibbs": binary(torch_ebm.gibbs, shape=(60, 2, 5)),
    "gibbs of categories": categorical(torch_ebm.gibbs),
    "gibbs_with_gradients": binary(torch_ebm.gibbs_with_gradients, n_steps=10),
    "gibbs_with_gradients, clamped": binary(
        torch_ebm.gibbs_with_gradients, n_steps=10, clamp=(torch.arange(100) % 3 == 0).view(5, 20)
    ),
    "gibbs_with_gradients of categories": categorical(torch_ebm.gibbs_with_gradients, n_steps=9),
    "discrete_langevin": binary(torch_ebm.discrete_langevin, n_steps=4, step_size=0.2),
    "discrete_langevin, unadjusted": binary(
        torch_ebm.discrete_langevin, n_steps=4, step_size=0.2, metropolis=False
    ),
    "discrete_langevin of categories": categorical(
        torch_ebm.discrete_langevin, n_steps=4, step_size=0.5
    ),
    "unbiased_cd": unbiased,
}


def rbm_gibbs(size, dtype, device):
    v = bits(200, size[0]).to(device, dtype)
    clamp = bits(200, size[0], seed=8).bool().to(device)
    beta = torch.linspace(0.2, 1, 200).to(device)
    states = torch_ebm.rbm_gibbs(
        v, *rbm_of(size, dtype, device).parameters(), n_steps=2, beta=beta, clamp=clamp,
        generator=seeded(1),
    )  # fmt: skip
    return torch.cat(states, 1)


def rbm_ais(size, dtype, device):
    """States, and log weights in the last column."""
    rbm = rbm_of(size, dtype, device)
    base = torch.zeros(size[0], dtype=dtype, device=device)
    betas = torch.linspace(0, 1, 12).double()
    weights, v = torch.ops.torch_ebm.rbm_ais(
        *rbm.parameters(), base, betas, n_chains=200, generator=seeded(1)
    )
    return torch.cat([v.double(), weights[:, None]], 1)


def boltzmann_gibbs(dtype, device):
    x = bits(60, D).to(device, dtype)
    machine = boltzmann_machine(dtype, device)
    return torch_ebm.boltzmann_gibbs(x, *machine, n_steps=3, generator=seeded(1))


def boltzmann_gibbs_with_gradients(dtype, device):
    x = bits(60, D).to(device, dtype)
    machine = boltzmann_machine(dtype, device)
    return torch_ebm.boltzmann_gibbs_with_gradients(x, *machine, n_steps=9, generator=seeded(1))[0]


MODELS = {
    "rbm_gibbs, small": functools.partial(rbm_gibbs, SMALL),
    "rbm_gibbs, large": functools.partial(rbm_gibbs, LARGE),
    "rbm_ais, small": functools.partial(rbm_ais, SMALL),
    "rbm_ais, large": functools.partial(rbm_ais, LARGE),
    "boltzmann_gibbs": boltzmann_gibbs,
    "boltzmann_gibbs_with_gradients": boltzmann_gibbs_with_gradients,
}


def criterion(row, options):
    def run(dtype, device):
        energy = row.population.energy().to(device, dtype)
        x = data(row).to(device, dtype)
        draws = {"generator": seeded(1)} if row.random else {}
        loss = row.call(energy, x, **on(device, options), **draws)
        gradients = torch.autograd.grad(loss, list(energy.parameters()), allow_unused=True)
        numbers = [loss, *(g.flatten() for g in gradients if g is not None)]
        return torch.cat([n.detach().reshape(-1) for n in numbers])[None]

    return run


#: Those whose test rows draw by torch, or with log Z from float64 states on the CPU, are left out.
LEFT_OUT = {"recovery_likelihood", "nce", "ranking_nce", "maximum_likelihood"}
CRITERIA_RUNS = {
    name: criterion(row, row.variants[0]) for name, row in CRITERIA.items() if name not in LEFT_OUT
}

RUNS = {**SAMPLERS, **DISCRETE_SAMPLERS, **MODELS, **CRITERIA_RUNS}
