"""Who is mixed with whom in a data set."""

from . import groups as groups, index as index, similarity as similarity, unique as unique
