"""The trained model as saved to disk: a scripted module with its own sampler and its log Z."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Union

import torch
import torch_ebm
from torch import Tensor


class DigitModel(torch.nn.Module):
    """p(v) = exp(-F(v)) / Z. Script it: its methods call the library's operators by name.

    Attributes:
        energy: the RBM.
        log_z: a buffer, float64.
    """

    def __init__(self, rbm: torch_ebm.RBM, log_z: Tensor, image_shape: tuple[int, int]) -> None:
        super().__init__()
        self.energy = rbm
        self.register_buffer("log_z", log_z.detach().double())
        self.n_visible = rbm.n_visible
        self.height, self.width = image_shape

    def forward(self, visible: Tensor) -> Tensor:
        """log p(v), shape (N,), float64, of ``visible`` (N, V)."""
        return -self.energy(visible).double() - self.log_z

    @torch.jit.export
    def sample(
        self, n_chains: int, n_steps: int, generator: Optional[torch.Generator] = None
    ) -> Tensor:
        """``n_chains`` states (n_chains, V) after ``n_steps`` of Gibbs sampling from noise."""
        start = torch.ops.torch_ebm.start_states(
            "bernoulli", [n_chains, self.n_visible], dtype=torch.float32, generator=generator
        )
        return torch.ops.torch_ebm.gibbs(self.energy, start, n_steps=n_steps, generator=generator)[
            0
        ]

    @torch.jit.export
    def fill_in(
        self,
        visible: Tensor,
        known: Tensor,
        n_steps: int,
        generator: Optional[torch.Generator] = None,
    ) -> Tensor:
        """New states for the units of ``visible`` (N, V) not ``known`` (V,), given the rest."""
        noise = torch.ops.torch_ebm.start_states(
            "bernoulli", visible.size(), dtype=torch.float32, generator=generator
        )
        start = torch.where(known, visible, noise)
        return torch.ops.torch_ebm.gibbs(
            self.energy, start, n_steps=n_steps, clamp=known, generator=generator
        )[0]


def save_scripted(
    path: Union[str, Path], rbm: torch_ebm.RBM, log_z: Tensor, image_shape: tuple[int, int]
) -> torch.jit.ScriptModule:
    """Scripts the model, writes it to ``path`` and returns it."""
    scripted = torch.jit.script(DigitModel(rbm, log_z, image_shape).eval())
    scripted.save(str(path))
    return scripted
