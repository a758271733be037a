"""log Z followed through a training."""
