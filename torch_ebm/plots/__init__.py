"""Pictures of models, samples and estimates; they need ``pip install torch_ebm[plots]``."""

from .plots import (
    ais_weights,
    filters,
    images,
    plot_trace,
    sandwich,
    stage_ess,
    training_curve,
)

__all__ = [
    "ais_weights",
    "filters",
    "images",
    "plot_trace",
    "sandwich",
    "stage_ess",
    "training_curve",
]
