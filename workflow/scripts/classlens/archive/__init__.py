"""Archives of results: publishing a run, and adopting a published run."""
