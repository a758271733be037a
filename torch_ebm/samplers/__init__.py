"""Markov chains that keep exp(-beta E), and tempering around them."""
