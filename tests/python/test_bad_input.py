"""Bad input is refused with a message that names the operator, the argument and what came.

Nothing is changed by a refusal. What merely looks bad is served."""

import re
from math import inf, nan

import pytest
import torch

import torch_ebm
from known_values import random_rbm, seeded

ops = torch.ops.torch_ebm


def standard(dtype=torch.float32):
    """One valid value for every argument."""
    torch.manual_seed(1)
    rbm = random_rbm(4, 2, 1.0, seed=1, dtype=dtype)
    return {
        "visible": torch.tensor([[0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 0, 1]], dtype=dtype),
        "hidden": torch.tensor([[0, 1], [1, 1], [0, 0]], dtype=dtype),
        "weight": rbm.weight.detach(),
        "visible_bias": rbm.visible_bias.detach(),
        "hidden_bias": rbm.hidden_bias.detach(),
    }


def row_sum(x):
    return x.sum(1)


def rbm_case(function, *names):
    def run(**changed):
        arguments = {**standard(), **changed}
        tensors = [arguments.pop(name) for name in names]
        options = {k: v for k, v in arguments.items() if k not in standard()}
        return function(*tensors, **options)

    return run


RBM_NAMES = ("weight", "visible_bias", "hidden_bias")
energy = rbm_case(ops.rbm_energy, "visible", "hidden", *RBM_NAMES)
free_energy = rbm_case(ops.rbm_free_energy, "visible", *RBM_NAMES)
block_gibbs = rbm_case(torch_ebm.rbm_gibbs, "visible", *RBM_NAMES)
log_z = rbm_case(ops.rbm_log_z, *RBM_NAMES)


def annealed(base=None, betas=None, n_chains=3, **changed):
    values = {**standard(), **changed}
    return ops.rbm_ais(
        *(values[name] for name in RBM_NAMES),
        torch.zeros(4) if base is None else base,
        torch.linspace(0, 1, 5) if betas is None else betas,
        n_chains=n_chains,
    )


def gibbs(energy=row_sum, x=None, **options):
    return torch_ebm.gibbs(energy, standard()["visible"] if x is None else x, **options).x


def langevin(energy=row_sum, x=None, **options):
    return torch_ebm.langevin(energy, standard()["visible"] if x is None else x, **options).x


def exact(energy=row_sum, n_units=3, **options):
    return torch_ebm.exact_log_z(energy, n_units, **options)


def estimate(log_weights=None, base=0.0):
    log_weights = torch.zeros(3) if log_weights is None else torch.as_tensor(log_weights)
    return torch_ebm.log_z_from_weights(log_weights, torch.as_tensor(base))


def with_own_gibbs(result):
    class Energy:
        def __call__(self, x):
            return x.sum(1)

        def gibbs(self, x, n_steps, beta, clamp, generator):
            return result(x)

    return Energy()


def ones(*size, **options):
    return torch.ones(*size, **options)


def meta(*size, **options):
    return torch.ones(*size, device="meta", **options)


ONE_NAN = torch.tensor([0.0, nan, 0.0, 0.0])
ONE_INF = torch.tensor([0.0, inf, 0.0, 0.0])
PCD, CD, Naive = torch_ebm.PCD, torch_ebm.CD, torch_ebm.NaiveMCMC

# (call, its changed arguments, the error, what its message says)
REFUSED = [
    # Shapes of an RBM's arguments
    *[
        (
            call,
            {argument: value},
            ValueError,
            f"{op}: {argument} must have shape {expected}, got {came}",
        )
        for call, op in [
            (free_energy, "rbm_free_energy"),
            (block_gibbs, "rbm_gibbs"),
            (energy, "rbm_energy"),
        ]
        for argument, value, expected, came in [
            ("visible", ones(4), "(N, V) = (any, 4)", "(4,)"),
            ("visible", ones(3, 5), "(N, V) = (any, 4)", "(3, 5)"),
            ("weight", ones(4), "(V, H) = (any, any)", "(4,)"),
            ("visible_bias", ones(3), "(V,) = (4,)", "(3,)"),
            ("hidden_bias", ones(1, 2), "(H,) = (2,)", "(1, 2)"),
        ]
    ],
    (
        energy,
        {"hidden": ones(3, 1)},
        ValueError,
        "rbm_energy: hidden must have shape (N, H) = (any, 2), got (3, 1)",
    ),
    (
        energy,
        {"hidden": ones(2, 2)},
        ValueError,
        "rbm_energy: visible and hidden must hold the same number of states, got 3 and 2",
    ),
    # Dtypes and devices
    *[
        (call, {argument: value}, error, f"{op}: {argument} must {expected}")
        for call, op in [(free_energy, "rbm_free_energy"), (block_gibbs, "rbm_gibbs")]
        for argument, value, error, expected in [
            ("weight", ones(4, 2).long(), TypeError, "have a floating dtype, got Long"),
            ("weight", ones(4, 2).cfloat(), TypeError, "have a floating dtype, got ComplexFloat"),
            (
                "visible",
                ones(3, 4).double(),
                TypeError,
                "have the dtype of weight, Float, got Double",
            ),
            ("visible", ones(3, 4).bool(), TypeError, "have the dtype of weight, Float, got Bool"),
            ("hidden_bias", ones(2).half(), TypeError, "have the dtype of weight, Float, got Half"),
            ("visible", meta(3, 4), ValueError, "be on the device of weight, cpu, got meta"),
            ("visible_bias", meta(4), ValueError, "be on the device of weight, cpu, got meta"),
            ("visible", None, ValueError, "be a tensor, got none"),
        ]
    ],
    (
        energy,
        {"hidden": ones(3, 2).double()},
        TypeError,
        "rbm_energy: hidden must have the dtype of weight, Float, got Double",
    ),
    # Block Gibbs
    (
        block_gibbs,
        {"visible": ones(0, 4)},
        ValueError,
        "rbm_gibbs: visible must hold at least one chain of at least one unit, got shape (0, 4)",
    ),
    (
        block_gibbs,
        {"visible": 0.5 * ones(3, 4)},
        ValueError,
        "rbm_gibbs: visible must hold zeros and ones only, got 0.5; torch.bernoulli draws binary "
        "states from grey levels",
    ),
    (block_gibbs, {"visible": nan * ones(3, 4)}, ValueError, "zeros and ones only, got nan"),
    (
        block_gibbs,
        {"weight": nan * ones(4, 2)},
        ValueError,
        "rbm_gibbs: weight must be finite, got 8 NaN and 0 infinite values",
    ),
    (
        block_gibbs,
        {"visible_bias": ONE_INF},
        ValueError,
        "rbm_gibbs: visible_bias must be finite, got 0 NaN and 1 infinite values",
    ),
    (
        block_gibbs,
        {"hidden_bias": ONE_NAN[:2]},
        ValueError,
        "hidden_bias must be finite, got 1 NaN",
    ),
    (block_gibbs, {"n_steps": 0}, ValueError, "rbm_gibbs: n_steps must be at least 1, got 0"),
    (block_gibbs, {"n_steps": 2**33}, ValueError, "rbm_gibbs: n_steps must be below 2^32, got"),
    (block_gibbs, {"n_steps": 1.5}, TypeError, "rbm_gibbs: n_steps must be an integer, got float"),
    (block_gibbs, {"generator": 3}, TypeError, "generator must be a torch.Generator, got 3"),
    (
        block_gibbs,
        {"weight": 3e38 * ones(4, 2), "beta": 0.0},
        ValueError,
        "rbm_gibbs: the input of a unit is NaN: the weights are so large that their sums overflow",
    ),
    *[
        (call, {"beta": beta}, error, f"{op}: beta must {expected}")
        for call, op in [(block_gibbs, "rbm_gibbs"), (gibbs, "gibbs")]
        for beta, error, expected in [
            (-0.5, ValueError, "not be negative, got -0.5"),
            (torch.tensor([1.0, -1.0, 1.0]), ValueError, "not be negative, got -1"),
            (nan, ValueError, "be finite, got 1 NaN"),
            (inf, ValueError, "be finite, got 0 NaN and 1 infinite"),
            (
                ones(2),
                ValueError,
                "be one number or one for every chain, shape () or (3,), got (2,)",
            ),
            (ones(3, 1), ValueError, "be one number or one for every chain"),
            (torch.tensor(1j), TypeError, "be real, got ComplexFloat"),
        ]
    ],
    (block_gibbs, {"beta": meta(3)}, ValueError, "rbm_gibbs: beta and clamp must be on the device"),
    (
        block_gibbs,
        {"clamp": meta(4).bool()},
        ValueError,
        "rbm_gibbs: beta and clamp must be on the dev",
    ),
    *[
        (call, {"clamp": clamp}, error, f"{op}: clamp must {expected}")
        for call, op in [(block_gibbs, "rbm_gibbs"), (gibbs, "gibbs")]
        for clamp, error, expected in [
            (ones(4), TypeError, "be boolean, got Float"),
            (ones(3).bool(), ValueError, "have shape (4,) or (3, 4), got (3,)"),
            (ones(1, 4).bool(), ValueError, "have shape (4,) or (3, 4), got (1, 4)"),
        ]
    ],
    # The RBM module and base rates
    (
        lambda: torch_ebm.RBM(0, 3),
        {},
        ValueError,
        "RBM: n_visible and n_hidden must be at least 1, got 0 and 3",
    ),
    (
        lambda: torch_ebm.RBM(4, 2).hidden_given_visible(ones(3, 2)),
        {},
        ValueError,
        "RBM.hidden_given_visible: visible must have shape (N, 4)",
    ),
    (
        lambda: torch_ebm.RBM(4, 2).visible_given_hidden(ones(3, 4)),
        {},
        ValueError,
        "RBM.visible_given_hidden: hidden must have shape (N, 2)",
    ),
    (
        lambda: torch_ebm.base_rate_bias(ones(4)),
        {},
        ValueError,
        "base_rate_bias: data must have shape (N, V) = (any, any), got (4,)",
    ),
    (
        lambda: torch_ebm.base_rate_bias(ones(3, 4) / 2),
        {},
        ValueError,
        "base_rate_bias: data must hold zeros and ones only, got 0.5",
    ),
    (
        lambda: torch_ebm.base_rate_bias(ones(3, 4).long()),
        {},
        TypeError,
        "base_rate_bias: data must have a floating dtype, got Long",
    ),
    (
        lambda: torch_ebm.base_rate_bias(ones(3, 4), 0.0),
        {},
        ValueError,
        "base_rate_bias: pseudocount must be > 0, got 0",
    ),
    # Exact log Z
    (
        log_z,
        {"weight": ones(26, 27), "visible_bias": ones(26), "hidden_bias": ones(27)},
        ValueError,
        "rbm_log_z: the number of units in the smaller layer must be between 1 and 25, got 26",
    ),
    (log_z, {"visible_bias": meta(4)}, ValueError, "visible_bias must be on the device of weight"),
    (exact, {"n_units": 0}, ValueError, "exact_log_z: n_units must be between 1 and 25, got 0"),
    (
        exact,
        {"n_units": 26},
        ValueError,
        "n_units must be between 1 and 25, got 26; use AIS for more",
    ),
    (
        exact,
        {"energy": lambda x: x.sum(1) * nan},
        ValueError,
        "exact_log_z: the energy of some state is NaN or -inf",
    ),
    (exact, {"energy": lambda x: x.sum(1) - inf}, ValueError, "is NaN or -inf"),
    # AIS
    (annealed, {"n_chains": 0}, ValueError, "rbm_ais: n_chains must be at least 1, got 0"),
    (
        annealed,
        {"weight": nan * ones(4, 2)},
        ValueError,
        "rbm_ais: weight must be finite, got 8 NaN",
    ),
    (
        annealed,
        {"base": ONE_NAN},
        ValueError,
        "rbm_ais: base_visible_bias must be finite, got 1 NaN",
    ),
    (
        annealed,
        {"base": ones(2)},
        ValueError,
        "rbm_ais: base_visible_bias must have shape (V,) = (4,), got (2,)",
    ),
    (
        annealed,
        {"base": ones(4).double()},
        TypeError,
        "base_visible_bias must have the dtype of weight",
    ),
    (annealed, {"base": meta(4)}, ValueError, "base_visible_bias must be on the device of weight"),
    (annealed, {"betas": meta(4)}, ValueError, "rbm_ais: betas must hold values"),
    (
        annealed,
        {"betas": ones(1)},
        ValueError,
        "rbm_ais: betas must hold at least two temperatures, got 1",
    ),
    (
        annealed,
        {"betas": ones(2, 2)},
        ValueError,
        "rbm_ais: betas must have shape (K + 1,) = (any,), got (2, 2)",
    ),
    (
        annealed,
        {"betas": torch.tensor([0, 1])},
        TypeError,
        "rbm_ais: betas must have a floating dtype",
    ),
    *[
        (annealed, {"betas": torch.tensor(betas)}, ValueError, "rbm_ais: betas must " + text)
        for betas, text in (
            ([1.0, 0.0], "rise strictly from 0 unless visible is given, got 1"),
            ([0.1, 1.0], "rise strictly from 0 unless visible is given, got 0.1"),
            ([0.0, 0.5, 0.5, 1.0], "rise strictly or fall strictly"),
            ([0.0, 0.7, 0.5, 1.0], "rise strictly or fall strictly"),
            ([0.0, 1.5], "lie in [0, 1], got 1.5"),
            ([-0.5, 1.0], "not be negative, got -0.5"),
            ([0.0, nan, 1.0], "be finite, got 1 NaN"),
        )
    ],
    (
        lambda: torch_ebm.ais(torch_ebm.RBM(4, 2), n_chains=1),
        {},
        ValueError,
        "ais: n_chains must be at least 2, got 1",
    ),
    (
        estimate,
        {"log_weights": ones(1)},
        ValueError,
        "log_z_from_weights: the number of log_weights must be at least 2, got 1",
    ),
    (
        estimate,
        {"log_weights": ones(2, 2)},
        ValueError,
        "log_weights must have shape (N,) = (any,)",
    ),
    (
        estimate,
        {"log_weights": [0, 1]},
        TypeError,
        "log_weights must have a floating dtype, got Long",
    ),
    (estimate, {"log_weights": [0.0, nan]}, ValueError, "log_weights must not be NaN or +inf"),
    (estimate, {"log_weights": [0.0, inf]}, ValueError, "log_weights must not be NaN or +inf"),
    (
        estimate,
        {"log_weights": [-inf, -inf]},
        ValueError,
        "log_weights are all -inf: no chain reached the model",
    ),
    (estimate, {"base": [0.0, 0.0]}, ValueError, "log_z_base must have shape () = (), got (2,)"),
    # log_partition
    (
        lambda: ops.log_partition(torch.tensor(1.0)),
        {},
        ValueError,
        "log_partition: negative_energies must have shape (N,), got []",
    ),
    (
        lambda: ops.log_partition(ones(0)),
        {},
        ValueError,
        "log_partition: negative_energies must hold at least one energy",
    ),
    (
        lambda: ops.log_partition(ones(2).long()),
        {},
        TypeError,
        "log_partition: negative_energies must have a floating dtype, got Long",
    ),
    (
        lambda: ops.log_partition(ones(2), ones(1)),
        {},
        ValueError,
        "log_partition: log_z must be one number, shape (), got [1]",
    ),
    (
        lambda: ops.log_partition(ones(2), None, ones(3)),
        {},
        ValueError,
        "log_partition: weights must have the shape of negative_energies, [2], got [3]",
    ),
    (
        lambda: ops.log_partition(ones(2), None, ones(2).long()),
        {},
        TypeError,
        "log_partition: weights must have a floating dtype, got Long",
    ),
    # Samplers of any energy
    *[
        (call, changed, error, f"{op}: {text}")
        for call, op in [(gibbs, "gibbs"), (langevin, "langevin")]
        for changed, error, text in [
            ({"x": torch.tensor(1.0)}, ValueError, "x must have shape (N, ...), got ()"),
            (
                {"x": ones(0, 4)},
                ValueError,
                "x must hold at least one chain of at least one unit, got shape (0, 4)",
            ),
            ({"x": ones(4, 0)}, ValueError, "x must hold at least one chain of at least one unit"),
            ({"x": ones(3, 4).long()}, TypeError, "x must have a floating dtype, got Long"),
            ({"n_steps": 0}, ValueError, "n_steps must be at least 1, got 0"),
        ]
    ],
    (gibbs, {"x": meta(3, 4)}, NotImplementedError, "gibbs: x must hold values, got a meta"),
    (langevin, {"x": meta(3, 4)}, NotImplementedError, "langevin: x must hold values, got a meta"),
    (gibbs, {"x": 2 * ones(3, 4)}, ValueError, "gibbs: x must hold zeros and ones only, got 2"),
    (
        gibbs,
        {"energy": lambda x: x.sum(1) * nan},
        ValueError,
        "gibbs: the energy of chain 0 is nan at step 0, site 0",
    ),
    (
        gibbs,
        {"energy": lambda x: torch.where(x.sum(1) > 2, -inf, x.sum(1)), "beta": 1.0},
        ValueError,
        "gibbs: the energy of chain 0 is -inf at step 0, site 0",
    ),
    (
        gibbs,
        {"energy": lambda x: x.mul_(2).sum(1)},
        ValueError,
        "energy: it must not change x in place",
    ),
    (langevin, {"x": nan * ones(3, 4)}, ValueError, "langevin: x must be finite, got 12 NaN"),
    (langevin, {"step_size": []}, ValueError, "step_size must not be an empty list"),
    *[
        (
            langevin,
            {"step_size": value},
            ValueError,
            f"langevin: step_size must be > 0 and finite, got {came}",
        )
        for value, came in [(0.0, "0"), (-1.0, "-1"), (nan, "nan"), (inf, "inf")]
    ],
    (
        langevin,
        {"energy": lambda x: (x**4).sum(1), "x": 100 * ones(3, 2), "step_size": 1.0, "n_steps": 50},
        ValueError,
        "langevin: the score of chain 0 is not finite at step 2; likely step_size is too large",
    ),
    (
        langevin,
        {"energy": lambda x: x.detach().sum(1)},
        ValueError,
        "energy: its value must depend differentiably on x",
    ),
    (
        langevin,
        {"energy": lambda x: ones(3, requires_grad=True) * 1},
        ValueError,
        "energy: its value must depend differentiably on x",
    ),
    # Energies
    *[
        (call, {"energy": function}, error, text)
        for call, n in [(gibbs, 3), (langevin, 3), (exact, 8)]
        for function, error, text in [
            (3, TypeError, "energy must be callable, got int"),
            (lambda x: None, TypeError, "energy must return a tensor of shape (N,), got NoneType"),
            (lambda x: 1.0, TypeError, "energy must return a tensor of shape (N,), got float"),
            (
                lambda x: x.sum(),
                ValueError,
                f"energy: its value must have shape (N,) = ({n},), got ()",
            ),
            (
                lambda x: x.sum(1, True),
                ValueError,
                f"energy: its value must have shape (N,) = ({n},), got ({n}, 1)",
            ),
            (
                lambda x: x.sum(1).long(),
                TypeError,
                "energy: its value must have a floating dtype, got Long",
            ),
            (
                lambda x: x.sum(1).to("meta"),
                ValueError,
                "energy: its value must be on the device of x, cpu, got meta",
            ),
        ]
    ],
    *[
        (gibbs, {"energy": with_own_gibbs(result)}, error, f"energy: {text}")
        for result, error, text in [
            (
                lambda x: x[:1],
                ValueError,
                "its gibbs must return the shape of x, (3, 4), got (1, 4)",
            ),
            (lambda x: x.double(), TypeError, "what its gibbs returns must have the dtype of x"),
        ]
    ],
    # Start states and negative phases
    (
        lambda: torch_ebm.start_states("cauchy", (2, 2)),
        {},
        ValueError,
        'start_states: law must be "bernoulli", "categorical", "uniform", "uniform(low, high)" or '
        '"normal", or a function, got "cauchy"',
    ),
    (
        lambda: torch_ebm.start_states("normal", (0, 2)),
        {},
        ValueError,
        "start_states: size must hold at least one chain of at least one unit, got shape (0, 2)",
    ),
    (
        lambda: torch_ebm.start_states("normal", (2, 2), dtype=torch.int64),
        {},
        TypeError,
        "start_states: dtype must be floating, got Long",
    ),
    *[
        (lambda kind=kind, n=n, shape=shape, law=law: kind(n, shape, law=law), {}, ValueError, text)
        for kind in (PCD, Naive)
        for n, shape, law, text in [
            (0, (2,), "normal", "at least one chain of at least one unit, got shape (0, 2)"),
            (2, (0,), "normal", "at least one chain of at least one unit, got shape (2, 0)"),
            (2, (2,), "cauchy", 'got "cauchy"'),
        ]
    ],
    (lambda: CD(3), {}, TypeError, "sampler must be callable, got int"),
    (lambda: CD()(row_sum), {}, ValueError, "CD: positive must be the batch of data"),
    (lambda: CD()(row_sum, ones(0, 4)), {}, ValueError, "gibbs: x must hold at least one chain"),
    (
        lambda: PCD(3, (4,), lambda e, x, generator: x[:1])(row_sum),
        {},
        ValueError,
        "PCD: sampler must return the shape of the chains, (3, 4), got (1, 4)",
    ),
    (
        lambda: CD(lambda e, x, generator: None)(row_sum, ones(3, 4)),
        {},
        TypeError,
        "sampler must return Samples or a tensor, got NoneType",
    ),
]


@pytest.mark.parametrize("call, changed, error, text", REFUSED)
def test_refused(call, changed, error, text):
    before = {
        name: value.clone() for name, value in changed.items() if isinstance(value, torch.Tensor)
    }
    with pytest.raises(error, match=re.escape(text)):
        call(**changed)
    for name, value in before.items():
        if not value.is_meta:
            torch.testing.assert_close(changed[name], value, rtol=0, atol=0, equal_nan=True)


def test_a_refused_block_gibbs_draws_nothing_from_the_generator():
    generator = seeded(1)
    before = generator.get_state()
    with pytest.raises(ValueError, match="rbm_gibbs"):
        block_gibbs(n_steps=0, generator=generator)
    assert torch.equal(generator.get_state(), before)


# --- What is served -------------------------------------------------------------------------------


def test_transposed_and_expanded_tensors_are_served():
    values = standard()
    arguments = {name: values[name] for name in ("visible", *RBM_NAMES)}
    expected = block_gibbs(**arguments, generator=seeded(1))
    for name, tensor in arguments.items():
        other = tensor.t().contiguous().t() if tensor.dim() == 2 else tensor.repeat(2, 1).t()[:, 0]
        results = block_gibbs(**{**arguments, name: other}, generator=seeded(1))
        assert all(torch.equal(one, two) for one, two in zip(results, expected))
    clamp = torch.tensor([True, False, True, False])
    one = gibbs(x=torch.zeros(1, 4).expand(3, 4), clamp=clamp.expand(3, 4), generator=seeded(1))
    assert torch.equal(one, gibbs(x=torch.zeros(3, 4), clamp=clamp, generator=seeded(1)))


@pytest.mark.parametrize("call", [gibbs, langevin])
def test_a_start_that_requires_grad_is_served_without_one(call):
    x = standard()["visible"].requires_grad_()
    result = call(x=x)
    assert not result.requires_grad and x.grad is None


@pytest.mark.parametrize("call", [gibbs, langevin, lambda x: block_gibbs(visible=x)[0]])
def test_tensors_made_in_inference_mode_are_served(call):
    with torch.inference_mode():
        x = standard()["visible"]
    assert call(x=x).shape == (3, 4)


@pytest.mark.parametrize(
    "beta", [1, 0.5, torch.tensor(1), torch.ones(3, dtype=torch.float64), None]
)
def test_any_real_beta_is_served(beta):
    for call in (gibbs, block_gibbs):
        call(beta=beta)


def test_an_energy_of_another_floating_dtype_is_served():
    assert gibbs(lambda x: x.sum(1).double()).dtype == torch.float32
    assert langevin(lambda x: x.sum(1).double()).dtype == torch.float32


def test_a_chain_that_can_go_nowhere_stays():
    x = standard()["visible"]
    assert torch.equal(gibbs(lambda x: x.sum(1) + inf, x), x)


def test_nan_parameters_give_a_nan_log_z_and_no_crash():
    assert log_z(weight=nan * ones(4, 2))[()].isnan()
