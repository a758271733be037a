"""What every criterion must pass: to be tested here it needs one line in criteria.py."""

import gc
import weakref

import pytest
import torch

import torch_ebm
from criteria_table import CRITERIA, data, operator
from known_values import seeded
from statistical_checks import check_mean

VARIANTS = [(name, options) for name, row in CRITERIA.items() for options in row.variants]
EVERY_CRITERION = pytest.mark.parametrize("name", CRITERIA)
EVERY_VARIANT = pytest.mark.parametrize(
    "name, options", VARIANTS, ids=[f"{name}-{'-'.join(o) or 'plain'}" for name, o in VARIANTS]
)


def loss(name, energy, x, seed=3, **options):
    return CRITERIA[name].call(energy, x, generator=seeded(seed), **options)


def gradients(value, energy):
    found = torch.autograd.grad(value, list(energy.parameters()), allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, energy.parameters())]


def test_every_criterion_is_in_the_table():
    taking_reductions = {
        name.removeprefix("torch_ebm::")
        for name in torch._C._dispatch_get_all_op_names()
        if name.startswith("torch_ebm::")
        and "str reduction=" in str(getattr(torch.ops.torch_ebm, name[11:]).default._schema)
    }
    assert taking_reductions == set(map(operator, CRITERIA))


@EVERY_VARIANT
def test_reductions_and_weights(name, options):
    row = CRITERIA[name]
    energy, x = row.population.energy(), data(row)
    terms = loss(name, energy, x, reduction="none", **options)
    assert terms.shape == (len(x),) and terms.dtype == x.dtype
    torch.testing.assert_close(loss(name, energy, x, **options), terms.mean())
    torch.testing.assert_close(loss(name, energy, x, reduction="sum", **options), terms.sum())
    if not row.by_example:
        return
    w = torch.tensor([0.5, 0, 2, 1, 0.25, 3, 1], dtype=x.dtype)
    for reduction, expected in (
        ("none", w * terms),
        ("sum", (w * terms).sum()),
        ("mean", (w * terms).sum() / w.sum()),
    ):
        weighted = loss(name, energy, x, weights=w, reduction=reduction, **options)
        torch.testing.assert_close(weighted, expected)


@EVERY_VARIANT
def test_gradcheck_in_the_parameters(name, options):
    row = CRITERIA[name]
    energy, x = row.population.energy(), data(row)
    names = [name for name, _ in energy.named_parameters()]
    values = [p.detach().clone().requires_grad_() for p in energy.parameters()]

    def value(*parameters):
        named = dict(zip(names, parameters))
        return loss(name, lambda y: torch.func.functional_call(energy, named, (y,)), x, **options)

    assert torch.autograd.gradcheck(value, values)
    assert torch.autograd.gradgradcheck(value, values)


@EVERY_VARIANT
def test_the_expected_gradient_vanishes_at_the_truth(name, options):
    row = CRITERIA[name]
    p, energy = row.population, row.population.energy()
    if row.exact_at_truth(options) and not row.random:
        value = loss(name, energy, p.states, weights=p.probabilities, **options)
        for gradient in gradients(value, energy):
            assert gradient.abs().max() < 1e-10
        return
    n_batches, batch = 400, 50
    samples = []
    for seed in range(n_batches):
        value = loss(name, energy, data(row, batch, seed), seed=seed, **options)
        samples.append(torch.cat([g.flatten() for g in gradients(value, energy)]))
    samples = torch.stack(samples)
    moving = samples.std(0) > 1e-12  # a symmetric weight has a diagonal that nothing depends on
    assert samples[:, ~moving].abs().sum() < 1e-9
    check_mean(samples[:, moving], torch.zeros(int(moving.sum())), what=f"gradient of {name}")


@EVERY_CRITERION
def test_a_wrong_model_has_a_gradient(name):
    row = CRITERIA[name]
    p, energy = row.population, row.population.energy()
    with torch.no_grad():
        for parameter in energy.parameters():
            parameter *= 1.5
    weights = p.probabilities if row.by_example else None
    value = loss(name, energy, p.states, weights=weights, **row.variants[0])
    assert max(g.abs().max() for g in gradients(value, energy)) > 1e-3


@EVERY_VARIANT
def test_a_constant_in_the_energy_changes_nothing(name, options):
    row = CRITERIA[name]
    if not row.z_cancels:
        pytest.skip("log Z is learned")
    energy, x = row.population.energy(), data(row)
    shifted = loss(name, lambda y: energy(y) + 3.25, x, **options)
    torch.testing.assert_close(shifted, loss(name, energy, x, **options))


@EVERY_VARIANT
def test_a_scripted_energy_gives_the_same(name, options):
    row = CRITERIA[name]
    energy, x = row.population.energy(), data(row)
    expected = loss(name, energy, x, **options)
    expected_gradients = gradients(expected, energy)
    scripted = torch.jit.script(energy)
    for _ in range(3):  # the profiling executor optimises after the first calls
        value = loss(name, scripted, x, **options)
        torch.testing.assert_close(value, expected)
        for one, other in zip(gradients(value, scripted), expected_gradients, strict=True):
            torch.testing.assert_close(one, other)


MODEL = """
class Model(torch.nn.Module):
    def __init__(self, energy):
        super().__init__()
        self.energy = energy

    def forward(self, x: torch.Tensor):
        return torch.ops.torch_ebm.{name}(self.energy, x, {options})
"""


@EVERY_CRITERION
def test_inside_a_scripted_model(name, tmp_path):
    import importlib.util

    row = CRITERIA[name]
    if row.script_options is None:
        pytest.skip("in its own test file")
    source = tmp_path / f"model_{operator(name)}.py"
    model = MODEL.format(name=operator(name), options=row.script_options)
    source.write_text("import torch\n" + model)
    spec = importlib.util.spec_from_file_location(source.stem, source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    energy, x = row.population.energy(), data(row)
    torch.jit.script(module.Model(energy)).save(tmp_path / "model.pt")
    loaded = torch.jit.load(tmp_path / "model.pt")
    torch.manual_seed(5)
    value = loaded(x)
    torch.manual_seed(5)
    torch.testing.assert_close(value, row.call(energy, x, **row.variants[0]))
    value.backward()
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in loaded.parameters())


@EVERY_VARIANT
def test_every_grad_mode_gives_the_same_value(name, options):
    row = CRITERIA[name]
    energy, x = row.population.energy(), data(row)
    expected = loss(name, energy, x, **options)
    assert expected.requires_grad
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            value = loss(name, energy, x, **options)
            inside = loss(name, energy, x.clone(), **options)
        assert not value.requires_grad
        torch.testing.assert_close(value, expected.detach())
        torch.testing.assert_close(inside, expected.detach())
    assert all(p.grad is None for p in energy.parameters())


@EVERY_CRITERION
def test_the_backward_pass_does_not_need_the_caller_to_keep_the_energy(name):
    row = CRITERIA[name]
    x, energy = data(row), row.population.energy()
    known = len(torch_ebm.energy.energy._callables)
    options = {"chunk_size": 20} if {"chunk_size": 20} in row.variants else row.variants[0]
    value = 2 * loss(name, lambda y: energy(y), x, **options)
    value.backward()
    assert any(p.grad.abs().max() > 0 for p in energy.parameters() if p.grad is not None)
    del value
    assert len(torch_ebm.energy.energy._callables) == known


@EVERY_CRITERION
def test_the_data_are_left_alone_and_get_no_gradient(name):
    row = CRITERIA[name]
    x = data(row)
    before = x.clone()
    leaf = x.clone().requires_grad_()
    value = loss(name, row.population.energy(), leaf, **row.variants[0])
    value.backward()
    assert leaf.grad is None and torch.equal(x, before)
    strided = torch.stack([x, x + 1], -1)[..., 0]
    torch.testing.assert_close(
        loss(name, row.population.energy(), strided, **row.variants[0]), value.detach()
    )


@EVERY_CRITERION
def test_float32_agrees(name):
    row = CRITERIA[name]
    energy, x = row.population.energy(), data(row)
    options = {
        key: (
            value.float()
            if isinstance(value, torch.Tensor) and value.is_floating_point()
            else value
        )
        for key, value in row.variants[0].items()
    }
    if row.random:
        pytest.skip("other numbers are drawn")
    value = loss(name, row.population.energy().float(), x.float(), **options)
    assert value.dtype == torch.float32
    torch.testing.assert_close(
        value.double(), loss(name, energy, x, **row.variants[0]), rtol=1e-4, atol=1e-4
    )


RANDOM = [
    (name, options) for name, options in VARIANTS if CRITERIA[name].random or "n_sites" in options
]


@pytest.mark.parametrize("name, options", RANDOM)
def test_the_generator_decides_and_advances(name, options):
    row = CRITERIA[name]
    energy, x = row.population.energy(), data(row)
    generator = seeded(4)
    one, two = (row.call(energy, x, generator=generator, **options) for _ in range(2))
    assert one != two
    assert torch.equal(one, row.call(energy, x, generator=seeded(4), **options))


@EVERY_CRITERION
def test_bad_input_is_refused(name):
    row = CRITERIA[name]
    energy, x = row.population.energy(), data(row)
    options = row.variants[0]
    name = operator(name)
    not_finite = x.clone()
    not_finite[2] = float("nan")
    for wrong, match in (
        (not_finite, f"{name}: x must"),
        (x[:0], f"{name}: x must"),
        (x.long(), f"{name}: x must"),
        (torch.tensor(1.0), f"{name}: x must"),
    ):
        with pytest.raises((ValueError, TypeError), match=match):
            row.call(energy, wrong, **options)
    n = len(x)
    for weights in (
        torch.ones(n + 1),
        -torch.ones(n),
        torch.zeros(n),
        torch.full((n,), float("inf")),
        torch.ones(n, dtype=torch.bool),
    ):
        with pytest.raises((ValueError, TypeError), match=f"{name}: weights must"):
            row.call(energy, x, weights=weights, **options)
    with pytest.raises(ValueError, match=f'{name}: reduction must be .* got "average"'):
        row.call(energy, x, reduction="average", **options)
    with pytest.raises(TypeError, match="energy must be callable"):
        row.call(3, x, **options)


@EVERY_CRITERION
def test_a_nan_energy_is_not_hidden(name):
    row = CRITERIA[name]
    energy, x = row.population.energy(), data(row)
    value = loss(name, lambda y: energy(y) * float("nan"), x, **row.variants[0])
    assert value.isnan()


@EVERY_CRITERION
def test_an_exception_of_the_energy_keeps_its_type(name):
    row = CRITERIA[name]

    def broken(y):
        raise KeyError("no such state")

    with pytest.raises(KeyError, match="no such state"):
        loss(name, broken, data(row), **row.variants[0])
    with pytest.raises(ValueError, match="energy: its value must have shape"):
        loss(name, lambda y: row.population.energy()(y).sum(), data(row), **row.variants[0])


@EVERY_CRITERION
def test_weights_of_any_number_type_and_size(name):
    row = CRITERIA[name]
    if row.random:
        pytest.skip("other numbers are drawn")
    energy, x, options = row.population.energy(), data(row), row.variants[0]
    counts = torch.tensor([3, 1, 2, 0, 1, 1, 5])
    expected = loss(name, energy, x, weights=counts.double(), **options)
    torch.testing.assert_close(loss(name, energy, x, weights=counts, **options), expected)
    # As a ratio, weights are as good in any unit.
    for unit in (1e-60, 1e60):
        scaled = loss(name, energy, x, weights=counts.double() * unit, **options)
        torch.testing.assert_close(scaled, expected)


@EVERY_CRITERION
def test_a_batch_of_numbers_is_a_batch_of_one_dimension(name):
    row = CRITERIA[name]
    if "categor" in name or name in ("nce", "ranking_nce", "maximum_likelihood"):
        pytest.skip("its table row is for wider states")
    x, options = data(row)[:, 0], {**row.variants[0]}
    options.pop("sampler", None)
    if name == "recovery_likelihood":
        options["sampler"] = lambda energy, x, generator: x * 0.9
    one = loss(name, lambda y: (0.3 * y).square(), x, **options)
    other = loss(name, lambda y: (0.3 * y[:, 0]).square(), x[:, None], **options)
    torch.testing.assert_close(one, other)


@pytest.mark.filterwarnings("ignore:Using backward")  # the parameters' gradients are dropped below
@EVERY_CRITERION
def test_training_with_second_derivatives_keeps_no_graph_alive(name):
    row = CRITERIA[name]
    energy, x, seen = row.population.energy(), data(row), []

    class Watched(torch.autograd.Function):
        @staticmethod
        def forward(context, value):
            context.token = Token()
            seen.append(weakref.ref(context.token))
            return value.clone()

        @staticmethod
        def backward(context, gradient):
            return gradient.clone()

    value = loss(name, lambda y: Watched.apply(energy(y)), x, **row.variants[0])
    gradient = torch.autograd.grad(value, list(energy.parameters())[0], create_graph=True)
    value.backward(create_graph=True)
    del value, gradient
    for parameter in energy.parameters():
        parameter.grad = None
    gc.collect()
    assert seen and not any(reference() for reference in seen)


class Token:
    pass
