"""A run's typed settings, the plan made from them, and the state of its results folder. No result depends on this code."""
