"""What an energy is, and distributions that sample and have a density."""
