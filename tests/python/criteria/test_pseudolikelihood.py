"""What is particular to the pseudolikelihood; test_criteria.py holds what all criteria must pass."""

import itertools

import pytest
import torch
import torch.nn.functional as F

import torch_ebm
from discrete_kernels import Potts
from energies import FullyVisible, Network
from known_values import all_states, case, data_of, random_rbm, seeded
from statistical_checks import check_mean

FULLY_VISIBLE = ["fvbm_n4_s1", "fvbm_n10_s2", "fvbm_n16_s3"]


def fully_visible(model, which=""):
    return FullyVisible(model.array("W" + which), model.array("b" + which))


def potts():
    model = case("potts_dca_n5_q4_s111")
    energy = Potts(model.array("h"), model.array("J"))
    return energy, F.one_hot(model.array("data").long(), 4).double(), model


def naive(energy, x, block, n_states=2):
    """-log p(x_block | rest) of x (N, S) of labels, by the energies of all states of the block; `energy` of labels."""
    candidates = []
    for labels in itertools.product(range(n_states), repeat=len(block)):
        y = x.clone()
        y[:, list(block)] = torch.tensor(labels, dtype=x.dtype)
        candidates.append(-energy(y))
    return torch.logsumexp(torch.stack(candidates), 0) + energy(x)


@pytest.mark.parametrize("name", FULLY_VISIBLE)
@pytest.mark.parametrize("theta, which", [("theta", ""), ("theta2", "2")])
def test_known_values_and_gradients(name, theta, which):
    model = case(name)
    energy, x = fully_visible(model, which), model.array("data")
    value = torch_ebm.pseudolikelihood(energy, x)
    assert value.item() == pytest.approx(-model[f"logPL[{theta}]"], rel=1e-12)
    of_weight, of_bias = torch.autograd.grad(value, [energy.weight, energy.bias])
    torch.testing.assert_close(-of_bias, model.array(f"grad_logPL_b_{theta}"))
    symmetric = of_weight + of_weight.T
    symmetric.fill_diagonal_(0)
    torch.testing.assert_close(-symmetric, model.array(f"grad_logPL_W_{theta}"))


@pytest.mark.parametrize("name", ["rbm_6x4_s11", "rbm_12x8_s12", "rbm_100x14_s15"])
def test_known_values_of_rbms(name):
    model = case(name)
    x = model.array("data")
    expected = -model["data_logPL"]
    for energy in (model.rbm(), lambda y: model.rbm()(y)):
        value = torch_ebm.pseudolikelihood(energy, x)
        assert value.item() == pytest.approx(expected, rel=1e-12)


def test_known_value_of_a_potts_model():
    energy, x, model = potts()
    value = torch_ebm.pseudolikelihood(energy, x, categorical=True)
    assert value.item() == pytest.approx(-model["data_mean_logPL"], rel=1e-12)


@pytest.mark.parametrize("name", ["fvbm_optimum_n5_s4", "lsat6_fvbm"])
def test_the_gradient_vanishes_at_the_known_optimum(name):
    model = case(name)
    energy = FullyVisible(model.array("W_opt_logPL"), model.array("b_opt_logPL"))
    value = torch_ebm.pseudolikelihood(energy, **data_of(model))
    assert value.item() == pytest.approx(-model["opt_logPL"], rel=1e-12)
    value.backward()
    off_diagonal = 1 - torch.eye(5, dtype=torch.float64)
    assert (energy.weight.grad * off_diagonal).abs().max() < 1e-10
    assert energy.bias.grad.abs().max() < 1e-10


@pytest.mark.parametrize("blocks", [[[0, 1], [2, 3]], [[3, 0, 2]], [[1], [1]], [[0, 1, 2, 3]]])
def test_blocks_are_their_joint_conditionals(blocks):
    energy = Network(4, torch.float64)
    x = all_states(4)
    value = torch_ebm.pseudolikelihood(energy, x, blocks=torch.tensor(blocks), reduction="none")
    expected = sum(naive(energy, x, block) for block in blocks)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)


def test_one_block_of_all_sites_is_the_likelihood():
    energy = Network(4, torch.float64)
    blocks = torch.tensor([[0, 1, 2, 3]])
    value = torch_ebm.pseudolikelihood(energy, all_states(4), blocks=blocks, reduction="none")
    log_z = torch_ebm.exact_log_z(energy, 4, dtype=torch.float64)
    torch.testing.assert_close(value, energy(all_states(4)) + log_z)


@pytest.mark.parametrize("blocks", [None, [[0, 1], [2, 3], [4, 0]], [[2, 4]]])
def test_categorical_blocks(blocks):
    energy, x, _ = potts()
    x = x[:40]
    value = torch_ebm.pseudolikelihood(
        energy,
        x,
        categorical=True,
        blocks=None if blocks is None else torch.tensor(blocks),
        reduction="none",
    )
    by_label = lambda labels: energy(F.one_hot(labels, 4).double())  # noqa: E731
    labels = x.argmax(2)
    expected = sum(naive(by_label, labels, b, 4) for b in blocks or [[i] for i in range(5)])
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)


def test_states_of_any_shape():
    energy = Network(6, torch.float64)
    x = all_states(6)[::5]
    value = torch_ebm.pseudolikelihood(lambda y: energy(y.flatten(1)), x.view(-1, 2, 3))
    torch.testing.assert_close(value, torch_ebm.pseudolikelihood(energy, x))


@pytest.mark.parametrize("options", [{}, {"categorical": True}])
def test_random_sites_are_without_bias(options):
    if options:
        energy, x, _ = potts()
        x = x[:3]
    else:
        energy, x = random_rbm(5, 4, 1.0, 3), all_states(5)[[3, 17, 30]]
    generator = seeded(5)
    estimates = [
        torch_ebm.pseudolikelihood(
            energy, x, n_sites=2, reduction="none", generator=generator, **options
        ).detach()
        for _ in range(3000)
    ]
    exact = torch_ebm.pseudolikelihood(energy, x, reduction="none", **options).detach()
    check_mean(torch.stack(estimates), exact, what="estimate from random sites")


def test_every_example_draws_sites_of_its_own():
    energy, x = Network(9, torch.float64), torch.zeros(200, 9, dtype=torch.float64)
    terms = torch_ebm.pseudolikelihood(energy, x, n_sites=1, reduction="none", generator=seeded(2))
    assert len(terms.detach().unique()) == 9


def test_all_sites_drawn_are_all_sites():
    energy, x = Network(5, torch.float64), all_states(5)
    drawn = torch_ebm.pseudolikelihood(energy, x, n_sites=5, reduction="none")
    torch.testing.assert_close(drawn, torch_ebm.pseudolikelihood(energy, x, reduction="none"))


def test_the_energy_is_asked_for_a_chunk_at_a_time():
    energy, x, sizes = Network(9, torch.float64), all_states(9)[:10], []

    def recorded(y):
        sizes.append(len(y))
        return energy(y)

    value = torch_ebm.pseudolikelihood(recorded, x, chunk_size=30)
    assert sizes == [10, 30, 30, 30]
    value.backward()
    assert sizes == [10, 30, 30, 30] + [30, 30, 30]  # once more, a chunk at a time
    with torch.no_grad():
        sizes.clear()
        torch_ebm.pseudolikelihood(recorded, x, chunk_size=1)  # a site is not divided
    assert sizes == [10] + [10] * 9


def test_the_graph_holds_one_chunk():
    energy, x = Network(40, torch.float32), (torch.rand(50, 40) < 0.5).float()

    def most_held(chunk_size):
        held = [0]
        most = 0

        class Saved:
            def __init__(self, tensor):
                nonlocal most
                self.tensor = tensor.detach()  # not the graph, which would hold itself
                held[0] += tensor.numel()
                most = max(most, held[0])

            def __del__(self):
                held[0] -= self.tensor.numel()

        with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
            torch_ebm.pseudolikelihood(energy, x, chunk_size=chunk_size).backward()
        return most

    assert most_held(50) < most_held(None) / 10


def test_parameters_that_are_computed_from_others():
    base = torch.randn(5, 5, dtype=torch.float64, requires_grad=True)
    x = all_states(5)
    weight = base @ base.T

    def energy(y):
        return -0.5 * ((y @ weight) * y).sum(1)

    expected = torch.autograd.grad(torch_ebm.pseudolikelihood(energy, x), base, retain_graph=True)[
        0
    ]
    chunked = torch_ebm.pseudolikelihood(energy, x, chunk_size=32)
    torch.testing.assert_close(torch.autograd.grad(chunked, base)[0], expected)


def changed_parameter(energy):
    with torch.no_grad():
        energy.layer.weight.add_(0.01)


def frozen_and_changed_parameter(energy):
    energy.layer.weight.data += 0.01


@pytest.mark.parametrize("change", [changed_parameter, frozen_and_changed_parameter])
def test_another_function_in_the_backward_pass_is_refused(change):
    energy, x = Network(5, torch.float64), all_states(5)
    if change is frozen_and_changed_parameter:
        energy.layer.weight.requires_grad_(False)
    value = torch_ebm.pseudolikelihood(energy, x, chunk_size=32)
    change(energy)
    with pytest.raises(RuntimeError, match="pseudolikelihood: the energy gave different values"):
        value.backward()


def test_dropout_is_refused_in_the_backward_pass():
    layers = [torch.nn.Linear(5, 9), torch.nn.Dropout(), torch.nn.Tanh(), torch.nn.Linear(9, 1)]
    network = torch.nn.Sequential(*layers)
    value = torch_ebm.pseudolikelihood(
        lambda y: network(y)[:, 0], all_states(5).float(), chunk_size=32
    )
    with pytest.raises(RuntimeError, match="leave out chunk_size"):
        value.backward()


def test_a_parameter_that_only_some_chunks_use():
    x = torch.zeros(2, 4)
    parameter = torch.ones(4, requires_grad=True)

    def energy(y):
        return torch.where(y[:, 3] > 0, y @ parameter, y.sum(1)) if y[:, 3].any() else y.sum(1)

    gradients = [
        torch.autograd.grad(torch_ebm.pseudolikelihood(energy, x, chunk_size=c), parameter)[0]
        for c in (None, 1)
    ]
    torch.testing.assert_close(*gradients)


def test_by_default_it_is_an_ordinary_graph():
    """Also where many calls are needed: hooks run once, and gradients of what is not a leaf exist."""
    x = (torch.rand(200, 100) < 0.5).float()
    base = torch.zeros(100, requires_grad=True)
    weight = base + 0.1
    calls = []
    weight.register_hook(lambda gradient: calls.append(gradient))
    value = torch_ebm.pseudolikelihood(lambda y: y @ weight, x)
    (gradient,) = torch.autograd.grad(value, weight, retain_graph=True)
    value.backward()
    torch.testing.assert_close(base.grad, gradient)
    assert len(calls) == 2  # one each


def test_forward_mode_derivatives_are_right_or_refused():
    import torch.autograd.forward_ad as forward_mode

    x = all_states(3)
    with forward_mode.dual_level():
        weight = forward_mode.make_dual(torch.ones(3).double(), torch.ones(3).double())
        energy = lambda y: torch.tanh(y @ weight)  # noqa: E731
        tangent = forward_mode.unpack_dual(torch_ebm.pseudolikelihood(energy, x)).tangent
        with pytest.raises(NotImplementedError, match="forward-mode derivatives need the graph"):
            torch_ebm.pseudolikelihood(energy, x, chunk_size=8)
    leaf = torch.ones(3, dtype=torch.float64, requires_grad=True)
    value = torch_ebm.pseudolikelihood(lambda y: torch.tanh(y @ leaf), x)
    torch.testing.assert_close(tangent, torch.autograd.grad(value, leaf)[0].sum())


def test_forbidden_neighbours_cost_nothing():
    # Only states of one 1 are allowed: every conditional is certain.
    def energy(y):
        return torch.where(y.sum(1) == 1, torch.zeros(()).double(), torch.inf)

    x = torch.eye(4, dtype=torch.float64)
    assert torch_ebm.pseudolikelihood(energy, x).item() == 0
    blocks = torch.tensor([[0, 1]])
    value = torch_ebm.pseudolikelihood(energy, x, blocks=blocks, reduction="none")
    torch.testing.assert_close(value, torch.tensor([2, 2, 1, 1]).double().log())


def test_bad_options():
    energy, x = Network(4, torch.float64), all_states(4)
    one_hot = F.one_hot(torch.tensor([[0, 1], [2, 1]]), 3).double()
    for options, match in (
        ({"n_sites": 0}, "n_sites must be between 1 and 4, got 0"),
        ({"n_sites": 5}, "n_sites must be between 1 and 4, got 5"),
        ({"chunk_size": 0}, "chunk_size must be at least 1"),
        ({"blocks": torch.tensor([[0, 4]])}, "blocks must hold sites 0 to 3, got 4"),
        ({"blocks": torch.tensor([[1, 1]])}, "blocks must hold a site at most once per row"),
        ({"blocks": torch.arange(4)}, r"blocks must have shape \(B, k\)"),
    ):
        with pytest.raises(ValueError, match=f"pseudolikelihood: {match}"):
            torch_ebm.pseudolikelihood(energy, x, **options)
    with pytest.raises(ValueError, match="pseudolikelihood: x must"):
        torch_ebm.pseudolikelihood(energy, x + 0.5)
    with pytest.raises(ValueError, match="pseudolikelihood: x must"):
        torch_ebm.pseudolikelihood(energy, 1 - one_hot, categorical=True)
    with pytest.raises(ValueError, match="joint states"):
        torch_ebm.pseudolikelihood(
            Network(13, torch.float64),
            torch.zeros(2, 13, dtype=torch.float64),
            blocks=torch.arange(13)[None],
        )
