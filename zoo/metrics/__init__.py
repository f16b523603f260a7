"""Pure functions on tensors, one file a family of metrics."""
