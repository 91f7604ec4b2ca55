"""What the pages are made from at build time: the config's schema, the workflow's rules, a run's figures and tables."""
