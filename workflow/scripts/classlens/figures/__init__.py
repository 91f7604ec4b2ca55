"""Figures: each module computes the numbers of one figure as a table, and draws the figure from that table."""
