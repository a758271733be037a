"""The energy interface: what may be an energy, and what comes through it."""

import gc
import threading
import weakref

import pytest
import torch

import torch_ebm
from energies import Network, standard_normal
from known_values import seeded
from torch_ebm.energy import energy as energy_module


class Oops(Exception):
    pass


DRIVERS = {
    "gibbs": lambda energy: torch_ebm.gibbs(energy, torch.zeros(3, 2)).x,
    "langevin": lambda energy: torch_ebm.langevin(energy, torch.zeros(3, 2)).x,
    "exact_log_z": lambda energy: torch_ebm.exact_log_z(energy, 2),
}
EVERY_DRIVER = pytest.mark.parametrize("driver", DRIVERS.values(), ids=DRIVERS)


@EVERY_DRIVER
@pytest.mark.parametrize("error", [Oops, KeyboardInterrupt, SystemExit, ZeroDivisionError])
def test_an_exception_raised_by_an_energy_keeps_its_type_and_text(driver, error):
    def energy(x):
        raise error("at home")

    with pytest.raises(error, match="at home"):
        driver(energy)
    assert not energy_module._callables


@EVERY_DRIVER
def test_an_exception_raised_by_a_scripted_energy_says_where(driver):
    class Scripted(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            assert x.numel() == -1, "never so"
            return x.sum(1)

    with pytest.raises(torch.jit.Error, match="never so"):
        driver(torch.jit.script(Scripted()))


@EVERY_DRIVER
def test_an_energy_is_forgotten_after_the_call(driver):
    energy = Network(2)
    driver(energy)
    alive = weakref.ref(energy)
    del energy
    gc.collect()
    assert alive() is None and not energy_module._callables


@EVERY_DRIVER
def test_an_energy_may_sample_another_energy(driver):
    def outer(x):
        torch_ebm.langevin(standard_normal, torch.zeros(2, 2)).x
        return x.sum(1)

    driver(outer)


def test_threads_do_not_mix_their_energies():
    results = {}

    def work(i):
        results[i] = torch_ebm.exact_log_z(lambda x: x.sum(1) * 0 + i, 10).item()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shift = torch.tensor(2.0).log().item() * 10
    assert all(results[i] == pytest.approx(shift - i, abs=1e-5) for i in range(8))


def test_parameters_are_those_of_the_module():
    energy = torch.jit.script(Network(2))
    before = torch_ebm.exact_log_z(energy, 2)
    with torch.no_grad():
        energy.layer.weight.add_(1)
    assert torch_ebm.exact_log_z(energy, 2) != before


def test_a_scripted_model_samples_its_own_submodule_and_survives_saving(tmp_path):
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.energy = Network(3)

        def forward(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            return torch.ops.torch_ebm.langevin(
                self.energy, x, n_steps=5, step_size=0.1, generator=generator
            )[0]

    model, start = Model(), torch.randn(4, 3)
    scripted = torch.jit.script(model)
    torch.jit.save(scripted, tmp_path / "model.pt")
    loaded = torch.jit.load(tmp_path / "model.pt")
    expected = torch_ebm.langevin(
        model.energy, start, n_steps=5, step_size=0.1, generator=seeded(141)
    ).x
    for m in (scripted, loaded):
        torch.testing.assert_close(m(start, seeded(141)), expected)


# --- A score of the energy's own ------------------------------------------------------------------


class OwnScore(torch.nn.Module):
    """A standard normal whose score is found without autograd, in memory that is used again."""

    def __init__(self):
        super().__init__()
        self.n_calls = 0
        self.memory = torch.zeros(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 0.5 * x.detach().square().sum(1)

    @torch.jit.export
    def value_and_score(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        self.n_calls += 1
        self.memory.copy_(-x)
        energy = self.forward(x)
        x.zero_()  # its own copy
        return energy, self.memory


@pytest.mark.parametrize("beta", [None, 0.5])
@pytest.mark.parametrize("sampler", [torch_ebm.langevin, torch_ebm.mala, torch_ebm.hmc])
def test_samplers_use_the_score_of_the_energy(sampler, beta):
    start = torch.randn(4, 2, generator=seeded(142))

    def run(energy):
        # Steps so large that some are rejected: then the old score is used again.
        return sampler(energy, start, n_steps=20, step_size=1.3, beta=beta, generator=seeded(143)).x

    expected = run(standard_normal)
    for energy in (OwnScore(), torch.jit.script(OwnScore())):
        torch.testing.assert_close(run(energy), expected)
        assert energy.n_calls >= 20


@pytest.mark.parametrize(
    "result, error, message",
    [
        (lambda x: x, TypeError, "value_and_score must return energies .* got Tensor"),
        (lambda x: (x.sum(1), None), TypeError, "value_and_score must return energies"),
        (lambda x: (x.sum(1), x, x), TypeError, "value_and_score must return energies"),
        (lambda x: (x, x), ValueError, r"its value must have shape \(N,\) = \(3,\), got \(3, 2\)"),
        (lambda x: (x.sum(1), x[:2]), ValueError, r"its score must have the shape of x, \(3, 2\)"),
        (lambda x: (x.sum(1), x.double()), TypeError, "its score must have the dtype of x"),
    ],
)
def test_wrong_scores_are_named(result, error, message):
    energy = OwnScore()
    energy.value_and_score = result
    with pytest.raises(error, match=f"energy: {message}"):
        torch_ebm.langevin(energy, torch.zeros(3, 2))


def test_a_scripted_score_that_is_no_pair_is_named():
    class Wrong(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum(1)

        @torch.jit.export
        def value_and_score(self, x: torch.Tensor) -> torch.Tensor:
            return x

    with pytest.raises(TypeError, match="energy: value_and_score must return .* got Tensor"):
        torch_ebm.langevin(torch.jit.script(Wrong()), torch.zeros(3, 2))


class SubmodulesOfSuchNames(torch.nn.Module):
    """A network whose parts have the names of what an energy may bring."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.gibbs = torch.nn.Linear(3, 4)
        self.gibbs_with_gradients = torch.nn.Tanh()
        self.tempered = torch.nn.Linear(4, 1)
        self.value_and_score = torch.nn.Flatten(0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.value_and_score(self.tempered(self.gibbs_with_gradients(self.gibbs(x))))


@pytest.mark.parametrize(
    "sampler", [torch_ebm.gibbs, torch_ebm.gibbs_with_gradients, torch_ebm.mala]
)
def test_submodules_are_no_methods_of_the_energy(sampler):
    module = SubmodulesOfSuchNames()

    def run(energy):
        return sampler(energy, torch.zeros(20, 3), beta=0.5, n_steps=4, generator=seeded(144)).x

    expected = run(lambda x: module(x))
    assert expected.unique(dim=0).shape[0] > 1
    assert torch.equal(run(module), expected)
    assert torch.equal(run(torch.jit.script(module)), expected)


def test_a_submodule_does_not_temper_an_exact_law():
    module, states = SubmodulesOfSuchNames(), torch.eye(3)
    law = torch_ebm.testing.exact_law(module, states, beta=0.5)
    assert torch.equal(law, torch_ebm.testing.exact_law(lambda x: module(x), states, beta=0.5))


# --- An energy that changes x ---------------------------------------------------------------------


def sneaky(change):
    def energy(x):
        change(x)
        return 0.5 * x.square().sum(1)

    return energy


def under_no_grad(x):
    with torch.no_grad():
        x.sub_(x.mean())


def under_inference_mode(x):
    with torch.inference_mode():
        x.sub_(x.mean())


CHANGES = {
    "no_grad": under_no_grad,
    "detach": lambda x: x.detach().sub_(x.mean()),
    "inference_mode": under_inference_mode,
    "data": lambda x: x.data.sub_(x.mean().detach()),
    "numpy": lambda x: x.detach().numpy().__isub__(1),
}
CHAINS = {
    "langevin": lambda e, x: torch_ebm.langevin(e, x, step_size=0.1),
    "langevin at beta": lambda e, x: torch_ebm.langevin(e, x, step_size=0.1, beta=0.5),
    "underdamped": lambda e, x: torch_ebm.underdamped_langevin(e, x, step_size=0.1),
    "mala": lambda e, x: torch_ebm.mala(e, x, step_size=0.1),
    "hmc": lambda e, x: torch_ebm.hmc(e, x, step_size=0.1),
    "nuts": lambda e, x: torch_ebm.nuts(e, x, step_size=0.1),
    "warm_up": lambda e, x: torch_ebm.warm_up(e, x, n_steps=20),
    "gibbs": lambda e, x: torch_ebm.gibbs(e, x),
    "gibbs_with_gradients": lambda e, x: torch_ebm.gibbs_with_gradients(e, x),
    "discrete_langevin": lambda e, x: torch_ebm.discrete_langevin(e, x, step_size=0.1),
    "replica_exchange": lambda e, x: torch_ebm.replica_exchange(
        e, x.expand(2, 3, 2).clone(), [1.0, 0.5], torch_ebm.gibbs
    ),
    "exact_log_z": lambda e, x: torch_ebm.exact_log_z(e, 2),
    "score_matching": lambda e, x: torch_ebm.score_matching(e, x),
    "pseudolikelihood": lambda e, x: torch_ebm.pseudolikelihood(e, x),
}


@pytest.mark.parametrize("use", CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_energy_that_changes_x_is_refused(use, change):
    for mode in (False, True):
        with torch.inference_mode(mode):
            x = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
            with pytest.raises(ValueError, match="energy: it must not change x in place"):
                use(sneaky(change), x)


def test_parts_of_an_energy_that_change_x_are_refused():
    class Path(torch.nn.Module):
        def forward(self, x):
            return 0.5 * x.square().sum(1)

    x = torch.ones(3, 2)
    for part, uses in {
        "base_energy": lambda e: torch_ebm.mala(e, x, step_size=0.1, beta=0.5),
        "tempered": lambda e: torch_ebm.mala(e, x, step_size=0.1, beta=0.5),
        "flip_differences": lambda e: torch_ebm.pseudolikelihood(e, x),
    }.items():
        energy = Path()

        def changed(x, *others):
            x.data.zero_()
            return x.sum(1)

        setattr(energy, part, changed)
        with pytest.raises(ValueError, match="must not change x in place"):
            uses(energy)


def test_nan_states_count_as_unchanged():
    x = torch.tensor([[float("nan"), 1.0]])
    assert energy_module.energy_at(lambda x: x[:, 1], x).tolist() == [1.0]


# --- Training mode --------------------------------------------------------------------------------


def spectral(new):
    layer = torch.nn.Linear(2, 1)
    norm = torch.nn.utils.parametrizations.spectral_norm if new else torch.nn.utils.spectral_norm
    return torch.nn.Sequential(norm(layer), torch.nn.Flatten(0))


CHANGING = {
    "BatchNorm1d": lambda: torch.nn.Sequential(
        torch.nn.BatchNorm1d(2), torch.nn.Linear(2, 1), torch.nn.Flatten(0)
    ),
    "Dropout": lambda: torch.nn.Sequential(
        torch.nn.Dropout(), torch.nn.Linear(2, 1), torch.nn.Flatten(0)
    ),
    "_SpectralNorm": lambda: spectral(new=True),
    "SpectralNorm": lambda: spectral(new=False),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", CHANGING)
def test_an_energy_that_changes_in_training_mode_warns_once_with_the_remedy(name, recwarn):
    energy, x = CHANGING[name](), torch.randn(4, 2)
    mala = lambda: torch_ebm.mala(energy, x, step_size=0.1)  # noqa: E731
    energy.eval()
    mala()
    assert not [w for w in recwarn if "training mode" in str(w.message)]
    energy.train()
    what = name.lstrip("_")
    with pytest.warns(UserWarning, match=f"mala: energy is in training mode and has a {what}"):
        mala()
    recwarn.clear()
    mala()
    assert not [w for w in recwarn if "training mode" in str(w.message)]


def test_a_scripted_energy_in_training_mode_warns():
    energy = torch.jit.script(CHANGING["BatchNorm1d"]())
    with pytest.warns(UserWarning, match=r"has a BatchNorm1d: .*call energy.eval\(\)"):
        torch_ebm.langevin(energy, torch.randn(4, 2), step_size=0.1)
