"""What every estimator of log Z returns."""

from __future__ import annotations

from typing import NamedTuple, Optional, Union

import torch
from torch import Tensor

from .. import _library  # noqa: F401
from ..common._wrong_types import names_wrong_types


class LogZEstimate(NamedTuple):
    """An estimate of log Z, by any estimator; all numbers in float64."""

    log_z: Tensor
    """Shape ()."""
    std_error: Tensor
    """Of ``log_z``; shape ()."""
    lower: Tensor
    """95% interval; shape ()."""
    upper: Tensor
    ess: Tensor
    """Effective number of chains, (sum w)^2 / sum w^2, or of samples; shape ()."""
    log_weights: Tensor
    """One per chain, (N,), or per independent group of chains; (0,) if there are no weights."""
    betas: Optional[Tensor] = None
    """The path, (K + 1,), if there is one."""
    stage_ess: Optional[Tensor] = None
    """ESS of the weights accumulated up to ``betas[k + 1]``, (K,)."""
    warning: str = ""
    """Why not to trust the estimate, in one sentence; empty if there is no known reason."""

    def __str__(self) -> str:
        text = f"log Z = {self.log_z:.4f} [{self.lower:.4f}, {self.upper:.4f}], ESS {self.ess:.1f}"
        if len(self.log_weights) > 0:
            text += f" of {len(self.log_weights)}"
        return f"{text}. {self.warning}" if self.warning else text


@names_wrong_types
def log_z_from_weights(
    log_weights: Tensor,
    log_z_base: Union[float, Tensor] = 0.0,
    *,
    betas: Optional[Tensor] = None,
    stage_ess: Optional[Tensor] = None,
) -> LogZEstimate:
    """log Z from N log importance weights (N,): log of their mean, plus ``log_z_base``.

    The standard error is that of the delta method. With fewer than 100 effective weights, it misses
    heavy weights that were not drawn. It is then at least that of a log-normal distribution with
    the spread s of the log weights above their median m: sqrt((exp(s^2) - 1) / N), or, if that is
    smaller, |m + s^2 / 2 - log_z| / t plus sqrt(s^2 / N + s^4 / (2 (N - 1))) (Cox's method, Zhou &
    Gao 1997). The interval is log_z -+ t std_error, where t is the 97.5% point of Student's t
    distribution with N - 1 degrees of freedom. Warns if the ESS is below 10 (below N / 2, if that
    is less) or the interval longer than 2.

    Args:
        log_z_base: log partition function of the distribution that the weights refer to: one
            number, or a tensor of shape (); default: 0.
        betas, stage_ess: copied into the result.

    Raises:
        ValueError: N < 2, or weights that are NaN, +inf or all -inf.
    """
    if not isinstance(log_z_base, Tensor):
        log_z_base = torch.tensor(float(log_z_base), dtype=torch.float64)
    numbers = torch.ops.torch_ebm.log_z_from_weights(log_weights, log_z_base)
    _, _, lower, upper, ess = (number.item() for number in numbers)
    warning = torch.ops.torch_ebm.log_z_warning(ess, len(log_weights), lower, upper)
    return LogZEstimate(*numbers, log_weights.double(), betas, stage_ess, warning)


def overlap_estimate(numbers: tuple[Tensor, ...], betas: Optional[Tensor] = None) -> LogZEstimate:
    """An estimate without weights, from the numbers that an operator returned."""
    log_z, _, lower, upper, ess = numbers
    warning = torch.ops.torch_ebm.overlap_warning(ess.item(), lower.item(), upper.item())
    return LogZEstimate(*numbers, log_z.new_empty(0), betas, None, warning)
