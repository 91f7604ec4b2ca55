"""Fetching, building, loading, checking and describing models."""
