"""log Z from samples of several distributions."""
