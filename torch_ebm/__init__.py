"""torch_ebm: train, sample and evaluate energy-based models, p(x) = exp(-E(x)) / Z.

Any callable or module that maps a batch x of shape (N, ...) to energies of shape (N,) is an energy. The
algorithms live in a C++ library over LibTorch, as operators ``torch.ops.torch_ebm.*``: the functions
here call them, and so may a scripted module and a C++ program.
"""

from . import plots, testing
from ._library import __version__, cmake_prefix_path, cpu_kernels
from .ais import LogZEstimate, ais, log_z_from_weights
from .boltzmann_machine import (
    BoltzmannMachine,
    boltzmann_gibbs,
    boltzmann_gibbs_with_gradients,
)
from .checkpoint import checkpoint_values, load_checkpoint, save_checkpoint
from .diagnostics import (
    Summary,
    autocorrelation,
    autocorrelation_time,
    ess_bulk,
    ess_mean,
    ess_tail,
    mcse_mean,
    r_hat,
    round_trips,
    summary,
)
from .energy import Energy
from .exact_log_z import exact_log_z
from .gibbs import gibbs
from .hmc import hmc
from .langevin import langevin, langevin_update
from .log_partition import log_partition
from .mala import mala
from .mlp import MLP, mlp_value_and_score
from .negative_phase import CD, PCD, NaiveMCMC, NegativePhase, start_states
from .progress import progress_bar
from .rbm import RBM, base_rate_bias, rbm_gibbs
from .sampler import Sampler, Samples
from .training_monitor import TrainingMonitor, TrainingWarning
from .underdamped_langevin import underdamped_langevin

__all__ = [
    "BoltzmannMachine",
    "CD",
    "Energy",
    "LogZEstimate",
    "MLP",
    "NaiveMCMC",
    "NegativePhase",
    "PCD",
    "RBM",
    "Sampler",
    "Samples",
    "Summary",
    "TrainingMonitor",
    "TrainingWarning",
    "__version__",
    "ais",
    "autocorrelation",
    "autocorrelation_time",
    "base_rate_bias",
    "boltzmann_gibbs",
    "boltzmann_gibbs_with_gradients",
    "checkpoint_values",
    "cmake_prefix_path",
    "cpu_kernels",
    "ess_bulk",
    "ess_mean",
    "ess_tail",
    "exact_log_z",
    "gibbs",
    "hmc",
    "langevin",
    "langevin_update",
    "load_checkpoint",
    "log_partition",
    "log_z_from_weights",
    "mala",
    "mcse_mean",
    "mlp_value_and_score",
    "plots",
    "progress_bar",
    "r_hat",
    "rbm_gibbs",
    "round_trips",
    "save_checkpoint",
    "start_states",
    "summary",
    "testing",
    "underdamped_langevin",
]
