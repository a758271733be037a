"""A multilayer perceptron as an energy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

import torch
from torch import Tensor

from .. import _library  # noqa: F401
from ..common._arguments import checked_matrix, fill_parameters
from ..common._wrong_types import names_wrong_types
from ..energy.energy import ClosedForms, HeldEnergy, is_changed

# torch's own threshold, above which softplus is the identity, makes an error of 2e-9.
_SOFTPLUS_THRESHOLD = 40.0

_ACTIVATIONS = {
    "silu": torch.nn.SiLU,
    "softplus": lambda: torch.nn.Softplus(threshold=_SOFTPLUS_THRESHOLD),
    "tanh": torch.nn.Tanh,
}


def _savable(x: Tensor) -> Tensor:
    """x, or a copy if autograd could not save it."""
    if torch.compiler.is_compiling() or not (x.is_inference() and torch.is_grad_enabled()):
        return x
    return x.clone()


def _is_activation(layer: torch.nn.Module, name: str) -> bool:
    if name == "softplus":
        found = (type(layer), getattr(layer, "beta", None), getattr(layer, "threshold", None))
        return found == (torch.nn.Softplus, 1, _SOFTPLUS_THRESHOLD)
    return type(layer) is _ACTIVATIONS[name]


class MLP(ClosedForms):
    """A multilayer perceptron as an energy, with a score in closed form for the samplers.

    ``forward(x)`` is the energy, a composite of plain torch operators::

        E(x) = layers(x) + confinement |x|^2 / 2

    ``layers`` is ``Sequential(Linear, activation, Linear, ..., Linear)``: the parameters are
    ``layers.0.weight``, ``layers.0.bias``, ``layers.2.weight``, ..., initialised as in
    ``torch.nn.Linear``. The module can be scripted and compiled; its state dict is that of the C++
    ``torch_ebm::MLP``.

    Args:
        sizes: D, the hidden layers (at least one), and 1.
        activation: "silu", "softplus" or "tanh". These are smooth, and so are the scores.
        confinement: c >= 0. A network alone has no finite Z, since it grows at most linearly, or
            not at all.

    Raises:
        ValueError: wrong sizes, an unknown activation, a confinement that is negative or not
            finite.
    """

    _PARAMETERS = ()

    @names_wrong_types
    def __init__(
        self,
        sizes: Sequence[int],
        *,
        activation: str = "silu",
        confinement: float = 0.0,
        dtype: Optional[torch.dtype] = None,
        device: Optional[torch.device] = None,
    ) -> None:
        super().__init__()
        if len(sizes) < 3 or min(sizes) < 1 or sizes[-1] != 1:
            raise ValueError(
                "MLP: sizes must be D, at least one hidden layer, and 1, all positive, "
                f"got {list(sizes)}"
            )
        if activation not in _ACTIVATIONS:
            raise ValueError(
                f"MLP: activation must be 'silu', 'softplus' or 'tanh', got {activation!r}"
            )
        if not 0 <= confinement < float("inf"):
            raise ValueError(f"MLP: confinement must be >= 0 and finite, got {confinement}")
        self.sizes = list(sizes)
        self.activation = activation
        self.confinement = float(confinement)
        layers: list[torch.nn.Module] = []
        for n_in, n_out in zip(sizes, sizes[1:]):
            layers.append(torch.nn.Linear(n_in, n_out, dtype=dtype, device=device))
            layers.append(_ACTIVATIONS[activation]())
        self.layers = torch.nn.Sequential(*layers[:-1])

    @classmethod
    def from_tensors(
        cls,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        *,
        activation: str = "silu",
        confinement: float = 0.0,
    ) -> MLP:
        """A network with copies of these parameters, (out, in) and (out,) of every layer, as its
        own.

        Raises:
            TypeError: a weight that is not floating, parameters of different dtypes.
            ValueError: shapes or devices that do not fit; and as :class:`MLP`.
        """
        what = f"{cls.__name__}.from_tensors"
        if len(weights) != len(biases) or len(weights) < 2:
            raise ValueError(
                f"{what}: weights and biases must be those of at least two layers, got"
                f" {len(weights)} and {len(biases)}"
            )
        for i, weight in enumerate(weights):
            checked_matrix(f"{what}: weights[{i}]", weight, "(out, in)")
        mlp = cls(
            [weights[0].shape[1], *(len(weight) for weight in weights)],
            activation=activation,
            confinement=confinement,
            dtype=weights[0].dtype,
            device=weights[0].device,
        )
        tensors = {f"layers.{2 * i}.weight": weight for i, weight in enumerate(weights)}
        tensors.update({f"layers.{2 * i}.bias": bias for i, bias in enumerate(biases)})
        fill_parameters(mlp, tensors)
        return mlp

    def extra_repr(self) -> str:
        return f"sizes={self.sizes}, activation={self.activation!r}, confinement={self.confinement}"

    @names_wrong_types
    def forward(self, x: Tensor) -> Tensor:
        """Energies E(x), shape (N,), of ``x`` (N, D)."""
        if x.dim() != 2 or x.size(1) != self.sizes[0]:
            raise ValueError(f"MLP: x must have shape (N, {self.sizes[0]}), got {list(x.shape)}")
        if not x.is_floating_point():
            raise TypeError("MLP: x must have a floating dtype")
        if not torch.jit.is_scripting():
            x = _savable(x)
        energy = self.layers(x).squeeze(1)
        if self.confinement != 0.0:
            energy = energy + 0.5 * self.confinement * x.square().sum(1)
        return energy

    def _held(self) -> Optional[HeldEnergy]:
        if not self._is_as_built():
            return None
        return super()._held()

    def _hold(self, tensors: list[Tensor]) -> Optional[int]:
        linear = list(self.layers)[::2]
        weights, biases = [layer.weight for layer in linear], [layer.bias for layer in linear]
        if any(type(tensor) is not torch.nn.Parameter for tensor in (*weights, *biases)):
            return None
        return torch.ops.torch_ebm._hold_mlp(
            weights, biases, self.activation, float(self.confinement)
        )

    def _is_as_built(self) -> bool:
        if type(self).value_and_score is not MLP.value_and_score:
            return True
        if is_changed(self.layers, torch.nn.Sequential):
            return False
        if type(self.confinement) not in (float, int) or not 0 <= self.confinement < float("inf"):
            return False  # a tensor may have a gradient
        layers = list(self.layers)
        return (
            len(layers) == 2 * len(self.sizes) - 3
            and not any(is_changed(layer, torch.nn.Linear) for layer in layers[::2])
            and all(layer.bias is not None for layer in layers[::2])
            and all(_is_activation(layer, self.activation) for layer in layers[1::2])
            and not any(is_changed(layer, type(layer)) for layer in layers[1::2])
        )

    @torch.jit.export
    @names_wrong_types
    def value_and_score(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (N,) and scores -dE/dx (N, D): see :func:`torch_ebm.mlp_value_and_score`."""
        if not torch.jit.is_scripting():
            self._check_closed_form("value_and_score")
        return torch.ops.torch_ebm.mlp_value_and_score(
            x,
            [layer.weight for layer in self.layers[::2]],
            [layer.bias for layer in self.layers[::2]],
            self.activation,
            self.confinement,
        )


@names_wrong_types
def mlp_value_and_score(
    x: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor],
    activation: str = "silu",
    confinement: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Energies and scores of a multilayer perceptron, by an explicit chain rule.

    No graph is recorded. Half precision is computed in float. If all weights fit in the cache
    (256 KiB per layer), the results of a chain are the same bit for bit with any number of threads
    and chains. Otherwise the products are torch's, whose rounding may depend on the batch.

    Args:
        x: (N, D).
        weights, biases: (out, in) and (out,) of every layer, at least two; the last has one unit
            and no activation.
        activation, confinement: as in :class:`MLP`.

    Returns:
        E(x), (N,), and -dE/dx, (N, D), detached.

    Raises:
        ValueError: wrong shapes or devices, an unknown activation, a confinement that is negative
            or not finite.
        TypeError: wrong dtypes.
    """
    return torch.ops.torch_ebm.mlp_value_and_score(
        x, list(weights), list(biases), activation, confinement
    )
