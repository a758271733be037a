"""Which base an RBM's annealing should begin at: coverage and warnings over many models.

    python benchmarks/ais_bases.py [--models 40] [--chains 100] [--betas 200] [KIND ...]

For every kind of model and every base: how many 95% intervals cover the exact log Z; how many
estimates warn of few effective chains; how many warn of the base, where the interval misses and
where it covers; how many that do not warn miss, and miss by more than four standard errors and 0.1
nats; the mean error; the mean ESS. Then the sums over all kinds, and by the size of the miss how
many estimates that are wrong by so much without few effective chains warn of the base, and how many
a second run of the same size from the uniform base contradicts. "half base rates" are the logits of
the base rates, halved.
"""

from __future__ import annotations

import argparse
import functools
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch_ebm
from sklearn.datasets import load_digits
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
    """Parameters N(0, weights^2) and N(0, biases^2)."""
    return torch_ebm.RBM.from_tensors(
        weights * normal(g, N_VISIBLE, N_HIDDEN),
        biases * normal(g, N_VISIBLE),
        biases * normal(g, N_HIDDEN),
    )


def spin_glass(
    n_visible: int, n_hidden: int, weights: float, g: torch.Generator
) -> torch_ebm.RBM:
    """Couplings N(0, weights^2 / 16) between spins of -1 and 1 in weak fields, as zeros and ones."""
    w = weights * normal(g, n_visible, n_hidden)
    return torch_ebm.RBM.from_tensors(
        w,
        0.3 * normal(g, n_visible) - w.sum(1) / 2,
        0.3 * normal(g, n_hidden) - w.sum(0) / 2,
    )


MakeRBM = Callable[[torch.Generator], torch_ebm.RBM]


def all_modes(make: MakeRBM, g: torch.Generator) -> Model:
    """The data are exact samples."""
    rbm = make(g)
    return Model(rbm, rbm.sample(N_EXAMPLES, generator=g))


def one_mode(make: MakeRBM, g: torch.Generator) -> Model:
    """The data are short chains from one state: modes are missing in them."""
    rbm = make(g)
    first = torch_ebm.start_states("bernoulli", (1, rbm.n_visible), dtype=DOUBLE, generator=g)
    return Model(rbm, rbm.gibbs(first.repeat(N_EXAMPLES, 1), 30, generator=g))


def trained(
    data: torch.Tensor, n_hidden: int, rate: float, n_updates: int, g: torch.Generator
) -> torch_ebm.RBM:
    """By PCD, from the base rates of the data."""
    rbm = torch_ebm.RBM(data.size(1), n_hidden, dtype=DOUBLE)
    with torch.no_grad():
        rbm.weight.copy_(0.01 * normal(g, *rbm.weight.shape))
        rbm.hidden_bias.zero_()
        rbm.visible_bias.copy_(torch_ebm.base_rate_bias(data))
        chains = data[torch.randperm(len(data), generator=g)[:100]]
        for _ in range(n_updates):
            batch = data[torch.randint(len(data), (100,), generator=g)]
            chains = rbm.gibbs(chains, generator=g)
            h, h_of_chains = rbm.hidden_given_visible(batch), rbm.hidden_given_visible(chains)
            rbm.weight += rate * (batch.T @ h - chains.T @ h_of_chains) / 100
            rbm.visible_bias += rate * (batch - chains).mean(0)
            rbm.hidden_bias += rate * (h - h_of_chains).mean(0)
    return rbm


def on_prototypes(g: torch.Generator) -> Model:
    """Trained on noisy copies of five random states."""
    prototypes = torch_ebm.start_states("bernoulli", (5, N_VISIBLE), dtype=DOUBLE, generator=g)
    copies = prototypes.repeat(N_EXAMPLES // 5, 1)
    noise = torch.rand(copies.shape, dtype=DOUBLE, generator=g) < 0.05
    data = torch.where(noise, 1 - copies, copies)
    return Model(trained(data, N_HIDDEN, 0.1, 1000, g), data)


def on_digits(one_class: bool, g: torch.Generator) -> Model:
    """Trained on scikit-learn's digits; the base rates are those of all of them, or of one class."""
    pixels, labels = load_digits(return_X_y=True)
    data = (torch.from_numpy(pixels) >= 8).to(DOUBLE)
    rbm = trained(data, 8, 0.1, 500, g)
    label = int(torch.randint(10, (), generator=g))
    return Model(rbm, data[torch.from_numpy(labels) == label] if one_class else data)


def of_random(weights: float, biases: float) -> MakeRBM:
    return functools.partial(random_rbm, weights=weights, biases=biases)


def of_spins(n_visible: int, n_hidden: int, weights: float) -> MakeRBM:
    return lambda g: spin_glass(n_visible, n_hidden, weights, g)


MODELS: dict[str, MakeRBM] = {
    "weights 1, biases 1": of_random(1.0, 1.0),
    "weights 3, biases 1": of_random(3.0, 1.0),
    "weights 8, biases 3": of_random(8.0, 3.0),
    "spins, weights 3": of_spins(N_VISIBLE, N_HIDDEN, 3.0),
    "spins, weights 8": of_spins(N_VISIBLE, N_HIDDEN, 8.0),
    "spins, 40x10, weights 2": of_spins(40, 10, 2.0),
}
KINDS: dict[str, Callable[[torch.Generator], Model]] = {
    **{name: functools.partial(all_modes, make) for name, make in MODELS.items()},
    **{
        f"{name}, data of one mode": functools.partial(one_mode, make)
        for name, make in MODELS.items()
    },
    "trained on five prototypes": on_prototypes,
    "trained on digits, 64x8": functools.partial(on_digits, False),
    "trained on digits, 64x8, rates of one class": functools.partial(on_digits, True),
}


def bases(model: Model) -> dict[str, torch.Tensor]:
    rates = torch_ebm.base_rate_bias(model.data)
    return {
        "own biases": model.rbm.visible_bias.detach(),
        "uniform": torch.zeros_like(rates),
        "base rates": rates,
        "half base rates": rates / 2,
    }


def counts_of(exact: float, e: torch_ebm.LogZEstimate) -> Counter[str]:
    covers = bool(e.lower <= exact <= e.upper)
    of_base = "uniform base" in e.warning
    silent = not e.warning
    error = abs(exact - e.log_z.item())
    far = error > max(4 * e.std_error.item(), 0.1)
    return Counter(
        covers=int(covers),
        weak=int(not silent and not of_base),
        found=int(of_base and not covers),
        false=int(of_base and covers),
        missed=int(silent and not covers),
        far=int(silent and far),
        error=error,
        ess=e.ess.item(),
    )


class Miss(NamedTuple):
    """An estimate wrong by more than four standard errors and 0.1 nats, of enough chains."""

    base: str
    error: float
    warned: bool
    contradicted: bool
    """By a second run, from the uniform base."""


def measure(
    kind: str, n_models: int, n_chains: int, n_betas: int, misses: list[Miss]
) -> dict[str, Counter[str]]:
    """For every base, what :func:`row` prints."""
    found: dict[str, Counter[str]] = {}
    for seed in tqdm(range(n_models), desc=kind, leave=False):
        g = torch.Generator().manual_seed(700_000_000 + seed)
        model = KINDS[kind](g)
        exact = model.rbm.log_z().item()
        estimates = {
            base: torch_ebm.ais(
                model.rbm, n_chains=n_chains, betas=n_betas, base_visible_bias=bias, generator=g
            )
            for base, bias in bases(model).items()
        }
        for base, e in estimates.items():
            found[base] = found.get(base, Counter()) + counts_of(exact, e)
            error, of_base = exact - e.log_z.item(), "uniform base" in e.warning
            if (of_base or not e.warning) and error > max(4 * e.std_error.item(), 0.1):
                contradicted = bool(estimates["uniform"].lower > e.upper)
                misses.append(Miss(base, error, of_base, contradicted))
    return found


def row(kind: str, base: str, c: Counter[str], n: int) -> str:
    counts = " | ".join(str(c[k]) for k in ("covers", "weak", "found", "false", "missed", "far"))
    return f"| {kind} | {base} | {counts} | {c['error'] / n:.3f} | {c['ess'] / n:.0f} |"


def print_misses(misses: list[Miss]) -> None:
    print("\n| base | nats too low | misses | warned of | contradicted by a second run |")
    print("| --- | --- | ---: | ---: | ---: |")
    for base in dict.fromkeys(m.base for m in misses):
        for low, high in ((0.1, 0.5), (0.5, 1.0), (1.0, float("inf"))):
            these = [m for m in misses if m.base == base and low <= m.error < high]
            warned = sum(m.warned for m in these)
            contradicted = sum(m.contradicted for m in these)
            print(f"| {base} | {low} to {high} | {len(these)} | {warned} | {contradicted} |")


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
    kinds = arguments.kinds or list(KINDS)
    print(f"{arguments.models} models of each kind, RBMs of {N_VISIBLE}x{N_HIDDEN} units if no size is named\n")
    print("| model | base | covers | warns: few chains | warns: base, misses | warns: base, covers"
          " | misses, silent | by > 4 s.e. | error | ESS |")  # fmt: skip
    print("| --- | --- |" + " ---: |" * 8, flush=True)
    sums: dict[str, Counter[str]] = {}
    misses: list[Miss] = []
    for kind in kinds:
        size = (arguments.models, arguments.chains, arguments.betas)
        for base, counts in measure(kind, *size, misses).items():
            print(row(kind, base, counts, arguments.models), flush=True)
            sums[base] = sums.get(base, Counter()) + counts
    for base, counts in sums.items():
        print(row("all", base, counts, arguments.models * len(kinds)))
    print_misses(misses)


if __name__ == "__main__":
    main()
