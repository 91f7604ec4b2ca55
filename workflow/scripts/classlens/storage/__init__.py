"""Files that a run writes: whole or not at all, with checksums and their origin inside."""
