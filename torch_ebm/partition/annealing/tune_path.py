"""Step sizes along a path of temperatures, found by a pilot run."""

from __future__ import annotations

from typing import NamedTuple, Optional

import torch
from torch import Tensor

from ...common._wrong_types import names_wrong_types
from ...energy.energy import Energy, as_argument
from ...samplers.sampler import Samples, own_sampler


@own_sampler
class PathTuning(NamedTuple):
    """Step sizes and diagonal inverse masses along a path. Call it like any sampler."""

    sampler: str
    """"hmc" or "mala"."""
    betas: Tensor
    """(R,), float64."""
    step_size: Tensor
    """(R,), float64."""
    inverse_mass: Tensor
    """(R, ...)."""
    n_leapfrog: int = 10

    def operator(self) -> tuple[str, dict[str, object]]:
        """The operator that a call runs, and its options."""
        fields = ("sampler", "betas", "step_size", "inverse_mass", "n_leapfrog")
        return "tuned_step", {name: getattr(self, name) for name in fields}

    def __call__(
        self,
        energy: Energy,
        x: Tensor,
        *,
        beta: Tensor,
        n_steps: int = 1,
        generator: Optional[torch.Generator] = None,
    ) -> Samples:
        """``n_steps`` transitions at ``beta``.

        Between two temperatures masses are interpolated linearly, as the precisions of Gaussians
        change along a geometric path, and step sizes geometrically. ``beta`` is one number, or one
        for every chain, (N,), as in replica exchange: the chains at each temperature are then moved
        together, apart from the others.

        Raises:
            ValueError: ``beta`` of another shape; and as the sampler does.
        """
        with as_argument(energy) as argument:
            return Samples(
                *torch.ops.torch_ebm.tuned_step(
                    argument,
                    x,
                    torch.as_tensor(beta, dtype=torch.float64),
                    self.sampler,
                    self.betas,
                    self.step_size,
                    self.inverse_mass,
                    n_leapfrog=self.n_leapfrog,
                    n_steps=n_steps,
                    generator=generator,
                )
            )


@torch.compiler.disable
@names_wrong_types
def tune_path(
    energy: Energy,
    x: Tensor,
    betas: Optional[Tensor] = None,
    *,
    sampler: str = "hmc",
    n_steps: int = 100,
    target_acceptance: Optional[float] = None,
    n_leapfrog: int = 10,
    generator: Optional[torch.Generator] = None,
) -> PathTuning:
    """A pilot run along a path: :func:`torch_ebm.warm_up` at every temperature.

    Each starts from the last states of the one before. The tuning is fixed before an estimate
    begins, which therefore stays unbiased::

        path = annealed_energy(energy, base)
        ais(energy, base, tune_path(path, base.sample((100,))))

    Args:
        energy: with the path to follow, see :func:`annealed_energy`.
        x: (N, ...), drawn from the distribution at ``betas[0]``.
        betas: (R,), R >= 2, strictly rising; default: 11 from 0 to 1, evenly spaced.
        sampler: "hmc" or "mala".
        n_steps: at each temperature, at least 20.
        target_acceptance, n_leapfrog: see :func:`torch_ebm.warm_up`.

    Raises:
        ValueError: invalid betas, an unknown sampler; and as :func:`torch_ebm.warm_up` does.
    """
    if betas is None:
        betas = torch.linspace(0, 1, 11, dtype=torch.float64)
    with as_argument(energy) as argument:
        step_size, inverse_mass = torch.ops.torch_ebm.tune_path(
            argument,
            x,
            betas,
            sampler=sampler,
            n_steps=n_steps,
            target_acceptance=target_acceptance,
            n_leapfrog=n_leapfrog,
            generator=generator,
        )
    return PathTuning(sampler, betas.double().cpu(), step_size, inverse_mass, n_leapfrog)
