"""RBMs trained by contrastive divergence, kept on disk once trained."""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch_ebm
from tqdm import tqdm

from from_digits import Digits, descend, new_rbm

BATCH = 100
MOMENTUM = 0.9
WEIGHT_DECAY = 2e-4  # of weights, not of biases (Hinton 2010, section 10)


def file_stem(name: str) -> str:
    """The name of a model, such as CD1(20), as a file name: CD1_20."""
    return name.replace("(", "_").rstrip(")")


@dataclass(frozen=True)
class Recipe:
    """What determines a trained model."""

    hidden: int
    cd_steps: int
    learning_rate: float
    """At the start; it falls linearly to 0."""
    epochs: int
    seed: int = 0

    @property
    def name(self) -> str:
        return f"CD{self.cd_steps}({self.hidden})"


def trained(recipe: Recipe, digits: Digits, folder: Path) -> torch_ebm.RBM:
    """The model of ``recipe``, loaded from ``folder`` if an earlier run saved it there."""
    rbm = new_rbm(digits, recipe.hidden, recipe.seed)
    path = folder / f"{file_stem(recipe.name)}.pt"
    made_by = {"data": digits.name, "examples": len(digits.train), **asdict(recipe)}
    if path.exists() and torch_ebm.checkpoint_values(path)["made_by"] == made_by:
        torch_ebm.load_checkpoint(path, rbm=rbm)
    else:
        train(rbm, recipe, digits)
        torch_ebm.save_checkpoint(path, rbm=rbm, made_by=made_by)
    return rbm.requires_grad_(False)


def train(rbm: torch_ebm.RBM, recipe: Recipe, digits: Digits) -> None:
    """CD-k by stochastic gradient descent, with the monitor's warnings."""
    optimizer = torch.optim.SGD(
        [
            {"params": [rbm.weight], "weight_decay": WEIGHT_DECAY},
            {"params": [rbm.visible_bias, rbm.hidden_bias]},
        ],
        lr=recipe.learning_rate,
        momentum=MOMENTUM,
    )
    sampler = functools.partial(torch_ebm.gibbs, n_steps=recipe.cd_steps)
    negative_phase = torch_ebm.CD(sampler, seed=recipe.seed)
    monitor = torch_ebm.TrainingMonitor()
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, recipe.epochs)
    generator = torch.Generator().manual_seed(recipe.seed)
    for _ in tqdm(range(recipe.epochs), desc=f"training {recipe.name}", unit="epoch", leave=False):
        for batch in torch.randperm(len(digits.train), generator=generator).split(BATCH):
            descend(rbm, optimizer, negative_phase, monitor, digits.train[batch])
        falling.step()
        monitor.end_epoch()
