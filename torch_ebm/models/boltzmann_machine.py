"""The fully visible Boltzmann machine."""

from __future__ import annotations

from typing import Literal, Optional, Union

import torch
from torch import Tensor

from .. import _library  # noqa: F401
from ..common._arguments import as_beta, checked_matrix, fill_parameters
from ..common._wrong_types import names_wrong_types
from ..energy.energy import ClosedForms

_INITIAL_WEIGHT_SCALE = 0.01


class BoltzmannMachine(ClosedForms):
    """A Boltzmann machine without hidden units (Ackley, Hinton & Sejnowski 1985).

    Its D units are 0 or 1, and ``forward(x)`` is the energy::

        E(x) = -b.x - x W x / 2

    Only the symmetric part of W counts, without its diagonal, so W is trained as an unconstrained
    matrix. Weights start at N(0, 0.01^2) and biases at 0. The module can be scripted and compiled;
    its state dict is that of the C++ ``torch_ebm::BoltzmannMachine``.

    Attributes:
        weight: W, shape (D, D).
        bias: b, shape (D,).

    Raises:
        ValueError: fewer than one unit.
    """

    _PARAMETERS = ("weight", "bias")

    @names_wrong_types
    def __init__(
        self,
        n_units: int,
        *,
        dtype: Optional[torch.dtype] = None,
        device: Optional[torch.device] = None,
    ) -> None:
        super().__init__()
        if n_units < 1:
            raise ValueError(f"BoltzmannMachine: n_units must be at least 1, got {n_units}")
        self.n_units = n_units
        like = {"dtype": dtype, "device": device}
        self.weight = torch.nn.Parameter(torch.empty(n_units, n_units, **like))
        self.bias = torch.nn.Parameter(torch.zeros(n_units, **like))
        torch.nn.init.normal_(self.weight, std=_INITIAL_WEIGHT_SCALE)

    @classmethod
    def from_tensors(cls, weight: Tensor, bias: Tensor) -> BoltzmannMachine:
        """A machine with copies of these parameters, (D, D) and (D,), as its own.

        Raises:
            TypeError: a weight that is not floating, a bias of another dtype.
            ValueError: shapes or devices that do not fit.
        """
        weight = checked_matrix(f"{cls.__name__}.from_tensors: weight", weight, "(D, D)")
        machine = cls(len(weight), dtype=weight.dtype, device=weight.device)
        fill_parameters(machine, {"weight": weight, "bias": bias})
        return machine

    def _hold(self, tensors: list[Tensor]) -> Optional[int]:
        return torch.ops.torch_ebm._hold_boltzmann_machine(*tensors)

    def extra_repr(self) -> str:
        return f"n_units={self.n_units}"

    @names_wrong_types
    def forward(self, x: Tensor) -> Tensor:
        """Energies E(x), shape (N,), of ``x`` (N, D)."""
        return torch.ops.torch_ebm.boltzmann_energy(x, self.weight, self.bias)

    @torch.jit.export
    @names_wrong_types
    def gibbs(
        self,
        x: Tensor,
        n_steps: int = 1,
        beta: Optional[Tensor] = None,
        clamp: Optional[Tensor] = None,
        generator: Optional[torch.Generator] = None,
    ) -> Tensor:
        """``n_steps`` sweeps of Gibbs sampling: new states, in the shape of ``x`` (N, D).

        See :func:`torch_ebm.boltzmann_gibbs`.
        """
        if not torch.jit.is_scripting():
            self._check_closed_form("gibbs")
        return self._gibbs(x, n_steps, beta, clamp, generator, "systematic")

    @torch.jit.export
    @names_wrong_types
    def random_scan_gibbs(
        self,
        x: Tensor,
        n_steps: int = 1,
        beta: Optional[Tensor] = None,
        clamp: Optional[Tensor] = None,
        generator: Optional[torch.Generator] = None,
    ) -> Tensor:
        """``n_steps`` updates of single units drawn at random: new states, (N, D).

        See :func:`torch_ebm.boltzmann_gibbs`.
        """
        if not torch.jit.is_scripting():
            self._check_closed_form("random_scan_gibbs")
        return self._gibbs(x, n_steps, beta, clamp, generator, "random")

    def _gibbs(
        self,
        x: Tensor,
        n_steps: int,
        beta: Optional[Tensor],
        clamp: Optional[Tensor],
        generator: Optional[torch.Generator],
        scan: str,
    ) -> Tensor:
        return torch.ops.torch_ebm.boltzmann_gibbs(
            x,
            self.weight,
            self.bias,
            n_steps=n_steps,
            beta=beta,
            clamp=clamp,
            generator=generator,
            scan=scan,
        )

    @torch.jit.export
    @names_wrong_types
    def gibbs_with_gradients(
        self,
        x: Tensor,
        n_steps: int = 1,
        beta: Optional[Tensor] = None,
        generator: Optional[torch.Generator] = None,
    ) -> tuple[Tensor, Tensor]:
        """``n_steps`` of Gibbs with gradients: new states (N, D) and acceptance rates (N,).

        See :func:`torch_ebm.boltzmann_gibbs_with_gradients`.
        """
        if not torch.jit.is_scripting():
            self._check_closed_form("gibbs_with_gradients")
        return torch.ops.torch_ebm.boltzmann_gibbs_with_gradients(
            x, self.weight, self.bias, n_steps=n_steps, beta=beta, generator=generator
        )

    @torch.jit.export
    @names_wrong_types
    def flip_differences(self, x: Tensor, sites: Optional[Tensor] = None) -> Tensor:
        """E(x with one unit flipped) - E(x): (N, D), or of the units ``sites`` (int64), (N, m)."""
        if not torch.jit.is_scripting():
            self._check_closed_form("flip_differences")
        return torch.ops.torch_ebm.boltzmann_flip_differences(x, self.weight, self.bias, sites)


@names_wrong_types
def boltzmann_gibbs(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    n_steps: int = 1,
    beta: Union[float, Tensor, None] = None,
    clamp: Optional[Tensor] = None,
    generator: Optional[torch.Generator] = None,
    scan: Literal["systematic", "random"] = "systematic",
) -> Tensor:
    """Gibbs sampling of a Boltzmann machine: ``n_steps`` sweeps of single-site updates.

    Units are updated in order (Geman & Geman 1984): x_i = 1 with probability
    sigmoid(beta (b + W x)_i). Leaves exp(-beta E(x)) exactly invariant. The states of chain i are
    the same whatever the number of chains and threads. Computed on the CPU, in float at least.

    Args:
        x: zeros and ones, (N, D).
        weight, bias: the parameters, (D, D) and (D,); or a bias for every chain, (N, D).
        beta: inverse temperature, one number, shape (), or one for every chain, (N,). Default 1.
        clamp: boolean, (D,) or (N, D); true where a unit keeps its value.
        generator: one key is drawn from it; default: torch's default generator.
        scan: "systematic" updates every unit in a step; "random" one unit of every chain, drawn
            uniformly.

    Returns:
        The new states, detached, (N, D).

    Raises:
        ValueError: states other than 0 and 1, no chains, ``n_steps`` < 1, negative ``beta``,
            parameters that are not finite or so large that sums of them are not, wrong shapes or
            devices.
        TypeError: wrong dtypes.
    """
    return torch.ops.torch_ebm.boltzmann_gibbs(
        x,
        weight,
        bias,
        n_steps=n_steps,
        beta=as_beta(beta),
        clamp=clamp,
        generator=generator,
        scan=scan,
    )


@names_wrong_types
def boltzmann_gibbs_with_gradients(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    n_steps: int = 1,
    beta: Union[float, Tensor, None] = None,
    generator: Optional[torch.Generator] = None,
) -> tuple[Tensor, Tensor]:
    """Gibbs with gradients (Grathwohl et al. 2021, algorithm 1) of a Boltzmann machine.

    A step proposes to flip one unit, i with probability softmax(d / 2)_i, where d_i is the change
    of -beta E(x) by the flip, and accepts or rejects by Metropolis-Hastings. Leaves exp(-beta E(x))
    exactly invariant. The states of chain i are the same whatever the number of chains and threads.
    Computed on the CPU, in float at least.

    Args:
        x: zeros and ones, (N, D).
        weight, bias: the parameters, (D, D) and (D,); or a bias for every chain, (N, D).
        beta: inverse temperature, one number, shape (), or one for every chain, (N,). Default 1.
        generator: one key is drawn from it; default: torch's default generator.

    Returns:
        The new states, detached, (N, D), and the mean acceptance probability of every chain, (N,),
        float64.

    Raises:
        ValueError, TypeError: as :func:`boltzmann_gibbs`.
    """
    return torch.ops.torch_ebm.boltzmann_gibbs_with_gradients(
        x, weight, bias, n_steps=n_steps, beta=as_beta(beta), generator=generator
    )
