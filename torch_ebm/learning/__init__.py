"""Negative phases, and what watches and saves a training."""
