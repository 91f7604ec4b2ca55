"""Results that others published: packing a run, and taking one over."""
