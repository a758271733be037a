"""The stored cases of score matching: their models, and the gradients in the parameters."""

import torch

import torch_ebm
from energies import Gaussian, GaussianBernoulliRBM, GaussianMixture, IndependentComponents
from known_values import case

#: Of each case: its parameters in the order of the model's own.
NAMES = {
    "gauss_d2_s70": ("mu", "P"),
    "gauss_d10_s71": ("mu", "P"),
    "gmm_d2_k5_s72": ("m", "s"),
    "grbm_2x4_s74": ("W", "b", "a", "s"),
    "mlp_d2_s76": ("W1", "b1", "W2", "b2", "w3"),
    "mlp_d3_s77": ("W1", "b1", "W2", "b2", "w3"),
    "ica_d4_s78": ("W",),
}


def model(name):
    stored = case(name)
    arrays = [stored.array(key) for key in NAMES[name]]
    family = name.split("_")[0]
    if family == "mlp":
        return perceptron(*arrays, confinement=stored.params["lam"])
    if family == "gmm":
        return GaussianMixture(stored.array("w"), *arrays)
    kind = {"gauss": Gaussian, "grbm": GaussianBernoulliRBM, "ica": IndependentComponents}
    return kind[family](*arrays)


def perceptron(w1, b1, w2, b2, w3, confinement):
    """The built-in MLP with log density w3 tanh(...) - confinement |x|^2 / 2."""
    sizes = [w1.shape[1], w1.shape[0], w2.shape[0], 1]
    mlp = torch_ebm.MLP(sizes, activation="tanh", confinement=confinement, dtype=torch.float64)
    values = (w1, b1, w2, b2, -w3[None], torch.zeros(1))
    with torch.no_grad():
        for parameter, value in zip(mlp.parameters(), values, strict=True):
            parameter.copy_(value)
    return mlp


def check_value_and_gradients(name, scalar, prefix, energy, value):
    """`value` is the scalar of the case, and its gradients in the parameters are those stored under `prefix`."""
    stored = case(name)
    torch.testing.assert_close(
        value.detach(), torch.tensor(stored[scalar], dtype=torch.float64), rtol=1e-10, atol=0
    )
    if prefix is None:
        return
    found = torch.autograd.grad(value, list(energy.parameters()), allow_unused=True)
    for key, gradient in zip(NAMES[name], found):
        expected = stored.array(f"{prefix}_{key}")
        if key == "w3":
            expected = -expected[None]
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-10)


class Recorder:
    """An energy that remembers where it was asked."""

    def __init__(self, energy):
        self.energy = energy
        self.asked = []

    def __call__(self, x):
        self.asked.append(x.detach().clone())
        return self.energy(x)
