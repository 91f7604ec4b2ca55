"""Tables: each module computes one table of the paper."""
