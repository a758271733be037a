"""What all criteria have in common.

A criterion is a training objective, to be minimised, in which Z cancels or is learned. It
is called as ``criterion(energy, x, *, ...)``, is differentiable in the parameters of the energy,
and takes

* ``energy``: any callable or module that maps a batch (N, ...) to energies (N,);
* ``x``: the data, (N, ...), floating; they get no gradient;
* ``weights``: of the examples, (N,), floating or integer, >= 0 and not all 0; an example of weight
  0 does not count; default 1;
* ``reduction``: "mean", the (weighted) mean over the examples, shape (); "sum"; or "none", the
  (weighted) terms of the examples, (N,);
* ``generator``: source of the one key per call of a criterion that draws random numbers; default:
  torch's default generator. :func:`torch_ebm.maximum_likelihood` has no such argument.

Compiled (``torch.compile``, with ``fullgraph=True`` too) a criterion is part of the graph, if
``energy`` is a module, not a scripted one, and neither ``generator`` nor ``chunk_size`` is given;
:func:`torch_ebm.kernel_stein_discrepancy` and :func:`torch_ebm.recovery_likelihood` never are. What
is not breaks the graph and runs as always. A compiled criterion draws the same numbers; it does not
look at values, so that NaN or states that are not binary are not refused, and it is compiled anew
for every shape of its arguments.

All raise ValueError for an empty batch, for data or weights that are not finite, and for an unknown
reduction, and TypeError for data that are not floating. Exceptions of ``energy`` keep their type,
and NaN energies give NaN. Inside a scripted model call
``torch.ops.torch_ebm.<criterion>(self.energy, x, ...)``.
"""

from __future__ import annotations

import itertools
import weakref
from typing import Literal

import torch
from torch import Tensor

from .. import _library  # noqa: F401
from ..energy.energy import Energy, held_argument

Reduction = Literal["mean", "sum", "none"]


def run_criterion(op: str, energy: Energy, x: Tensor, **options: object) -> Tensor:
    """Calls the criterion's operator ``op``."""
    if not torch.compiler.is_compiling():
        return _call_operator(op, energy, x, options)
    if (
        not isinstance(energy, torch.nn.Module)
        or isinstance(energy, torch.jit.ScriptModule)
        or options.get("generator") is not None
        or options.get("chunk_size") is not None
    ):
        return _call_outside_the_graph(op, energy, x, options)
    # What the compiled code depends on, Dynamo learns from a call that it follows; the value, and
    # what happens to the copies of the buffers, is not used.
    buffers = {name: buffer.detach().clone() for name, buffer in energy.named_buffers()}
    torch.func.functional_call(energy, buffers, (x.detach(),))
    tensors = {f"energy.{name}": value for name, value in energy.named_parameters()}
    tensors.update({f"energy.{name}": value for name, value in energy.named_buffers()})
    return _call_in_the_graph(_number_of(energy), tensors, op, x, options)


def _call_operator(op: str, energy: Energy, x: Tensor, options: dict[str, object]) -> Tensor:
    argument, registration = held_argument(energy)
    loss = getattr(torch.ops.torch_ebm, op)(argument, x, **options)
    if loss.grad_fn is not None and options.get("chunk_size") is not None:
        loss.grad_fn.metadata["torch_ebm.energy"] = registration  # the backward pass calls it
    return loss


_call_outside_the_graph = torch.compiler.disable(_call_operator)


class _OfParameters(torch.nn.Module):
    """A criterion as a function of the tensors of an energy, for ``functional_call``."""

    def __init__(self, energy: torch.nn.Module) -> None:
        super().__init__()
        self.energy = energy

    def forward(self, op: str, x: Tensor, options: dict[str, object]) -> Tensor:
        return _call_operator(op, self.energy, x, options)


# The energies of compiled criteria. A graph holds tensors and numbers, so it knows them by number.
_numbers: weakref.WeakKeyDictionary[torch.nn.Module, int] = weakref.WeakKeyDictionary()
_energies: weakref.WeakValueDictionary[int, torch.nn.Module] = weakref.WeakValueDictionary()
_next_number = itertools.count()


@torch.compiler.assume_constant_result
def _number_of(energy: torch.nn.Module) -> int:
    number = _numbers.setdefault(energy, next(_next_number))
    _energies[number] = energy
    return number


def _of_fixed_shape(value: object) -> object:
    """A tensor whose sizes are numbers, so that the operators may look at them."""
    if isinstance(value, Tensor) and not all(type(size) is int for size in value.shape):
        return value.reshape([int(size) for size in value.shape])
    return value


@torch.compiler.allow_in_graph
def _call_in_the_graph(
    number: int, tensors: dict[str, Tensor], op: str, x: Tensor, options: dict[str, object]
) -> Tensor:
    """The operator, which the compiler breaks down into those of torch, not Dynamo."""
    fixed = {name: _of_fixed_shape(value) for name, value in options.items()}
    criterion = _OfParameters(_energies[number])
    # That dispatcher would hold the GIL, which the derivatives in the operator must not do.
    with torch._C._DisablePythonDispatcher():
        return torch.func.functional_call(criterion, dict(tensors), (op, _of_fixed_shape(x), fixed))
