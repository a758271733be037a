"""The moment-averaged path to an RBM."""

from __future__ import annotations

from typing import Optional

import torch
from torch import Tensor

from ...common._wrong_types import names_wrong_types
from ...energy.energy import runs_forward_of
from ...models.rbm import RBM
from .rbm_path import RBMPath


@torch.compiler.disable
@names_wrong_types
def moment_averaged_path(
    rbm: RBM,
    base_visible_bias: Tensor,
    *,
    n_knots: int = 9,
    x: Optional[Tensor] = None,
    n_model_steps: int = 1000,
    n_chains: int = 100,
    n_updates: int = 500,
    learning_rate: float = 0.1,
    generator: Optional[torch.Generator] = None,
) -> RBMPath:
    """The moment-averaged path to an RBM (Grosse, Maddison & Salakhutdinov 2013).

    Knot r of n + 1 is the RBM whose moments E[v], E[h] and E[v h'] are 1 - r / n times those of the
    base plus r / n times those of the model. Knots are trained by stochastic approximation, one
    after the other, on persistent chains (section 3.2), with the gradient in centred units
    (Montavon & Mueller 2012). They are placed so that, for a piecewise linear path, evenly spaced
    inverse temperatures are optimal.

    This is a pilot run: the path is fixed before an estimate begins, which therefore stays
    unbiased, however good the knots are. Whether it beats the geometric path depends on the base
    and on how well chains mix: compare the ``ess``.

    Args:
        rbm: an RBM, or a module with the same three parameters.
        base_visible_bias: of independent visible units, (V,), in the dtype of the RBM; the hidden
            units of the base are fair coins. ``base_rate_bias(data)`` works well.
        n_knots: including the base and the model, at least 2.
        x: samples of the model, (N, V), from which its moments are taken. Default: its own chains.
        n_model_steps: block Gibbs steps of these chains, at least 2; the first half takes them from
            the base to the model.
        n_chains: for the model and for every knot.
        n_updates: for every knot, with one block Gibbs step each.
        learning_rate: falls linearly to 0 over the updates of a knot.

    Raises:
        ValueError: parameters that are not finite, other shapes, x other than 0 and 1, options out
            of range.
        NotImplementedError: an RBM whose ``forward`` is not that of the class.
    """
    if isinstance(rbm, RBM) and not runs_forward_of(rbm, RBM):
        raise NotImplementedError(
            "moment_averaged_path: rbm must have the forward of RBM, got a"
            f" {type(rbm).__name__} with another one, or with hooks"
        )
    return RBMPath(
        *torch.ops.torch_ebm.moment_averaged_rbms(
            rbm.weight,
            rbm.visible_bias,
            rbm.hidden_bias,
            base_visible_bias,
            n_knots=n_knots,
            x=x,
            n_model_steps=n_model_steps,
            n_chains=n_chains,
            n_updates=n_updates,
            learning_rate=learning_rate,
            generator=generator,
        )
    )
