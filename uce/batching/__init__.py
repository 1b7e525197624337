"""Many pictures with one configuration, each in a run folder of its own, and nothing done twice."""
