"""Which base an RBM's annealing should begin at: coverage and warnings over random models.

    python benchmarks/ais_bases.py [--models 40] [--chains 100] [--betas 200] [KIND ...]

For every kind of model and every base: how many 95% intervals cover the exact log Z; how many
estimates warn; how many that do not warn miss it, and miss it by more than four standard errors;
the mean error; the mean ESS. "half base rates" are the logits of the base rates, halved.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch_ebm
from tqdm import tqdm

DOUBLE = torch.float64
N_VISIBLE, N_HIDDEN = 19, 11
N_EXAMPLES = 1000


class Model(NamedTuple):
    """An RBM and the data that its base rates come from."""

    rbm: torch_ebm.RBM
    data: torch.Tensor


def normal(g: torch.Generator, *size: int) -> torch.Tensor:
    return torch.randn(*size, dtype=DOUBLE, generator=g)


def random_rbm(g: torch.Generator, weights: float, biases: float) -> torch_ebm.RBM:
    return torch_ebm.RBM.from_tensors(
        weights * normal(g, N_VISIBLE, N_HIDDEN),
        biases * normal(g, N_VISIBLE),
        biases * normal(g, N_HIDDEN),
    )


def random_model(weights: float, biases: float, g: torch.Generator) -> Model:
    """Parameters N(0, weights^2) and N(0, biases^2); the data are exact samples."""
    rbm = random_rbm(g, weights, biases)
    return Model(rbm, rbm.sample(N_EXAMPLES, generator=g))


def one_mode(weights: float, biases: float, g: torch.Generator) -> Model:
    """The same, but the data are short chains from one state: modes are missing in them."""
    rbm = random_rbm(g, weights, biases)
    first = torch_ebm.start_states("bernoulli", (1, N_VISIBLE), dtype=DOUBLE, generator=g)
    return Model(rbm, rbm.gibbs(first.repeat(N_EXAMPLES, 1), 30, generator=g))


def trained(g: torch.Generator) -> Model:
    """Trained by PCD on noisy copies of five random states."""
    prototypes = torch_ebm.start_states("bernoulli", (5, N_VISIBLE), dtype=DOUBLE, generator=g)
    copies = prototypes.repeat(N_EXAMPLES // 5, 1)
    noise = torch.rand(copies.shape, dtype=DOUBLE, generator=g) < 0.05
    data = torch.where(noise, 1 - copies, copies)
    rbm = torch_ebm.RBM(N_VISIBLE, N_HIDDEN, dtype=DOUBLE)
    with torch.no_grad():
        rbm.weight.copy_(0.01 * normal(g, N_VISIBLE, N_HIDDEN))
        rbm.visible_bias.copy_(torch_ebm.base_rate_bias(data))
        chains = data[torch.randperm(N_EXAMPLES, generator=g)[:100]]
        for _ in range(1000):
            batch = data[torch.randint(N_EXAMPLES, (100,), generator=g)]
            chains = rbm.gibbs(chains, generator=g)
            h, h_of_chains = rbm.hidden_given_visible(batch), rbm.hidden_given_visible(chains)
            rbm.weight += 0.1 * (batch.T @ h - chains.T @ h_of_chains) / 100
            rbm.visible_bias += 0.1 * (batch - chains).mean(0)
            rbm.hidden_bias += 0.1 * (h - h_of_chains).mean(0)
    return Model(rbm, data)


KINDS: dict[str, Callable[[torch.Generator], Model]] = {
    "weights 1, biases 1": functools.partial(random_model, 1.0, 1.0),
    "weights 3, biases 1": functools.partial(random_model, 3.0, 1.0),
    "weights 8, biases 3": functools.partial(random_model, 8.0, 3.0),
    "weights 3, biases 1, data of one mode": functools.partial(one_mode, 3.0, 1.0),
    "weights 8, biases 3, data of one mode": functools.partial(one_mode, 8.0, 3.0),
    "trained on five prototypes": trained,
}


def bases(model: Model) -> dict[str, torch.Tensor]:
    rates = torch_ebm.base_rate_bias(model.data)
    return {
        "own biases": model.rbm.visible_bias.detach(),
        "uniform": torch.zeros_like(rates),
        "base rates": rates,
        "half base rates": rates / 2,
    }


def measure(kind: str, n_models: int, n_chains: int, n_betas: int) -> None:
    """Prints the rows of one kind of model."""
    found: dict[str, list[tuple[bool, bool, float, float, float]]] = {}
    for seed in tqdm(range(n_models), desc=kind, leave=False):
        g = torch.Generator().manual_seed(3_000_000 + seed)
        model = KINDS[kind](g)
        exact = model.rbm.log_z().item()
        for base, bias in bases(model).items():
            e = torch_ebm.ais(
                model.rbm, n_chains=n_chains, betas=n_betas, base_visible_bias=bias, generator=g
            )
            error = exact - e.log_z.item()
            covers = e.lower.item() <= exact <= e.upper.item()
            found.setdefault(base, []).append(
                (covers, bool(e.warning), error, abs(error) / e.std_error.item(), e.ess.item())
            )
    for base, rows in found.items():
        covered = sum(covers for covers, *_ in rows)
        warned = sum(warns for _, warns, *_ in rows)
        missed = sum(not covers and not warns for covers, warns, *_ in rows)
        far = sum(z > 4 and not warns for _, warns, _, z, _ in rows)
        error = sum(abs(e) for _, _, e, _, _ in rows) / n_models
        ess = sum(e for *_, e in rows) / n_models
        counts = f"{covered} | {warned} | {missed} | {far}"
        print(f"| {kind} | {base} | {counts} | {error:.3f} | {ess:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--models", type=int, default=40)
    parser.add_argument("--chains", type=int, default=100)
    parser.add_argument("--betas", type=int, default=200)
    arguments = parser.parse_args()
    unknown = set(arguments.kinds) - set(KINDS)
    if unknown:
        parser.error(f"unknown kinds {sorted(unknown)}; there are {', '.join(KINDS)}")
    print(f"{arguments.models} models of each kind, RBMs of {N_VISIBLE}x{N_HIDDEN} units\n")
    print("| model | base | covers | warns | misses, silent | by > 4 s.e. | error | ESS |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for kind in arguments.kinds or KINDS:
        measure(kind, arguments.models, arguments.chains, arguments.betas)


if __name__ == "__main__":
    main()
