"""Conservative log-likelihoods by the reverse AIS estimator."""

from __future__ import annotations

from typing import Optional, Union

import torch
from torch import Tensor
from tqdm import tqdm

from ...common._arguments import as_generator
from ...common._wrong_types import names_wrong_types
from ...energy.energy import Energy, as_argument
from ...energy.noise import NoiseDistribution
from ...samplers.sampler import Sampler
from ._annealing_path import checked_betas, path_of


@torch.compiler.disable
@names_wrong_types
def raise_log_likelihood(
    energy: Energy,
    x: Tensor,
    base: Optional[NoiseDistribution] = None,
    sampler: Optional[Sampler] = None,
    *,
    n_chains: int = 10,
    betas: Union[int, Tensor] = 1000,
    base_visible_bias: Optional[Tensor] = None,
    batch_size: int = 1000,
    generator: Optional[torch.Generator] = None,
    progress: bool = False,
) -> Tensor:
    """Conservative log-likelihoods of examples x, (N, ...), by RAISE (Burda, Grosse & Salakhutdinov
    2015).

    Annealing with K temperatures is itself a generative model, from the base to its last states.
    The probability that it gives to x is estimated without bias from ``n_chains`` chains that start
    at x and go down to the base. The logarithm of the estimate is too low on average, and the
    annealing model tends to that of ``energy`` as K grows. :func:`torch_ebm.ais` flatters a model,
    because its log Z is too low; this does not.

    Args:
        base, sampler, betas, base_visible_bias: as for :func:`torch_ebm.ais`.
        n_chains: for each example.
        batch_size: examples whose chains are run together.

    Returns:
        (N,), float64.

    Raises:
        ValueError: ``n_chains`` or ``batch_size`` < 1, no examples, and as :func:`torch_ebm.ais`.
    """
    op = "raise_log_likelihood"
    for name, value in (("n_chains", n_chains), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{op}: {name} must be at least 1, got {value}")
    if x.dim() == 0 or len(x) == 0:
        raise ValueError(f"{op}: x must hold at least one example, got shape {tuple(x.shape)}")
    down = checked_betas(op, betas).flip(0)
    path = path_of(op, energy, base, sampler, base_visible_bias)
    path.check(x)
    generator = as_generator(generator)
    path.sampler = path.found_sampler(generator, len(down) - 1)
    log_z_base = path.log_z_base()
    log_likelihoods = []
    for examples in tqdm(x.detach().split(batch_size), desc="RAISE", disable=not progress):
        # The last transition of the annealing model in reverse, then down to the base.
        first = path.move(examples.repeat_interleave(n_chains, 0), generator)
        log_weights = torch.zeros(len(first), dtype=torch.float64, device=x.device)
        _, log_weights, _ = path.anneal(
            first, down, log_weights, n_groups=1, resample_below=0.0, generator=generator
        )
        with as_argument(path.path) as argument:
            log_likelihoods.append(
                torch.ops.torch_ebm._raised_log_likelihood(
                    argument, examples, log_weights, log_z_base
                )
            )
    return torch.cat(log_likelihoods)
