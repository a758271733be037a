"""torch_ebm: train, sample and evaluate energy-based models, p(x) = exp(-E(x)) / Z.

Any callable or module that maps a batch x of shape (N, ...) to energies of shape (N,) is an energy.
The algorithms are operators, ``torch.ops.torch_ebm.*``, of a C++ library built on LibTorch. The
functions here call them; scripted modules and C++ programs can call them too.
"""

from . import plots, testing
from ._library import __version__, cmake_prefix_path, cpu_kernels
from .ais import ais, reverse_ais
from .ais_run import AISRun
from .anneal import AnnealedChains, anneal
from .annealed_energy import annealed_energy
from .boltzmann_machine import (
    BoltzmannMachine,
    boltzmann_gibbs,
    boltzmann_gibbs_with_gradients,
)
from .bridge_sampling import bridge_sampling
from .checkpoint import checkpoint_values, load_checkpoint, save_checkpoint
from .concrete_score_matching import concrete_score_matching
from .conditional_nce import conditional_nce
from .denoising_score_matching import denoising_score_matching
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
from .discrete_langevin import discrete_langevin
from .energy import Energy
from .energy_discrepancy import energy_discrepancy
from .exact_log_z import exact_log_z
from .fast_pcd import FastPCD
from .gaussian_log_z import gaussian_log_z
from .gibbs import gibbs
from .gibbs_with_gradients import gibbs_with_gradients
from .hmc import hmc
from .kernel_stein_discrepancy import kernel_stein_discrepancy
from .ladder import Ladder, adapt_ladder, tune_ladder
from .langevin import langevin, langevin_update
from .lattice_log_z import ising_log_z, lattice_log_z
from .log_likelihood import (
    LogLikelihood,
    LogLikelihoodComparison,
    compare_log_likelihoods,
    log_likelihood,
)
from .linked_ais import linked_ais
from .log_partition import log_partition
from .log_z_estimate import LogZEstimate, log_z_from_weights
from .log_z_report import log_z_report
from .log_z_tracker import LogZTracker
from .mala import mala
from .maximum_likelihood import maximum_likelihood
from .mbar import MBAREstimate, MBARExpectation, mbar, mbar_expectation, mbar_weights
from .minimum_probability_flow import minimum_probability_flow
from .mlp import MLP, mlp_value_and_score
from .moment_averaged_path import moment_averaged_path
from .nce import nce
from .negative_phase import CD, PCD, NaiveMCMC, NegativePhase, start_states
from .noise import NoiseDistribution, NoiseSamples, draw_noise, model_noise
from .nuts import nuts
from .progress import progress_bar
from .pseudolikelihood import pseudolikelihood
from .quadrature_log_z import QuadratureLogZ, quadrature_log_z
from .raise_log_likelihood import raise_log_likelihood
from .ranking_nce import ranking_nce
from .ratio_matching import ratio_matching
from .rbm import RBM, base_rate_bias, rbm_gibbs
from .rbm_path import RBMPath
from .recovery_likelihood import recovery_energy, recovery_likelihood
from .replay_buffer import ReplayBuffer
from .replica_exchange import ReplicaSamples, replica_exchange
from .sampler import Sampler, Samples
from .sandwich import Sandwich, sandwich
from .schedule import (
    adaptive_schedule,
    linear_schedule,
    salakhutdinov_murray_schedule,
    sigmoid_schedule,
)
from .score_matching import score_matching
from .sliced_score_matching import sliced_score_matching
from .tempered_log_z import LadderEnergies, ladder_energies, tempered_log_z
from .tempered_pcd import TemperedPCD
from .tempered_transitions import tempered_transitions
from .thermodynamic_integration import thermodynamic_integration
from .training_monitor import TrainingMonitor, TrainingWarning
from .tune_path import PathTuning, tune_path
from .unbiased_cd import UnbiasedCD
from .underdamped_langevin import underdamped_langevin
from .warm_up import WarmUp, warm_up

__all__ = [
    "AISRun",
    "AnnealedChains",
    "BoltzmannMachine",
    "CD",
    "Energy",
    "FastPCD",
    "Ladder",
    "LadderEnergies",
    "LogLikelihood",
    "LogLikelihoodComparison",
    "LogZEstimate",
    "LogZTracker",
    "MBAREstimate",
    "MBARExpectation",
    "MLP",
    "NaiveMCMC",
    "NegativePhase",
    "NoiseDistribution",
    "NoiseSamples",
    "PCD",
    "PathTuning",
    "QuadratureLogZ",
    "RBM",
    "RBMPath",
    "ReplayBuffer",
    "ReplicaSamples",
    "Sampler",
    "Samples",
    "Sandwich",
    "Summary",
    "TemperedPCD",
    "TrainingMonitor",
    "TrainingWarning",
    "UnbiasedCD",
    "WarmUp",
    "__version__",
    "adapt_ladder",
    "adaptive_schedule",
    "ais",
    "anneal",
    "annealed_energy",
    "autocorrelation",
    "autocorrelation_time",
    "base_rate_bias",
    "boltzmann_gibbs",
    "boltzmann_gibbs_with_gradients",
    "bridge_sampling",
    "checkpoint_values",
    "cmake_prefix_path",
    "compare_log_likelihoods",
    "concrete_score_matching",
    "conditional_nce",
    "cpu_kernels",
    "denoising_score_matching",
    "discrete_langevin",
    "draw_noise",
    "energy_discrepancy",
    "ess_bulk",
    "ess_mean",
    "ess_tail",
    "exact_log_z",
    "gaussian_log_z",
    "gibbs",
    "gibbs_with_gradients",
    "hmc",
    "ising_log_z",
    "kernel_stein_discrepancy",
    "ladder_energies",
    "langevin",
    "langevin_update",
    "lattice_log_z",
    "linear_schedule",
    "linked_ais",
    "load_checkpoint",
    "log_likelihood",
    "log_partition",
    "log_z_from_weights",
    "log_z_report",
    "mala",
    "maximum_likelihood",
    "mbar",
    "mbar_expectation",
    "mbar_weights",
    "mcse_mean",
    "minimum_probability_flow",
    "mlp_value_and_score",
    "model_noise",
    "moment_averaged_path",
    "nce",
    "nuts",
    "plots",
    "progress_bar",
    "pseudolikelihood",
    "quadrature_log_z",
    "r_hat",
    "raise_log_likelihood",
    "ranking_nce",
    "ratio_matching",
    "rbm_gibbs",
    "recovery_energy",
    "recovery_likelihood",
    "replica_exchange",
    "reverse_ais",
    "round_trips",
    "salakhutdinov_murray_schedule",
    "sandwich",
    "save_checkpoint",
    "score_matching",
    "sigmoid_schedule",
    "sliced_score_matching",
    "start_states",
    "summary",
    "tempered_log_z",
    "tempered_transitions",
    "testing",
    "thermodynamic_integration",
    "tune_ladder",
    "tune_path",
    "underdamped_langevin",
    "warm_up",
]
