"""LogZTracker again, rung by rung and with dense matrices, as the textbook writes a Kalman filter."""

import torch


def bridge(at_0, at_1):
    """Bennett's ratio of equally many samples, by bisection; what each pair brings in; the ESS."""
    low, high = torch.cat([at_0, at_1]).aminmax()
    low, high = low - 20, high + 20
    while high - low > 1e-13 * max(1.0, abs(high)):
        c = (low + high) / 2
        if torch.sigmoid(at_0 - c).sum() > torch.sigmoid(c - at_1).sum():
            low = c
        else:
            high = c
    p, q = torch.sigmoid(at_0 - c), torch.sigmoid(c - at_1)
    overlap = (p * (1 - p)).sum() + (q * (1 - q)).sum()
    return c, len(at_0) * (p - q) / overlap, 4 * overlap.item()


def bridges(pairs):
    """The ratios (n,), deviations (N, n), variances (n,) and the least ESS of several."""
    log_ratios, deviations, ess = zip(*(bridge(*pair) for pair in pairs))
    deviations = torch.stack(deviations, 1)
    n = len(deviations)
    return torch.stack(log_ratios), deviations, deviations.square().sum(0) / n / (n - 1), min(ess)


class NaiveLogZTracker:
    def __init__(self, betas):
        self.betas = [torch.tensor(b, dtype=torch.float64) for b in betas]
        self.mean = None

    @torch.no_grad()
    def update(self, energy, previous, chains, log_z_base):
        n, n_chains = len(self.betas) - 1, chains.shape[1]

        def at(model, x, rung):
            return model.tempered(x, self.betas[rung])

        def neighbours(r):
            return [
                at(energy, chains[rung], r + 1) - at(energy, chains[rung], r) for rung in (r + 1, r)
            ]

        ratios, deviations, variances, self.ess = bridges(map(neighbours, range(n)))
        eye, zero = torch.eye(n).double(), torch.zeros(n, n).double()
        sums = torch.ones(n, n).double().triu()
        observed, spread = log_z_base + sums @ ratios, deviations @ sums.T
        noise = sums @ variances.diag() @ sums.T
        see = torch.cat([eye, zero], 1)
        if self.mean is None:
            self.mean, self.covariance = see.T @ observed, see.T @ noise @ see
            self.deviations, self.innovation = spread @ see, torch.zeros(n).double()
        else:

            def changes(r):
                return [at(previous, x[r], r) - at(energy, x[r], r) for x in (self.chains, chains)]

            change, of_change, variances, ess = bridges(map(changes, range(n)))
            self.ess = min(self.ess, ess)
            step = torch.cat([torch.cat([eye, eye], 1), torch.cat([zero, eye], 1)])
            mean = step @ self.mean + see.T @ change
            covariance = step @ self.covariance @ step.T
            covariance += torch.block_diag(variances.diag(), variances.diag())
            deviations = self.deviations @ step.T + of_change @ see
            gain = covariance @ see.T @ torch.linalg.inv(see @ covariance @ see.T + noise)
            off = spread - deviations @ see.T
            error = (off.square().sum(0) / n_chains / (n_chains - 1)).sqrt()
            self.innovation = (observed - see @ mean) / error
            self.mean = mean + gain @ (observed - see @ mean)
            self.covariance = covariance - gain @ see @ covariance
            self.deviations = deviations + off @ gain.T
        self.chains = chains.clone()
        own = self.deviations[:, 0].square().sum() / n_chains / (n_chains - 1)
        self.std_error = own.sqrt().item()
