"""Loss functions, each beside its equation."""
