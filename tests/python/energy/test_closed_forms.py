"""A closed form is used only where it belongs to the forward that a call of the energy runs."""

import functools
import gc
import types

import pytest
import torch

import torch_ebm
from known_values import all_states, seeded
from statistical_checks import check_mean
from torch_ebm.energy.energy import HeldEnergy, has_method, held_argument


def extra(x: torch.Tensor) -> torch.Tensor:
    return 3 * x[:, 0] * x[:, 1]


class ExtraRBM(torch_ebm.RBM):
    def forward(self, visible: torch.Tensor) -> torch.Tensor:
        free_energy = torch.ops.torch_ebm.rbm_free_energy(
            visible, self.weight, self.visible_bias, self.hidden_bias
        )
        return free_energy + 3 * visible[:, 0] * visible[:, 1]


class ExtraMachine(torch_ebm.BoltzmannMachine):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        energies = torch.ops.torch_ebm.boltzmann_energy(x, self.weight, self.bias)
        return energies + 3 * x[:, 0] * x[:, 1]


class ExtraMLP(torch_ebm.MLP):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x).squeeze(1) + 3 * x[:, 0] * x[:, 1]


class Delegating:
    """Passes on every attribute of another energy."""

    def __init__(self, energy):
        self.energy = energy

    def __call__(self, x):
        return self.energy(x) + extra(x)

    def __getattr__(self, name):
        return getattr(self.energy, name)


def patched(energy):
    old = energy.forward
    energy.forward = types.MethodType(lambda self, x: old(x) + extra(x), energy)
    return energy


def with_hook(energy):
    energy.register_forward_hook(lambda module, inputs, output: output + extra(inputs[0]))
    return energy


def with_pre_hook(energy):
    energy.register_forward_pre_hook(lambda module, inputs: (inputs[0].flip(1),))
    return energy


def rbm(cls=torch_ebm.RBM):
    torch.manual_seed(301)
    return cls(4, 3)


def machine(cls=torch_ebm.BoltzmannMachine):
    torch.manual_seed(302)
    return cls(4)


def mlp(cls=torch_ebm.MLP):
    torch.manual_seed(303)
    return cls((4, 5, 1))


def mlp_with(layer):
    energy = mlp()
    energy.layers[1] = layer
    return energy


def mlp_with_layer_hook():
    energy = mlp()
    energy.layers[0].register_forward_hook(lambda module, inputs, output: output + 1)
    return energy


CHANGED = {
    f"{way.__name__}-{model.__name__}": functools.partial(lambda w, m: w(m()), way, model)
    for way in (patched, with_hook, with_pre_hook, Delegating)
    for model in (rbm, machine, mlp)
}
CHANGED |= {
    "subclass-rbm": lambda: rbm(ExtraRBM),
    "subclass-machine": lambda: machine(ExtraMachine),
    "subclass-mlp": lambda: mlp(ExtraMLP),
    "scripted-subclass-rbm": lambda: torch.jit.script(rbm(ExtraRBM)),
    "scripted-subclass-machine": lambda: torch.jit.script(machine(ExtraMachine)),
    "scripted-subclass-mlp": lambda: torch.jit.script(mlp(ExtraMLP)),
    "other-activation": lambda: mlp_with(torch.nn.ReLU()),
    "layer-hook": mlp_with_layer_hook,
}
USES = {
    "gibbs": lambda e, x: torch_ebm.gibbs(e, x, n_steps=3, beta=0.5, generator=seeded(1)).x,
    "gibbs_with_gradients": lambda e, x: torch_ebm.gibbs_with_gradients(
        e, x, n_steps=3, beta=0.5, generator=seeded(1)
    ).x,
    "langevin": lambda e, x: torch_ebm.langevin(
        e, x, n_steps=3, beta=0.5, step_size=0.1, generator=seeded(1)
    ).x,
    "pseudolikelihood": lambda e, x: torch_ebm.pseudolikelihood(e, x),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
@pytest.mark.parametrize("make", CHANGED.values(), ids=CHANGED)
def test_an_energy_with_another_forward_is_sampled_and_criticised_as_itself(use, make):
    energy, x = make(), torch.bernoulli(torch.full((20, 4), 0.5), generator=seeded(304))
    torch.testing.assert_close(use(energy, x), use(lambda x: energy(x), x))


def test_pcd_samples_a_subclass_of_rbm():
    energy = rbm(ExtraRBM)
    with torch.no_grad():
        law = torch.softmax(-energy(all_states(4).float()).double(), 0)
    truth = law[all_states(4)[:, :2].bool().all(1)].sum().item()
    assert truth == pytest.approx(0.016, abs=1e-3)
    pcd = torch_ebm.PCD(20_000, (4,), functools.partial(torch_ebm.gibbs, n_steps=20), seed=305)
    both = pcd(energy)[:, :2].prod(1)
    check_mean(both, truth)


@pytest.mark.parametrize("make", [lambda: rbm(ExtraRBM), lambda: with_hook(rbm())])
def test_a_closed_form_of_another_forward_refuses(make):
    energy, x = make(), torch.zeros(2, 4)
    calls = {
        "log_z": energy.log_z,
        "sample": lambda: energy.sample(3),
        "gibbs": lambda: energy.gibbs(x),
        "flip_differences": lambda: energy.flip_differences(x),
        "tempered": lambda: energy.tempered(x, torch.ones(())),
    }
    for name, call in calls.items():
        with pytest.raises(NotImplementedError, match=rf"{name}: it is a closed form of RBM.for"):
            call()
        assert name not in dir(energy)
    with pytest.raises(NotImplementedError, match="moment_averaged_path: rbm must have the forw"):
        torch_ebm.moment_averaged_path(energy, torch.zeros(4))
    with pytest.raises(ValueError, match="base must be given"):
        torch_ebm.ais(energy)
    with pytest.raises(NotImplementedError, match="closed form of BoltzmannMachine.forward"):
        machine(ExtraMachine).gibbs_with_gradients(x)
    with pytest.raises(NotImplementedError, match="closed form of MLP.forward"):
        mlp_with(torch.nn.ReLU()).value_and_score(x)


class OverridesBoth(ExtraRBM):
    def gibbs(self, x, n_steps=1, beta=None, clamp=None, generator=None):
        return super().gibbs(x, n_steps, beta, clamp, generator)  # allowed: the caller knows


class Mixin:
    def gibbs(self, x, n_steps, beta, clamp, generator):
        return torch.ones_like(x)


class WithMixin(Mixin, torch.nn.Module):
    def forward(self, x):
        return x.sum(1)


def with_parametrization():
    energy = rbm()
    torch.nn.utils.parametrize.register_parametrization(energy, "weight", torch.nn.Tanh())
    return energy


def with_compiled_forward():
    energy = rbm()
    energy.forward = torch.compile(energy.forward)
    return energy


@pytest.mark.parametrize(
    "make",
    [
        rbm,
        lambda: rbm(type("Helped", (torch_ebm.RBM,), {"help": lambda self: 1})),
        lambda: rbm(OverridesBoth),
        WithMixin,
        with_parametrization,
        with_compiled_forward,
        lambda: torch.compile(rbm()),
    ],
    ids=["plain", "helper", "both", "mixin", "parametrized", "compiled-forward", "compiled"],
)
def test_a_closed_form_of_the_same_forward_is_kept(make):
    energy = make()
    assert has_method(energy, "gibbs")
    energy.gibbs(torch.zeros(2, 4), 1, None, None, None)


def test_a_subclass_keeps_the_base_of_its_path():
    class Path(torch.nn.Module):
        def forward(self, x):
            return x.sum(1)

        def base_energy(self, x):
            return 2 * x.sum(1)

    class Other(Path):
        def forward(self, x):
            return 3 * x.sum(1)

    assert has_method(Other(), "base_energy")


def test_a_parametrized_rbm_is_sampled_with_its_parametrized_weights():
    energy, x = with_parametrization(), torch.zeros(5, 4)
    with torch.no_grad():
        energy.parametrizations.weight.original.fill_(5.0)
    plain = rbm()
    plain.weight = torch.nn.Parameter(torch.full((4, 3), 5.0).tanh())
    same = functools.partial(torch_ebm.gibbs, n_steps=10)
    assert torch.equal(same(energy, x, generator=seeded(6)).x, same(plain, x, generator=seeded(6)).x)


class Adds(torch.nn.Module):
    """A scripted energy with a hook, and a closed form of the forward without it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * x.square().sum(1)

    @torch.jit.export
    def value_and_score(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.forward(x), -x


def scriptable_hook(self, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
    return output + 3 * inputs[0][:, 0] * inputs[0][:, 1]


def test_a_scripted_energy_is_called_with_its_hooks():
    module = Adds()
    module.register_forward_hook(scriptable_hook)
    scripted = torch.jit.script(module)
    for use in ("langevin", "pseudolikelihood"):
        x = torch.ones(3, 4)
        torch.testing.assert_close(USES[use](scripted, x), USES[use](lambda x: module(x), x))


def is_held(energy):
    """Whether the operators know it as a model of this library, and do not call it back."""
    return isinstance(held_argument(energy)[1], HeldEnergy)


OWN = {
    "rbm": lambda: torch_ebm.RBM(6, 4),
    "boltzmann_machine": lambda: torch_ebm.BoltzmannMachine(6),
}


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_of_this_library_is_passed_without_callbacks_and_gives_the_same(
    name, dtype, monkeypatch
):
    generator = seeded(3)
    energy = OWN[name]().to(dtype)
    for parameter in energy.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    half = torch.full((50, 6), 0.5, dtype=dtype)
    x, negative = torch.bernoulli(half, generator=generator).split([20, 30])
    criteria = (
        torch_ebm.pseudolikelihood,
        torch_ebm.ratio_matching,
        functools.partial(torch_ebm.maximum_likelihood, negative_samples=negative),
        functools.partial(torch_ebm.maximum_likelihood, negative_samples=negative, log_z=3.0),
        functools.partial(torch_ebm.pseudolikelihood, chunk_size=2),
    )

    def results():
        for options in ({}, {"beta": 0.5}, {"scan": "random", "n_steps": 9}):
            yield torch_ebm.gibbs(energy, x, generator=seeded(5), **options).x
        for criterion in criteria:
            loss = criterion(energy, x)
            yield loss
            yield from torch.autograd.grad(loss, tuple(energy.parameters()))

    assert is_held(energy)
    passed = list(results())
    monkeypatch.setattr(type(energy), "_held", lambda self: None)
    assert not is_held(energy)
    for ours, called_back in zip(passed, results()):
        torch.testing.assert_close(ours, called_back, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("activation", ["silu", "softplus", "tanh"])
def test_a_network_is_passed_without_callbacks_and_gives_the_same(activation, monkeypatch):
    torch.manual_seed(3)
    mlp = torch_ebm.MLP([3, 8, 5, 1], activation=activation, confinement=0.7)
    x, negative = torch.randn(20, 3, generator=seeded(4)), torch.randn(9, 3, generator=seeded(5))

    def results():
        yield torch_ebm.langevin(mlp, x, n_steps=3, generator=seeded(6)).x
        yield torch_ebm.hmc(mlp, x, beta=0.5, generator=seeded(7)).x
        for criterion in (
            torch_ebm.score_matching,
            functools.partial(torch_ebm.maximum_likelihood, negative_samples=negative),
        ):
            loss = criterion(mlp, x)
            yield loss
            yield from torch.autograd.grad(loss, tuple(mlp.parameters()), allow_unused=True)

    assert is_held(mlp)
    passed = list(results())
    monkeypatch.setattr(torch_ebm.MLP, "_held", lambda self: None)
    for ours, called_back in zip(passed, results()):
        if ours is not None:
            torch.testing.assert_close(ours, called_back, rtol=1e-5, atol=1e-6)


def test_a_network_with_other_layers_is_called_back():
    def changed(change):
        mlp = torch_ebm.MLP([3, 8, 1], activation="softplus")
        change(mlp)
        mlp.eval()
        x = torch.randn(4, 3)
        torch_ebm.mala(mlp, x)  # works
        return not is_held(mlp)

    class Twice(torch.nn.Linear):
        def __call__(self, x):
            return 2 * super().__call__(x)

    def set_layer(i, layer):
        return lambda mlp: mlp.layers.__setitem__(i, layer)

    assert not changed(lambda mlp: None)
    assert changed(lambda mlp: setattr(mlp.layers[1], "beta", 2))
    assert changed(lambda mlp: mlp.layers.insert(1, torch.nn.Dropout(0)))
    assert changed(lambda mlp: mlp.layers.append(torch.nn.SiLU()))
    assert changed(lambda mlp: setattr(mlp, "layers", torch.nn.Sequential(torch.nn.Linear(3, 1))))
    assert changed(set_layer(0, Twice(3, 8)))
    assert changed(set_layer(0, torch.nn.Linear(3, 8, bias=False)))
    assert changed(set_layer(0, torch.jit.script(torch.nn.Linear(3, 8))))
    assert changed(lambda mlp: setattr(mlp, "layers", torch.compile(mlp.layers, backend="eager")))
    assert changed(lambda mlp: mlp.layers[0].register_forward_hook(lambda *_: None))
    assert changed(lambda mlp: torch.nn.utils.parametrizations.spectral_norm(mlp.layers[0]))
    assert changed(lambda mlp: setattr(mlp.layers[0], "forward", lambda x: x.repeat(1, 3)[:, :8]))
    assert changed(lambda mlp: setattr(mlp, "confinement", torch.nn.Parameter(torch.tensor(1.0))))
    assert changed(lambda mlp: setattr(mlp, "confinement", -0.5))


def test_whatever_else_changes_the_energy_calls_it_back(monkeypatch):
    class Masked(torch_ebm.RBM):
        pass

    class WithBase(torch_ebm.BoltzmannMachine):
        def base_energy(self, x):
            return x.sum(1)

    class WithoutBase(torch_ebm.partition.annealing.annealed_energy.AnnealedEnergy):
        def base_energy(self, x):
            return 0 * x.sum(1)

    uniform = torch.distributions.Independent(torch.distributions.Bernoulli(torch.full((3,), 0.5)), 1)

    def is_called_back(energy):
        return not is_held(energy)

    masked = Masked(3, 2)
    Masked.weight = property(lambda self: self._parameters["weight"] * 0)
    assert is_called_back(masked)
    assert is_called_back(WithBase(3))
    assert is_called_back(WithoutBase(torch_ebm.RBM(3, 2), uniform))
    rbm = torch_ebm.RBM(3, 2)
    assert not is_called_back(rbm)
    with torch.autocast("cpu", torch.bfloat16):
        assert is_called_back(rbm)
        torch_ebm.langevin(rbm, torch.zeros(2, 3))
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: None)
    assert is_called_back(rbm)
    handle.remove()
    handle = rbm.register_full_backward_pre_hook(lambda *_: None)
    assert is_called_back(rbm)
    handle.remove()
    monkeypatch.setattr(torch_ebm.RBM, "forward", lambda self, x: x.sum(1))
    assert is_called_back(rbm)


@pytest.mark.parametrize("change", [with_hook, patched])
def test_a_changed_model_is_called_back(change):
    assert not is_held(change(torch_ebm.RBM(3, 2)))
    rbm = torch_ebm.RBM(3, 2)
    rbm.gibbs = lambda x, n_steps, beta, clamp, generator: torch.zeros_like(x)
    assert not is_held(rbm)
    assert not torch_ebm.gibbs(rbm, torch.ones(4, 3)).x.any()


def test_other_parameters_in_place_of_its_own_count():
    rbm = torch_ebm.RBM(3, 2)
    x = torch.ones(4, 3)

    def loss(parameters):
        def of(module):
            return torch_ebm.maximum_likelihood(module, x, negative_samples=1 - x)

        class Loss(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.rbm = rbm

            def forward(self):
                return of(self.rbm)

        return torch.func.functional_call(Loss(), parameters, ())

    values = {f"rbm.{name}": p.detach() + 1 for name, p in rbm.named_parameters()}
    gradients = torch.func.grad(loss)(values)
    torch.testing.assert_close(gradients["rbm.visible_bias"], -torch.ones(3))


@pytest.mark.parametrize(
    ("parts", "error", "match"),
    [
        (("rbm", torch.ones(3, 2), torch.ones(3), torch.ones(3)), ValueError, "hidden_bias must have"),
        (("boltzmann_machine", torch.ones(3, 2), torch.ones(3)), ValueError, "weight must have shape"),
        (("mlp", [torch.ones(1, 2)], [torch.ones(1)], "silu", 0.0), ValueError, "two layers"),
        (("mlp", [], [], "silu", 0.0), ValueError, "two layers"),
        (("annealed_energy", 3, None, "base"), TypeError, "energy must be a scripted module"),
    ],
)
def test_parts_that_make_no_model_are_refused(parts, error, match):
    name, *values = parts
    with pytest.raises(error, match=match):
        getattr(torch.ops.torch_ebm, f"_hold_{name}")(*values)


def test_a_model_is_held_as_long_as_it_is_needed():
    rbm, x = torch_ebm.RBM(3, 2), torch.zeros(4, 3)
    handle, held = held_argument(rbm)
    torch.ops.torch_ebm.gibbs(handle, x)
    held.release()
    held.release()  # twice is once
    with pytest.raises(ValueError, match="gibbs: energy: none is held by the handle"):
        torch.ops.torch_ebm.gibbs(handle, x)
    # The backward pass of a criterion in chunks calls it after the operator has returned.
    loss = torch_ebm.pseudolikelihood(rbm, x, chunk_size=2)
    gc.collect()
    loss.backward()
    assert rbm.weight.grad is not None


def test_a_base_of_other_states_is_named():
    base = torch.distributions.Independent(torch.distributions.Bernoulli(torch.full((5,), 0.5)), 1)
    path = torch_ebm.annealed_energy(torch_ebm.BoltzmannMachine(3), base)
    with pytest.raises(ValueError, match="base must be a distribution of states like those of x"):
        torch_ebm.gibbs_with_gradients(path, torch.zeros(2, 3), beta=0.5)
