"""A look at a run before it starts: its data sets, its models with a quick accuracy, its results, and a config for a checkpoint."""
