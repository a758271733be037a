"""Losses: each a function of an energy and data."""
