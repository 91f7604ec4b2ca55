"""Sphinx extensions that fill pages at build time, from the config's schema, the workflow's rules and a run's results."""
