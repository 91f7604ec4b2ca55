"""What the report, the README and the end of a run say."""
