"""The partition function: log Z, and the likelihoods that it gives."""
