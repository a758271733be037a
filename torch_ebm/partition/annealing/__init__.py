"""log Z along a path of energies from a base."""
