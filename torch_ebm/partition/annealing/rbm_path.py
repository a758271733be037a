"""A path through RBMs, for annealing."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent

from ... import _library  # noqa: F401
from ...common._wrong_types import names_wrong_types
from ...energy.energy import ClosedForms


class RBMPath(ClosedForms):
    """A path through R RBMs, its knots, for annealing.

    Knot r is at inverse temperature ``betas[r]``. Between two knots weights and biases are linear
    in beta, so that the joint distribution of v and h is the geometric average of those of the
    knots. The first knot has no weights, so that its visible units are independent; the last one
    is the model, and ``forward(v)`` its free energy::

        path = torch_ebm.moment_averaged_path(rbm, torch_ebm.base_rate_bias(data))
        torch_ebm.ais(path, path.base())

    With two knots, (0, bA, 0) and the model, it is the path that :func:`torch_ebm.ais` takes to an
    RBM by default. The module can be scripted; its state dict is that of the C++
    ``torch_ebm::RBMPath``. Knots are buffers: they get no gradients.

    Args:
        weight: (R, V, H), R >= 2.
        visible_bias: (R, V).
        hidden_bias: (R, H).
        betas: (R,), rising strictly from 0 to 1; default: evenly spaced.

    Raises:
        ValueError: other shapes or betas, parameters that are not finite, a first knot with
            weights.
        TypeError: different dtypes.
    """

    @names_wrong_types
    def __init__(
        self,
        weight: Tensor,
        visible_bias: Tensor,
        hidden_bias: Tensor,
        betas: Optional[Tensor] = None,
    ) -> None:
        super().__init__()
        betas = torch.ops.torch_ebm._rbm_path_betas(weight, visible_bias, hidden_bias, betas)
        self.register_buffer("weight", weight.detach().clone())
        self.register_buffer("visible_bias", visible_bias.detach().clone())
        self.register_buffer("hidden_bias", hidden_bias.detach().clone())
        self.register_buffer("betas", betas)

    def extra_repr(self) -> str:
        n_knots, n_visible, n_hidden = self.weight.shape
        return f"n_knots={n_knots}, n_visible={n_visible}, n_hidden={n_hidden}"

    def base(self) -> Independent:
        """The distribution of the visible units at beta = 0."""
        return Independent(Bernoulli(logits=self.visible_bias[0]), 1)

    @names_wrong_types
    def forward(self, visible: Tensor) -> Tensor:
        """Free energies of the last knot, (N,), of ``visible`` (N, V)."""
        return torch.ops.torch_ebm.rbm_free_energy(
            visible, self.weight[-1], self.visible_bias[-1], self.hidden_bias[-1]
        )

    @torch.jit.export
    @names_wrong_types
    def rbm_at(self, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Weight (V, H), visible bias (V,) and hidden bias (H,) at ``beta``, (), in [0, 1].

        Raises:
            ValueError: a beta outside [0, 1], or one for every chain.
        """
        return torch.ops.torch_ebm.rbm_path_at(
            self.weight, self.visible_bias, self.hidden_bias, self.betas, beta
        )

    @torch.jit.export
    @names_wrong_types
    def tempered(self, visible: Tensor, beta: Tensor) -> Tensor:
        """Free energies at ``beta``, as :meth:`rbm_at` takes it: (N,), of ``visible`` (N, V)."""
        if not torch.jit.is_scripting():
            self._check_closed_form("tempered")
        weight, visible_bias, hidden_bias = self.rbm_at(beta)
        return torch.ops.torch_ebm.rbm_free_energy(visible, weight, visible_bias, hidden_bias)

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
        """``n_steps`` of block Gibbs sampling at ``beta``, as :meth:`rbm_at` takes it; default 1.

        See :func:`torch_ebm.rbm_gibbs`. New visible states, in the shape of ``x`` (N, V).
        """
        if not torch.jit.is_scripting():
            self._check_closed_form("gibbs")
        weight, visible_bias, hidden_bias = self.rbm_at(x.new_ones(()) if beta is None else beta)
        states, _ = torch.ops.torch_ebm.rbm_gibbs(
            x,
            weight,
            visible_bias,
            hidden_bias,
            n_steps=n_steps,
            clamp=clamp,
            generator=generator,
        )
        return states
