"""Who is mixed with whom in a data set."""
