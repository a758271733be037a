"""The exact values in tests/data, and states by number."""

import functools
import json
from pathlib import Path

import numpy as np
import torch

import torch_ebm

DATA = Path(__file__).resolve().parents[1] / "data"


@functools.cache
def _index():
    index = {}
    for name in ("values.json", "values_real.json"):
        index.update(json.loads((DATA / name).read_text()))
    return index


class Case:
    """One case: `case.array("W")` is a float64 tensor, `case["logZ"]` a number."""

    def __init__(self, name):
        entry = _index()[name]
        self.name = name
        self.params = entry["params"]
        self.convention = entry["convention"]
        self._scalars = entry["scalars"]
        self._arrays = {}
        if "npz" in entry:
            with np.load(DATA / entry["npz"]) as arrays:
                self._arrays = {key: torch.as_tensor(arrays[key]).double() for key in arrays}

    def __getitem__(self, scalar):
        return self._scalars[scalar]["value"]

    def scalars(self):
        """Their names."""
        return list(self._scalars)

    def array(self, name):
        return self._arrays[name].clone()

    def rbm(self, dtype=torch.float64):
        return make_rbm(self.array("W"), self.array("b"), self.array("c"), dtype)


case = functools.cache(Case)


def data_of(model):
    """The data of a case as arguments of a criterion: a list of examples, or patterns with their counts."""
    if "patterns" in model._arrays:
        return {"x": model.array("patterns"), "weights": model.array("counts")}
    return {"x": model.array("data")}


def make_rbm(weight, visible_bias, hidden_bias, dtype=torch.float64):
    rbm = torch_ebm.RBM(*weight.shape, dtype=dtype)
    with torch.no_grad():
        rbm.weight.copy_(weight)
        rbm.visible_bias.copy_(visible_bias)
        rbm.hidden_bias.copy_(hidden_bias)
    return rbm


def random_rbm(n_visible, n_hidden, scale, seed, dtype=torch.float64):
    """An RBM with N(0, scale^2) weights and N(0, 0.5^2) biases."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*size):
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    return make_rbm(
        scale * normal(n_visible, n_hidden), 0.5 * normal(n_visible), 0.5 * normal(n_hidden), dtype
    )


def embedded(rbm, n_visible, n_hidden):
    """A larger RBM whose first units are those of `rbm` and whose others are fair coins."""
    weight = torch.zeros(n_visible, n_hidden, dtype=rbm.weight.dtype)
    weight[: rbm.n_visible, : rbm.n_hidden] = rbm.weight.detach()
    visible_bias, hidden_bias = weight[:, -1].clone(), weight[-1].clone()
    visible_bias[: rbm.n_visible] = rbm.visible_bias.detach()
    hidden_bias[: rbm.n_hidden] = rbm.hidden_bias.detach()
    return make_rbm(weight, visible_bias, hidden_bias, rbm.weight.dtype)


def all_states(n_units, dtype=torch.float64):
    """All 2^n states; unit i of state r is bit i of r."""
    return numbered_states(torch.arange(2**n_units), n_units, dtype)


def numbered_states(numbers, n_units, dtype=torch.float64):
    return (numbers[:, None] >> torch.arange(n_units) & 1).to(dtype)


def state_numbers(x):
    x = x.flatten(1).long()
    return (x << torch.arange(x.shape[1])).sum(1)


def exact_samples(probabilities, n_samples, n_units, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.multinomial(probabilities, n_samples, replacement=True, generator=generator)
    return numbered_states(numbers, n_units, dtype)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)
