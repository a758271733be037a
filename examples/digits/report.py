"""The output of a run: a table of log-probabilities, figures, and a file of numbers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

import torch
import torch_ebm
import torch_ebm.plots
from torch import Tensor

from data import Digits
from training import Point, mean_log_probability


#: Below this fraction of effective chains the table warns not to trust the interval of AIS.
FEW_CHAINS = 0.1


@dataclass(frozen=True)
class Numbers:
    """Mean log-probabilities of the training and test data, in nats, and log Z."""

    exact_log_z: Tensor
    ais: torch_ebm.LogZEstimate
    exact: tuple[float, float]
    by_ais: tuple[float, float]
    independent: tuple[float, float]

    def as_dict(self) -> dict[str, object]:
        pair = lambda values: dict(zip(("train", "test"), values))  # noqa: E731
        return {
            "log_z": {
                "exact": float(self.exact_log_z),
                "ais": float(self.ais.log_z),
                "ais_lower": float(self.ais.lower),
                "ais_upper": float(self.ais.upper),
                "ais_ess": float(self.ais.ess),
            },
            "log_probability": {
                "exact": pair(self.exact),
                "ais": pair(self.by_ais),
                "independent_pixels": pair(self.independent),
            },
        }


def independent_pixels(digits: Digits) -> tuple[float, float]:
    """Mean log-probability of independent pixels with the training data's frequencies."""
    bias = torch_ebm.base_rate_bias(digits.train).double()
    log_z = torch.nn.functional.softplus(bias).sum()
    return tuple(float((x.double() @ bias).mean() - log_z) for x in (digits.train, digits.test))


@torch.no_grad()
def measure(
    rbm: torch_ebm.RBM, digits: Digits, *, ais_chains: int, ais_steps: int, seed: int
) -> Numbers:
    """Computes everything in the table."""
    log_z = rbm.log_z()
    estimate = torch_ebm.ais(
        rbm,
        n_chains=ais_chains,
        betas=torch.linspace(0, 1, ais_steps + 1, dtype=torch.float64),
        base_visible_bias=torch_ebm.base_rate_bias(digits.train),
        generator=torch.Generator().manual_seed(seed),
        progress=True,
    )

    def both(z: Tensor) -> tuple[float, float]:
        return tuple(mean_log_probability(rbm, x, z) for x in (digits.train, digits.test))

    return Numbers(log_z, estimate, both(log_z), both(estimate.log_z), independent_pixels(digits))


def table(numbers: Numbers) -> str:
    """The table as text."""
    ais = numbers.ais
    half_width = float(ais.upper - ais.log_z)
    error = f" +- {half_width:.3f}"
    rows = [
        ("mean log-probability (nats per image)", "train", "", "test", ""),
        (f"  RBM, exact log Z = {float(numbers.exact_log_z):.4f}", *_cells(numbers.exact)),
        (
            f"  RBM, AIS log Z = {float(ais.log_z):.4f}{error} (95%)",
            *_cells(numbers.by_ais, error),
        ),
        ("  independent pixels (to beat)", *_cells(numbers.independent)),
    ]
    lines = [
        f"{name:<46} {train:>10}{error_1:<9} {test:>10}{error_2}".rstrip()
        for name, train, error_1, test, error_2 in rows
    ]
    n_chains = len(ais.log_weights)
    trust = "" if ais.ess > FEW_CHAINS * n_chains else "; with so few, its interval is too short"
    lines.append(f"AIS: {float(ais.ess):.0f} of {n_chains} chains are effective{trust}")
    return "\n".join(lines)


def _cells(values: tuple[float, float], error: str = "") -> tuple[str, str, str, str]:
    return f"{values[0]:.3f}", error, f"{values[1]:.3f}", error


def write_numbers(path: Path, numbers: Numbers, history: Sequence[Point], seconds: float) -> None:
    """Everything in the table and the curve, as JSON."""
    content = numbers.as_dict()
    content["history"] = [[p.epoch, p.train, p.test] for p in history]
    content["training_seconds"] = seconds
    path.write_text(json.dumps(content, indent=1) + "\n")


def upper_half(image_shape: tuple[int, int]) -> Tensor:
    """True at the pixels of the upper half of an image, which are kept; (V,)."""
    height, width = image_shape
    known = torch.zeros(height, width, dtype=torch.bool)
    known[: height // 2] = True
    return known.flatten()


@torch.no_grad()
def completions(
    rbm: torch_ebm.RBM, x: Tensor, known: Tensor, n: int, n_steps: int, seed: int
) -> Tensor:
    """For every image of ``x`` (N, V): itself, its known half, and n completions; (N, 2 + n, V).

    A completion is p(v | h) at the last hidden state of its own chain, with known pixels clamped.
    """
    generator = torch.Generator().manual_seed(seed)
    chains = x.repeat_interleave(n, 0)
    noise = torch_ebm.start_states("bernoulli", chains.shape, generator=generator)
    _, hidden = torch_ebm.rbm_gibbs(
        torch.where(known, chains, noise),
        *(rbm.weight, rbm.visible_bias, rbm.hidden_bias),
        n_steps=n_steps,
        clamp=known,
        generator=generator,
    )
    filled = torch.where(known, chains, rbm.visible_given_hidden(hidden))
    masked = torch.where(known, x, torch.nan)
    return torch.cat([x[:, None], masked[:, None], filled.reshape(len(x), n, -1)], 1)


@torch.no_grad()
def samples(rbm: torch_ebm.RBM, n: int, n_steps: int, seed: int) -> Tensor:
    """p(v | h) at the last hidden state of ``n`` chains from noise; (n, V)."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch_ebm.start_states("bernoulli", (n, rbm.n_visible), generator=generator)
    _, hidden = torch_ebm.rbm_gibbs(
        noise,
        *(rbm.weight, rbm.visible_bias, rbm.hidden_bias),
        n_steps=n_steps,
        generator=generator,
    )
    return rbm.visible_given_hidden(hidden)


def write_pictures(
    folder: Path,
    rbm: torch_ebm.RBM,
    digits: Digits,
    numbers: Numbers,
    history: Sequence[Point],
    *,
    chain_steps: int,
    seed: int,
) -> list[Path]:
    """Writes the PNG files; returns their paths."""
    shape = digits.image_shape
    plots = torch_ebm.plots
    n_filled = 5
    filled = completions(rbm, digits.test[:10], upper_half(shape), n_filled, chain_steps, seed)
    figures = {
        "data": plots.images(digits.train[:100], shape, title="Training data"),
        "samples": plots.images(
            samples(rbm, 100, chain_steps, seed),
            shape,
            title=f"Samples: p(v | h) after {chain_steps:,} Gibbs steps from noise",
        ),
        "filters": plots.filters(rbm.weight, shape, title="Weights of the hidden units"),
        "inpainting": plots.images(
            filled.flatten(0, 1),
            shape,
            n_columns=2 + n_filled,
            column_labels=["test", "given", *[str(i + 1) for i in range(n_filled)]],
            title=f"Lower halves filled in: p(v | h),\n{n_filled} chains of {chain_steps:,} steps",
        ),
        "training": plots.training_curve(
            [p.epoch for p in history],
            [p.train for p in history],
            [p.test for p in history],
            baseline=numbers.independent[1],
            baseline_label="independent pixels, test",
            title="Mean log-probability (exact log Z)",
        ),
        "ais": plots.ais_weights(numbers.ais, exact=numbers.exact_log_z),
    }
    paths = []
    for name, figure in figures.items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1])
    return paths
