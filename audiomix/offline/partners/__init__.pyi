"""Who is mixed with whom in a data set."""

from . import (
    block as block,
    generators as generators,
    groups as groups,
    index as index,
    noise_groups as noise_groups,
    roles as roles,
    score as score,
    similarity as similarity,
    tempo_block as tempo_block,
    unique as unique,
    weighted as weighted,
)
