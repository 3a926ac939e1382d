"""The current state of target groups and targets, counters and caches."""
