"""Criteria under torch.compile, torch.func and vmap."""

import pytest
import torch

import torch_ebm
from criteria_table import CRITERIA, data
from known_values import random_rbm, seeded
from noises import UniformBits

#: These look at values, or call a sampler: they break the graph. See docs/criteria.md.
BREAK = ("kernel_stein_discrepancy", "recovery_likelihood")
WHOLE = [name for name in CRITERIA if name not in BREAK]
TRANSFORMED = [name for name in CRITERIA if name != "recovery_likelihood"]


@pytest.fixture(autouse=True)
def nothing_compiled_before():
    torch._dynamo.reset()


def call_of(name):
    """The criterion as a function of the energy and the data; noise that Python draws is drawn once."""
    row = CRITERIA[name]
    if name in ("nce", "ranking_nce"):
        criterion = getattr(torch_ebm, name)
        noise = torch_ebm.draw_noise(UniformBits(4), data(row), 3, generator=seeded(5))
        return lambda energy, x: criterion(energy, x, noise, **row.variants[0])
    return lambda energy, x: row.call(energy, x, generator=None, **row.variants[0])


def value_and_gradients(function, energy, x):
    torch.manual_seed(3)
    value = function(energy, x)
    parameters = list(energy.parameters())
    gradients = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    return [value.detach(), *gradients]


@pytest.mark.parametrize("name", WHOLE)
def test_compiled_in_one_graph_it_has_the_same_value_and_gradient(name):
    row = CRITERIA[name]
    call, energy, x = call_of(name), row.population.energy(), data(row)
    compiled = torch.compile(call, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        value_and_gradients(compiled, energy, x), value_and_gradients(call, energy, x)
    )
    if row.random and name not in ("nce", "ranking_nce"):  # anew in every call, not numbers that the compiler kept
        assert compiled(energy, x) != compiled(energy, x)


def test_a_compiled_criterion_follows_its_energy_and_its_options():
    x = torch.randn(9, 2, dtype=torch.float64, generator=seeded(1))
    smooth, other = (
        torch_ebm.MLP([2, 5, 1], activation=name, dtype=torch.float64) for name in ("silu", "tanh")
    )
    other.load_state_dict(smooth.state_dict())

    def loss(energy, x, method="autograd"):
        return torch_ebm.sliced_score_matching(energy, x, method=method)

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for energy, rows, method in (
        (smooth, x, "autograd"),
        (other, x, "autograd"),
        (smooth, x[:4], "autograd"),
        (smooth, x, "finite_difference"),
    ):
        one = value_and_gradients(lambda e, y, m=method: compiled(e, y, m), energy, rows)
        two = value_and_gradients(lambda e, y, m=method: loss(e, y, m), energy, rows)
        torch.testing.assert_close(one, two)


def test_a_compiled_pseudolikelihood_of_an_rbm_uses_its_closed_form():
    rbm = random_rbm(7, 4, 1.0, seed=4)
    x = torch.bernoulli(torch.full((5, 7), 0.5, dtype=torch.float64), generator=seeded(2))
    compiled = torch.compile(torch_ebm.pseudolikelihood, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        value_and_gradients(compiled, rbm, x),
        value_and_gradients(torch_ebm.pseudolikelihood, rbm, x),
    )


def test_compiled_it_updates_buffers_as_often_as_eager_does():
    class Counting(torch.nn.Linear):
        def __init__(self):
            super().__init__(4, 1, dtype=torch.float64)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            self.calls.add_(1)
            return super().forward(x).squeeze(1)

    x = torch.ones(3, 4, dtype=torch.float64)
    energies = [Counting(), Counting()]
    compiled = torch.compile(torch_ebm.ratio_matching, fullgraph=True, backend="aot_eager")
    torch_ebm.ratio_matching(energies[0], x)
    compiled(energies[1], x)
    assert energies[0].calls == energies[1].calls > 0


@pytest.mark.parametrize(
    "options", [{"generator": seeded(1)}, {"chunk_size": 4}], ids=["generator", "chunk_size"]
)
def test_what_cannot_be_compiled_breaks_the_graph_and_runs(options):
    row = CRITERIA["pseudolikelihood"]
    energy, x = row.population.energy(), data(row)
    call = lambda energy, x: torch_ebm.pseudolikelihood(energy, x, **options)  # noqa: E731
    compiled = torch.compile(call, backend="eager")
    torch.testing.assert_close(compiled(energy, x), call(energy, x))
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported):
        torch.compile(call, backend="eager", fullgraph=True)(energy, x)


@pytest.mark.parametrize("name", TRANSFORMED)
def test_torch_func_gives_the_gradient(name):
    row = CRITERIA[name]
    call, energy, x = call_of(name), row.population.energy(), data(row)
    parameters = dict(energy.named_parameters())

    def loss(parameters):
        return call(lambda y: torch.func.functional_call(energy, parameters, (y,)), x)

    torch.manual_seed(3)
    gradients = torch.func.grad(loss)({k: p.detach() for k, p in parameters.items()})
    torch.testing.assert_close(
        list(gradients.values()), value_and_gradients(call, energy, x)[1:]
    )


@pytest.mark.parametrize("name", ["pseudolikelihood", "denoising_score_matching"])
def test_an_ensemble_of_parameters_is_a_vmap(name):
    row = CRITERIA[name]
    call, energy, x = call_of(name), row.population.energy(), data(row)
    parameters = {k: p.detach() for k, p in energy.named_parameters()}
    ensemble = {k: torch.stack([p, 0.5 * p, 2 * p]) for k, p in parameters.items()}

    def loss(parameters):
        torch.manual_seed(3)
        return call(lambda y: torch.func.functional_call(energy, parameters, (y,)), x)

    gradients = torch.func.vmap(torch.func.grad(loss), randomness="same")(ensemble)
    for i in range(3):
        one = torch.func.grad(loss)({k: p[i] for k, p in ensemble.items()})
        torch.testing.assert_close({k: g[i] for k, g in gradients.items()}, one)


def test_states_that_are_not_binary_are_refused_inside_torch_func():
    rbm = random_rbm(4, 3, 1.0, seed=4)
    x = torch.full((2, 4), 0.5, dtype=torch.float64)

    def loss(parameters):
        energy = lambda y: torch.func.functional_call(rbm, parameters, (y,))  # noqa: E731
        return torch_ebm.pseudolikelihood(energy, x)

    with pytest.raises(ValueError, match="zeros and ones only"):
        torch.func.grad(loss)({k: p.detach() for k, p in rbm.named_parameters()})


def test_samplers_under_vmap_say_what_to_do():
    x = torch.zeros(3, 4, 2)
    energy = lambda y: y.square().sum(1)  # noqa: E731
    with pytest.raises(NotImplementedError, match="langevin: vmap is not possible.* one batch"):
        torch.func.vmap(lambda y: torch_ebm.langevin(energy, y, step_size=0.1).x)(x)


def test_the_score_of_a_perceptron_under_vmap():
    mlp = torch_ebm.MLP([3, 6, 4, 1], confinement=0.5, dtype=torch.float64)
    x = torch.randn(5, 2, 3, dtype=torch.float64, generator=seeded(1))
    energies, scores = torch.func.vmap(mlp.value_and_score)(x)
    expected = mlp.value_and_score(x.flatten(0, 1))
    torch.testing.assert_close(energies.flatten(), expected[0])
    torch.testing.assert_close(scores.flatten(0, 1), expected[1])
