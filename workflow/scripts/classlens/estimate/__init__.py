"""Estimates of a run's time and disk space before it starts."""
