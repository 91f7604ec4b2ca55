"""Contents of the report, of the README's results, and of the summary at the end of a run."""
