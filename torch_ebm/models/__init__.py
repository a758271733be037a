"""Energies with closed forms: the RBM, the Boltzmann machine, the multilayer perceptron."""
