"""What a run is asked for: typed settings, the plan that they stand for, and the state of its folder. No result depends on this code."""
