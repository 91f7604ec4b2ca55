"""Files that a run writes: atomic writes, checksums, fingerprints and provenance."""
