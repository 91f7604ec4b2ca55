"""Contents of the report, of the page of reproduced numbers, and of the summary at the end of a run."""
