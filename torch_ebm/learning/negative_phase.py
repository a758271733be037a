"""The negative phase: the source of the samples that estimate the gradient of log Z.

Three algorithms (Goodfellow, Bengio & Courville 2016, section 18.2), each a module that keeps its
chains and its random state in its state dict, so that a saved and reloaded one continues bit for
bit::

    pcd = torch_ebm.PCD(100, (64,), sampler=functools.partial(torch_ebm.gibbs, n_steps=5))
    negative = pcd(energy)
    loss = energy(data).mean() + torch_ebm.log_partition(energy, negative)

In distributed training every process has chains of its own. They are no buffers, which
DistributedDataParallel would overwrite with those of rank 0. Without ``seed``, the random numbers
depend on the rank (rank 0 draws those of a single process), also after a checkpoint of another rank
was loaded. With ``seed``, give every rank another one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Optional, Union

import torch
from torch import Tensor

from ..common._wrong_types import names_wrong_types
from ..energy.energy import Energy
from ..samplers.gibbs import gibbs
from ..samplers.sampler import Sampler, Samples, states_of
from ._own_state import OwnState, distributed_rank


#: The distribution of first states: a name, see :func:`start_states`, or a function
#: ``law(size, generator)`` that returns finite states of that size; they are converted to the dtype
#: and device that are asked for.
StartLaw = Union[str, Callable[[Sequence[int], Optional[torch.Generator]], Tensor]]


@names_wrong_types
def start_states(
    law: StartLaw,
    size: Sequence[int],
    *,
    dtype: Optional[torch.dtype] = None,
    device: Optional[torch.device] = None,
    generator: Optional[torch.Generator] = None,
) -> Tensor:
    """Initial states for chains, of the given size (N, ...).

    Args:
        law: ``"bernoulli"`` (0 or 1 with probability 1/2), ``"categorical"`` (one-hot along the
            last dimension, all its K >= 2 states equally likely), ``"uniform"`` (on (0, 1)),
            ``"uniform(low, high)"`` (on that interval), ``"normal"``, or a function
            ``law(size, generator)``.

    Raises:
        TypeError: a law that is neither.
        ValueError: an unknown law, an empty size, and a function that returns states of another
            size or states that are not finite.
    """
    if not isinstance(law, str):
        return _states_of_function(law, tuple(size), dtype, device, generator)
    return torch.ops.torch_ebm.start_states(
        law,
        list(size),
        dtype=dtype or torch.get_default_dtype(),
        device=torch.device(device) if device is not None else torch.device("cpu"),
        generator=generator,
    )


def _states_of_function(
    law: StartLaw,
    size: tuple[int, ...],
    dtype: Optional[torch.dtype],
    device: Optional[torch.device],
    generator: Optional[torch.Generator],
) -> Tensor:
    if not callable(law):
        raise TypeError(
            f"start_states: law must be a name or a function, got {type(law).__name__}"
        )
    states = law(size, generator)
    if not isinstance(states, Tensor):
        raise TypeError(
            f"start_states: what law returns must be a tensor, got {type(states).__name__}"
        )
    if tuple(states.shape) != size or len(states) == 0:
        raise ValueError(
            f"start_states: what law returns must have shape {size}, got {tuple(states.shape)}"
        )
    states = states.detach().to(device or "cpu", dtype or torch.get_default_dtype())
    if not states.isfinite().all():
        raise ValueError("start_states: what law returns must be finite")
    return states


class NegativePhase(OwnState):
    """The source of negative samples: what NaiveMCMC, CD and PCD have in common.

    Call it with an energy and, if it needs them, as CD does, the batch of data, to get negative
    samples (N, ...), detached. If the sampler raises, the object stays unchanged.

    Attributes:
        generator_state: the state of the generator that the next call draws from.
        start: the states that the chains of the last call started from; None before the first.
        acceptance_rate: of the sampler in the last call, (N,), float64; None before the first, and
            with a sampler that returns states alone.
    """

    generator_state: Tensor

    @torch.inference_mode(False)  # else no buffer could be updated outside of that mode
    @names_wrong_types
    def __init__(self, sampler: Sampler, seed: Optional[int]) -> None:
        super().__init__()
        if not callable(sampler):
            raise TypeError(f"sampler must be callable, got {type(sampler).__name__}")
        self.sampler = sampler
        self.start: Optional[Tensor] = None
        self.acceptance_rate: Optional[Tensor] = None
        self._by_rank = seed is None
        self._rank = 0  # whose random numbers generator_state stands for
        if seed is None:
            seed = int(torch.randint(2**32, ()))
        generator = torch.Generator().manual_seed(seed)
        self._set_own("generator_state", generator.get_state())

    def _generator(self) -> torch.Generator:
        generator = torch.Generator()
        generator.set_state(self.generator_state.cpu())
        rank = distributed_rank()
        if self._by_rank and rank != self._rank:  # new, or from the checkpoint of another rank
            seed = int(torch.randint(2**62, (), generator=generator))
            generator.manual_seed(seed + rank)
        return generator

    def _set(self, name: str, value: object) -> None:
        """``setattr`` without the search for parameters, which takes as long as a small sampler."""
        object.__setattr__(self, name, value)

    def _keep_generator(self, generator: torch.Generator) -> None:
        self.generator_state.copy_(generator.get_state())
        if self._by_rank:
            self._set("_rank", distributed_rank())

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self._rank:
            destination[prefix + "rank"] = torch.tensor(self._rank)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        state_dict = dict(state_dict)
        self._rank = int(state_dict.pop(prefix + "rank", 0))
        super()._load_from_state_dict(state_dict, prefix, *others)

    @torch.compiler.disable
    @torch.no_grad()
    @names_wrong_types
    def forward(self, energy: Energy, positive: Optional[Tensor] = None) -> Tensor:
        """Negative samples of ``energy``, (N, ...), detached."""
        generator = self._generator()
        start = self._first_states(positive, generator)
        last = self._transition(energy, start, generator)
        self._set("start", start)
        self._keep(last)
        self._keep_generator(generator)
        return self._negatives(last)

    def _check_states(self, states: Tensor, start: Tensor) -> None:
        must_return = f"{type(self).__name__}: sampler must return"
        if states.shape != start.shape:
            expected, got = tuple(start.shape), tuple(states.shape)
            raise ValueError(f"{must_return} the shape of the chains, {expected}, got {got}")
        if states.dtype != start.dtype:
            raise TypeError(
                f"{must_return} the dtype of the chains, {start.dtype}, got {states.dtype}"
            )
        if states.device != start.device:
            raise ValueError(
                f"{must_return} states on the device of the chains, {start.device}, got"
                f" {states.device}"
            )
        # A sum is one quick pass, but may overflow.
        if not (math.isfinite(states.sum()) or bool(states.isfinite().all())):
            raise ValueError(f"{must_return} finite states, got NaN or infinite ones")

    def _first_states(self, positive: Optional[Tensor], generator: torch.Generator) -> Tensor:
        raise NotImplementedError

    def _transition(self, energy: Energy, start: Tensor, generator: torch.Generator) -> Tensor:
        # A copy: a sampler may work in place.
        result = self.sampler(energy, start.clone(), generator=generator)
        last = states_of(result).detach()
        self._check_states(last, start)
        rate = result.acceptance_rate if isinstance(result, Samples) else None
        self._set("acceptance_rate", rate)
        return last

    def _keep(self, last_states: Tensor) -> None:
        """May replace ``start``; must not raise."""

    def _negatives(self, last_states: Tensor) -> Tensor:
        return last_states

    def _data(self, positive: Optional[Tensor]) -> Tensor:
        if positive is None:
            raise ValueError(f"{type(self).__name__}: positive must be the batch of data")
        return positive.detach()


class NaiveMCMC(NegativePhase):
    """Algorithm 18.1: ``n_chains`` new chains for every gradient, started from noise.

    Correct only if the sampler runs long enough to forget its start.

    Args:
        shape: of one state.
        sampler: a transition of all chains; default: one step of :func:`torch_ebm.gibbs`.
        law: distribution of the first states, see :func:`start_states`.
        seed: only its low 32 bits count; default: drawn from torch's default generator.
    """

    like: Tensor

    @torch.inference_mode(False)
    @names_wrong_types
    def __init__(
        self,
        n_chains: int,
        shape: Sequence[int],
        sampler: Sampler = gibbs,
        *,
        law: StartLaw = "bernoulli",
        seed: Optional[int] = None,
    ) -> None:
        super().__init__(sampler, seed)
        self._size = (n_chains, *shape)
        self._law = law
        self._set_own("like", torch.empty(0))  # follows the module's dtype and device
        self._first_states(None, self._generator())  # rejects a bad size or law at once

    def _first_states(self, positive: Optional[Tensor], generator: torch.Generator) -> Tensor:
        return start_states(
            self._law,
            self._size,
            dtype=self.like.dtype,
            device=self.like.device,
            generator=generator,
        )


class CD(NegativePhase):
    """Algorithm 18.2, contrastive divergence (Hinton 2002): chains start at the data.

    CD-k is ``CD(functools.partial(gibbs, n_steps=k))``. It is biased: it does not see modes of the
    model that are far from the data.
    """

    @names_wrong_types
    def __init__(self, sampler: Sampler = gibbs, *, seed: Optional[int] = None) -> None:
        super().__init__(sampler, seed)

    def _first_states(self, positive: Optional[Tensor], generator: torch.Generator) -> Tensor:
        return self._data(positive).clone()


class PCD(NegativePhase):
    """Algorithm 18.3, persistent contrastive divergence, or stochastic maximum likelihood.

    (Younes 1998; Tieleman 2008.) The chains continue from the last gradient. Correct as long as the
    model changes slowly compared with their mixing.

    Args:
        shape: of one state.
        sampler: a transition of all chains; default: one step of :func:`torch_ebm.gibbs`.
        law: distribution of the first states, see :func:`start_states`.
        seed: only its low 32 bits count; default: drawn from torch's default generator.

    Attributes:
        chains: (n_chains, ...), saved in the state dict.
    """

    chains: Tensor

    @torch.inference_mode(False)
    @names_wrong_types
    def __init__(
        self,
        n_chains: int,
        shape: Sequence[int],
        sampler: Sampler = gibbs,
        *,
        law: StartLaw = "bernoulli",
        seed: Optional[int] = None,
    ) -> None:
        super().__init__(sampler, seed)
        generator = self._generator()
        self._set_own("chains", start_states(law, (n_chains, *shape), generator=generator))
        self._keep_generator(generator)

    def _first_states(self, positive: Optional[Tensor], generator: torch.Generator) -> Tensor:
        return self.chains.clone()

    def _keep(self, last_states: Tensor) -> None:
        self.chains.copy_(last_states)
