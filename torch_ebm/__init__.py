"""torch_ebm: train, sample and evaluate energy-based models, p(x) = exp(-E(x)) / Z.

Any callable or module that maps a batch x of shape (N, ...) to energies of shape (N,) is an energy.
The algorithms are operators, ``torch.ops.torch_ebm.*``, of a C++ library built on LibTorch. The
functions here call them; scripted modules and C++ programs can call them too.
"""

from . import plots, testing
from ._library import __version__, cmake_prefix_path, cpu_kernels
from .common.progress import progress_bar
from .criteria.concrete_score_matching import concrete_score_matching
from .criteria.conditional_nce import conditional_nce
from .criteria.denoising_score_matching import denoising_score_matching
from .criteria.energy_discrepancy import energy_discrepancy
from .criteria.kernel_stein_discrepancy import kernel_stein_discrepancy
from .criteria.maximum_likelihood import maximum_likelihood
from .criteria.minimum_probability_flow import minimum_probability_flow
from .criteria.nce import nce
from .criteria.pseudolikelihood import pseudolikelihood
from .criteria.ranking_nce import ranking_nce
from .criteria.ratio_matching import ratio_matching
from .criteria.recovery_likelihood import recovery_energy, recovery_likelihood
from .criteria.score_matching import score_matching
from .criteria.sliced_score_matching import sliced_score_matching
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
from .energy.energy import Energy
from .energy.noise import NoiseDistribution, NoiseSamples, draw_noise, model_noise
from .learning.checkpoint import checkpoint_values, load_checkpoint, save_checkpoint
from .learning.fast_pcd import FastPCD
from .learning.negative_phase import CD, PCD, NaiveMCMC, NegativePhase, start_states
from .learning.replay_buffer import ReplayBuffer
from .learning.tempered_pcd import TemperedPCD
from .learning.training_monitor import TrainingMonitor, TrainingWarning
from .learning.unbiased_cd import UnbiasedCD
from .models.boltzmann_machine import (
    BoltzmannMachine,
    boltzmann_gibbs,
    boltzmann_gibbs_with_gradients,
)
from .models.mlp import MLP, mlp_value_and_score
from .models.rbm import RBM, base_rate_bias, rbm_gibbs
from .partition.annealing.ais import ais, reverse_ais
from .partition.annealing.ais_run import AISRun
from .partition.annealing.anneal import AnnealedChains, anneal
from .partition.annealing.annealed_energy import annealed_energy
from .partition.annealing.linked_ais import linked_ais
from .partition.annealing.moment_averaged_path import moment_averaged_path
from .partition.annealing.raise_log_likelihood import raise_log_likelihood
from .partition.annealing.rbm_path import RBMPath
from .partition.annealing.sandwich import Sandwich, sandwich
from .partition.annealing.schedule import (
    adaptive_schedule,
    linear_schedule,
    salakhutdinov_murray_schedule,
    sigmoid_schedule,
)
from .partition.annealing.tune_path import PathTuning, tune_path
from .partition.bridging.bridge_sampling import bridge_sampling
from .partition.bridging.mbar import (
    MBAREstimate,
    MBARExpectation,
    mbar,
    mbar_expectation,
    mbar_weights,
)
from .partition.bridging.tempered_log_z import LadderEnergies, ladder_energies, tempered_log_z
from .partition.bridging.thermodynamic_integration import thermodynamic_integration
from .partition.exact.exact_log_z import exact_log_z
from .partition.exact.gaussian_log_z import gaussian_log_z
from .partition.exact.lattice_log_z import ising_log_z, lattice_log_z
from .partition.exact.quadrature_log_z import QuadratureLogZ, quadrature_log_z
from .partition.log_likelihood import (
    LogLikelihood,
    LogLikelihoodComparison,
    compare_log_likelihoods,
    log_likelihood,
)
from .partition.log_partition import log_partition
from .partition.log_z_estimate import LogZEstimate, log_z_from_weights
from .partition.tracking.log_z_tracker import LogZTracker
from .plots.log_z_report import log_z_report
from .samplers.discrete_langevin import discrete_langevin
from .samplers.gibbs import gibbs
from .samplers.gibbs_with_gradients import gibbs_with_gradients
from .samplers.hmc import hmc
from .samplers.ladder import Ladder, adapt_ladder, tune_ladder
from .samplers.langevin import langevin, langevin_update
from .samplers.mala import mala
from .samplers.nuts import nuts
from .samplers.replica_exchange import ReplicaSamples, replica_exchange
from .samplers.sampler import Sampler, Samples
from .samplers.tempered_transitions import tempered_transitions
from .samplers.underdamped_langevin import underdamped_langevin
from .samplers.warm_up import WarmUp, warm_up

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
