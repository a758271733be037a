"""The log-likelihood of data under a model, and the comparison of two models."""

from __future__ import annotations

from typing import NamedTuple, Optional, Union

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy, as_argument
from .log_z_estimate import LogZEstimate


class LogLikelihood(NamedTuple):
    """The result of :func:`log_likelihood`; all in float64, all but ``values`` of shape ().

    The mean has two errors. That of the examples shrinks with their number; that of log Z is common
    to all of them and does not.
    """

    values: Tensor
    """log p of every example, (N,)."""
    mean: Tensor
    """Over the examples."""
    data_error: Tensor
    """Standard error of the mean over independent examples."""
    log_z_error: Tensor
    """Standard error of log Z, common to all values."""
    std_error: Tensor
    """Both together: sqrt(data_error^2 + log_z_error^2)."""
    lower: Tensor
    """95% interval of the mean."""
    upper: Tensor
    warning: str = ""
    """The warning of the log Z estimate."""

    def __str__(self) -> str:
        text = (
            f"log-likelihood = {self.mean:.4f} [{self.lower:.4f}, {self.upper:.4f}] nats per"
            f" example, {len(self.values)} examples, standard error {self.data_error:.2g} of the"
            f" data and {self.log_z_error:.2g} of log Z"
        )
        return f"{text}. {self.warning}" if self.warning else text


class LogLikelihoodComparison(NamedTuple):
    """The result of :func:`compare_log_likelihoods`, in the units of :class:`LogLikelihood`."""

    differences: Tensor
    """log p_a - log p_b of every example, (N,)."""
    mean: Tensor
    """Over the examples; above 0 where A is better."""
    data_error: Tensor
    """Standard error of the mean, from the differences."""
    log_z_error: Tensor
    """Standard error of log Z_a - log Z_b, common to all differences."""
    std_error: Tensor
    lower: Tensor
    """95% interval of the mean."""
    upper: Tensor
    warning: str = ""
    """The warnings of the log Z estimates."""

    def __str__(self) -> str:
        if self.lower > 0:
            text = f"A is better by {_interval(self.mean, self.lower, self.upper)}"
        elif self.upper < 0:
            text = f"B is better by {_interval(-self.mean, -self.upper, -self.lower)}"
        else:
            text = f"No significant difference: A - B = {_interval(self.mean, *self[5:7])}"
        return f"{text}. {self.warning}" if self.warning else text


def _interval(mean: Tensor, lower: Tensor, upper: Tensor) -> str:
    return f"{mean:.4f} nats per example [{lower:.4f}, {upper:.4f}]"


@torch.compiler.disable
@names_wrong_types
def log_likelihood(
    energy: Energy,
    x: Tensor,
    log_z: Union[LogZEstimate, Tensor, float],
    *,
    batch_size: Optional[int] = None,
) -> LogLikelihood:
    """log p(x_i) = -E(x_i) - log Z of examples, and their mean with its error.

    The interval combines that of the examples, -+ t(N - 1) data_error, with that of log Z, which
    need not be symmetric: the squares of their arms are added (Zou & Donner 2008). An example that
    the model forbids, of energy +inf, has log p = -inf. The mean is then -inf too, without an
    error.

    Args:
        energy: any callable or module that maps (N, ...) to energies (N,).
        x: independent examples, (N, ...), N >= 2, floating.
        log_z: an estimate, whose error, interval and warning are propagated, or an exact number.
        batch_size: how many examples the energy is given at once; default: all.

    Raises:
        ValueError: N < 2, ``x`` that is not finite, energies that are NaN or -inf, ``log_z`` that
            is not finite or lies outside its interval, ``batch_size`` < 1.
    """
    with as_argument(energy) as argument:
        numbers = torch.ops.torch_ebm.log_likelihood(
            argument, x, _as_log_z(log_z), batch_size=batch_size
        )
    return LogLikelihood(*numbers, _warning(log_z))


@torch.compiler.disable
@names_wrong_types
def compare_log_likelihoods(
    energy_a: Energy,
    energy_b: Energy,
    x: Tensor,
    log_z_a: Union[LogZEstimate, Tensor, float],
    log_z_b: Union[LogZEstimate, Tensor, float],
    *,
    batch_size: Optional[int] = None,
) -> LogLikelihoodComparison:
    """The mean advantage of model A over model B on the examples: log p_a - log p_b.

    What makes an example hard for both models cancels: the error is that of the differences,
    usually far below that of either mean. Prints as a sentence. Arguments as for
    :func:`log_likelihood`; the two estimates of log Z must be independent.

    Raises:
        ValueError: as :func:`log_likelihood`, and for an example that both models forbid.
    """
    with as_argument(energy_a) as a, as_argument(energy_b) as b:
        numbers = torch.ops.torch_ebm.compare_log_likelihoods(
            a, b, x, _as_log_z(log_z_a), _as_log_z(log_z_b), batch_size=batch_size
        )
    named = (("Of A: ", _warning(log_z_a)), ("Of B: ", _warning(log_z_b)))
    return LogLikelihoodComparison(*numbers, " ".join(of + text for of, text in named if text))


def _as_log_z(log_z: Union[LogZEstimate, Tensor, float]) -> Tensor:
    """() if it is exact, else with its error and interval, (4,)."""
    if isinstance(log_z, LogZEstimate):
        return torch.stack([log_z.log_z, log_z.std_error, log_z.lower, log_z.upper])
    number = torch.as_tensor(log_z, dtype=torch.float64)
    if number.dim() != 0:
        raise ValueError(f"log_z must be one number, shape (), got {tuple(number.shape)}")
    return number


def _warning(log_z: Union[LogZEstimate, Tensor, float]) -> str:
    return log_z.warning if isinstance(log_z, LogZEstimate) else ""
