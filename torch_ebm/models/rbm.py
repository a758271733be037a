"""The Bernoulli restricted Boltzmann machine."""

from __future__ import annotations

from typing import Optional, Union

import torch
from torch import Tensor

from .. import _library  # noqa: F401
from ..common._arguments import as_beta, checked_matrix, fill_parameters
from ..common._wrong_types import names_wrong_types
from ..energy.energy import ClosedForms

_INITIAL_WEIGHT_SCALE = 0.01


class RBM(ClosedForms):
    """A Bernoulli RBM as a module over its visible units: ``forward(v)`` is the free energy F(v).

    Units are 0 or 1, V visible and H hidden (Goodfellow, Bengio & Courville 2016, section 20.2)::

        E(v, h) = -b.v - c.h - v.W h,     F(v) = -b.v - sum_j softplus(c_j + (v W)_j)

    Weights start at N(0, 0.01^2) and biases at 0 (Hinton 2010, section 8). The module can be
    scripted and compiled; its state dict is that of the C++ ``torch_ebm::RBM``.

    Attributes:
        weight: W, shape (V, H).
        visible_bias: b, shape (V,).
        hidden_bias: c, shape (H,).

    Raises:
        ValueError: fewer than one unit in a layer.
    """

    _PARAMETERS = ("weight", "visible_bias", "hidden_bias")

    @names_wrong_types
    def __init__(
        self,
        n_visible: int,
        n_hidden: int,
        *,
        dtype: Optional[torch.dtype] = None,
        device: Optional[torch.device] = None,
    ) -> None:
        super().__init__()
        if n_visible < 1 or n_hidden < 1:
            raise ValueError(
                f"RBM: n_visible and n_hidden must be at least 1, got {n_visible} and {n_hidden}"
            )
        self.n_visible = n_visible
        self.n_hidden = n_hidden
        like = {"dtype": dtype, "device": device}
        self.weight = torch.nn.Parameter(torch.empty(n_visible, n_hidden, **like))
        self.visible_bias = torch.nn.Parameter(torch.zeros(n_visible, **like))
        self.hidden_bias = torch.nn.Parameter(torch.zeros(n_hidden, **like))
        torch.nn.init.normal_(self.weight, std=_INITIAL_WEIGHT_SCALE)

    @classmethod
    def from_tensors(cls, weight: Tensor, visible_bias: Tensor, hidden_bias: Tensor) -> RBM:
        """An RBM with copies of these parameters, (V, H), (V,) and (H,), as its own.

        Raises:
            TypeError: a weight that is not floating, biases of another dtype.
            ValueError: shapes or devices that do not fit.
        """
        weight = checked_matrix(f"{cls.__name__}.from_tensors: weight", weight, "(V, H)")
        rbm = cls(*weight.shape, dtype=weight.dtype, device=weight.device)
        names = {"weight": weight, "visible_bias": visible_bias, "hidden_bias": hidden_bias}
        fill_parameters(rbm, names)
        return rbm

    def _hold(self, tensors: list[Tensor]) -> Optional[int]:
        return torch.ops.torch_ebm._hold_rbm(*tensors)

    def extra_repr(self) -> str:
        return f"n_visible={self.n_visible}, n_hidden={self.n_hidden}"

    @names_wrong_types
    def forward(self, visible: Tensor) -> Tensor:
        """Free energies F(v), shape (N,), of ``visible`` (N, V)."""
        return torch.ops.torch_ebm.rbm_free_energy(
            visible, self.weight, self.visible_bias, self.hidden_bias
        )

    @torch.jit.export
    @names_wrong_types
    def tempered(self, visible: Tensor, beta: Tensor) -> Tensor:
        """Free energies at inverse temperature ``beta``, () or (N,): -log sum_h exp(-beta
        E(v, h)).
        """
        if not torch.jit.is_scripting():
            self._check_closed_form("tempered")
        return torch.ops.torch_ebm.rbm_free_energy(
            visible, self.weight, self.visible_bias, self.hidden_bias, beta
        )

    @torch.jit.export
    @names_wrong_types
    def energy(self, visible: Tensor, hidden: Tensor) -> Tensor:
        """Joint energies E(v, h), shape (N,), of ``visible`` (N, V) and ``hidden`` (N, H)."""
        return torch.ops.torch_ebm.rbm_energy(
            visible, hidden, self.weight, self.visible_bias, self.hidden_bias
        )

    @torch.jit.export
    @names_wrong_types
    def hidden_given_visible(self, visible: Tensor) -> Tensor:
        """P(h_j = 1 | v), shape (N, H)."""
        if visible.dim() != 2 or visible.size(1) != self.n_visible:
            raise ValueError(
                f"RBM.hidden_given_visible: visible must have shape (N, {self.n_visible}),"
                f" got {visible.shape}"
            )
        return torch.sigmoid(torch.addmm(self.hidden_bias, visible, self.weight))

    @torch.jit.export
    @names_wrong_types
    def visible_given_hidden(self, hidden: Tensor) -> Tensor:
        """P(v_i = 1 | h), shape (N, V)."""
        if hidden.dim() != 2 or hidden.size(1) != self.n_hidden:
            raise ValueError(
                f"RBM.visible_given_hidden: hidden must have shape (N, {self.n_hidden}),"
                f" got {hidden.shape}"
            )
        return torch.sigmoid(torch.addmm(self.visible_bias, hidden, self.weight.t()))

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
        """``n_steps`` of block Gibbs sampling: new visible states, in the shape of ``x`` (N, V).

        See :func:`torch_ebm.rbm_gibbs`.
        """
        if not torch.jit.is_scripting():
            self._check_closed_form("gibbs")
        states, _ = torch.ops.torch_ebm.rbm_gibbs(
            x,
            self.weight,
            self.visible_bias,
            self.hidden_bias,
            n_steps=n_steps,
            beta=beta,
            clamp=clamp,
            generator=generator,
        )
        return states

    @torch.jit.export
    @names_wrong_types
    def flip_differences(self, x: Tensor, sites: Optional[Tensor] = None) -> Tensor:
        """F(x with one unit flipped) - F(x): (N, V), or of the units ``sites`` (int64), (N, m).

        Takes O(N m H) time and O(N (V + H) + V H) memory, forward and backward.
        """
        if not torch.jit.is_scripting():
            self._check_closed_form("flip_differences")
        return torch.ops.torch_ebm.rbm_flip_differences(
            x, self.weight, self.visible_bias, self.hidden_bias, sites
        )

    @torch.jit.export
    def log_z(self) -> Tensor:
        """Exact log Z, float64: a sum over the smaller layer, which may have at most 25 units."""
        if not torch.jit.is_scripting():
            self._check_closed_form("log_z")
        return torch.ops.torch_ebm.rbm_log_z(self.weight, self.visible_bias, self.hidden_bias)

    @torch.jit.export
    @names_wrong_types
    def sample(self, n: int, generator: Optional[torch.Generator] = None) -> Tensor:
        """``n`` exact and independent samples of the visible units, (n, V).

        The smaller layer, of at most 20 units, is enumerated; the other is drawn given it. On the
        CPU, sample i has the same random numbers whatever n.
        """
        if not torch.jit.is_scripting():
            self._check_closed_form("sample")
        return torch.ops.torch_ebm.rbm_sample(
            self.weight, self.visible_bias, self.hidden_bias, n, generator=generator
        )


@names_wrong_types
def rbm_gibbs(
    visible: Tensor,
    weight: Tensor,
    visible_bias: Tensor,
    hidden_bias: Tensor,
    *,
    n_steps: int = 1,
    beta: Union[float, Tensor, None] = None,
    clamp: Optional[Tensor] = None,
    generator: Optional[torch.Generator] = None,
) -> tuple[Tensor, Tensor]:
    """Block Gibbs sampling of an RBM: ``n_steps`` times h ~ p(h | v), then v ~ p(v | h).

    Leaves exp(-beta E(v, h)) exactly invariant. On the CPU, chain i draws the same random numbers
    whatever the number of chains and threads.

    Args:
        visible: zeros and ones, (N, V).
        weight, visible_bias, hidden_bias: the parameters, (V, H), (V,), (H,).
        beta: inverse temperature, one number, shape (), or one for every chain, (N,). Default 1.
        clamp: boolean, (V,) or (N, V); true where a visible unit keeps its value.
        generator: one key is drawn from it; default: torch's default generator.

    Returns:
        The visible (N, V) and hidden (N, H) states of the last step, detached.

    Raises:
        ValueError: states other than 0 and 1, no chains, ``n_steps`` < 1, negative ``beta``,
            parameters that are not finite, wrong shapes or devices.
        TypeError: wrong dtypes.
    """
    return torch.ops.torch_ebm.rbm_gibbs(
        visible,
        weight,
        visible_bias,
        hidden_bias,
        n_steps=n_steps,
        beta=as_beta(beta),
        clamp=clamp,
        generator=generator,
    )


@names_wrong_types
def base_rate_bias(data: Tensor, pseudocount: float = 1.0) -> Tensor:
    """Visible biases of independent units that have the frequencies of ``data`` (N, V).

    They are the logits of the mean, after adding ``pseudocount`` examples of ones and as many of
    zeros: the base-rate model of Salakhutdinov & Murray (2008), and a good initial
    ``visible_bias``.

    Raises:
        ValueError: data other than 0 and 1, or ``pseudocount`` <= 0.
    """
    return torch.ops.torch_ebm.base_rate_bias(data, pseudocount)
