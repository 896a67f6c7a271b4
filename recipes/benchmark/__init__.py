"""Tables of runs: methods against methods, with intervals, beside published numbers."""
