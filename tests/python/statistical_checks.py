"""Statistical checks with a stated rate of false alarms.

At most one run of this suite in 1 / RUN_ALPHA may fail though nothing is wrong. A run makes at most
CHECKS_PER_RUN checks (conftest.py counts them), each at level ALPHA, and a check of many numbers at once
divides its level among them. Never loosen these: a check that is too weak gets more samples. Seeds are
fixed, so that a result changes only when the random streams do.
"""

import math

import numpy as np
import scipy.stats
import torch

RUN_ALPHA = 1e-3
CHECKS_PER_RUN = 2000
ALPHA = RUN_ALPHA / CHECKS_PER_RUN

MIN_EXPECTED = 10  # counts below this are pooled: chi-square tails need them large

checks_made = 0


def _check(p_value, n_numbers, what):
    global checks_made
    checks_made += 1
    assert p_value * n_numbers >= ALPHA, f"{what}: p = {p_value:.2e}, times {n_numbers}"


def chi_square_p_value(counts, probabilities):
    """P-value of Pearson's test; cells with few expected counts are pooled into one."""
    counts = np.asarray(counts, dtype=float)
    probabilities = np.asarray(probabilities, dtype=float)
    assert abs(probabilities.sum() - 1) < 1e-9
    assert counts[probabilities == 0].sum() == 0, "an impossible state was visited"
    order = np.argsort(probabilities)
    counts, expected = counts[order], probabilities[order] * counts.sum()
    n_pooled = int(np.searchsorted(expected, MIN_EXPECTED))
    while 0 < n_pooled < len(expected) and expected[:n_pooled].sum() < MIN_EXPECTED:
        n_pooled += 1
    if n_pooled:
        counts = np.append(counts[n_pooled:], counts[:n_pooled].sum())
        expected = np.append(expected[n_pooled:], expected[:n_pooled].sum())
    statistic = ((counts - expected) ** 2 / expected).sum()
    return scipy.stats.chi2.sf(statistic, len(expected) - 1)


def require(check):
    """A check of the public kit, torch_ebm.testing, at this suite's level."""
    _check(check.p_value, 1, f"{check.what}: {check.detail}")


def check_law(numbers, probabilities, what="law of states"):
    """The state numbers were drawn from `probabilities`."""
    counts = torch.bincount(numbers, minlength=len(probabilities))
    _check(chi_square_p_value(counts, probabilities), 1, what)


def check_rows(rows, what="rows of the kernel"):
    """Every (numbers, probabilities) of `rows`: the numbers were drawn from the probabilities."""
    p_values = [
        chi_square_p_value(torch.bincount(numbers, minlength=len(p)), p) for numbers, p in rows
    ]
    _check(min(p_values), len(p_values), what)


def check_mean(samples, mean, variance=None, what="mean"):
    """Independent samples (N,) or (N, D) have this mean; the exact variance is best, if known."""
    samples = torch.as_tensor(samples, dtype=torch.float64)
    samples = samples.reshape(len(samples), -1)
    mean = torch.as_tensor(mean, dtype=torch.float64).flatten()
    variance = samples.var(0) if variance is None else torch.as_tensor(variance).double().flatten()
    z = (samples.mean(0) - mean) / (variance / len(samples)).sqrt()
    worst = z.abs().max().item()
    assert math.isfinite(worst), what
    _check(2 * scipy.stats.norm.sf(worst), samples.shape[1], f"{what}: |z| = {worst:.2f}")


def check_distribution(samples, distribution, what="distribution"):
    """Kolmogorov-Smirnov; `distribution` is a frozen scipy distribution."""
    p_value = scipy.stats.kstest(np.asarray(samples), distribution.cdf).pvalue
    _check(p_value, 1, what)


def check_uncorrelated_columns(x, what="correlations of columns"):
    """Every two columns of independent rows (N, D) are uncorrelated."""
    r = np.corrcoef(np.asarray(x, dtype=float), rowvar=False)[np.triu_indices(x.shape[1], 1)]
    worst = np.abs(r).max()
    _check(2 * scipy.stats.norm.sf(worst * math.sqrt(len(x))), len(r), f"{what}: r = {worst:.4f}")


def check_count(successes, trials, probability, what="count", alternative="two-sided"):
    p_value = scipy.stats.binomtest(int(successes), trials, probability, alternative).pvalue
    _check(p_value, 1, what)
