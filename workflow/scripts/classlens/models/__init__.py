"""Models: fetching, loading, building, accepting and describing them."""
