"""Mix whole data sets: files in; mixed files, a manifest and provenance out."""

from . import (
    cache as cache,
    engines as engines,
    exports as exports,
    films as films,
    fit as fit,
    journal as journal,
    limits as limits,
    manifest as manifest,
    on_the_fly as on_the_fly,
    output_names as output_names,
    parallel as parallel,
    partners as partners,
    preview as preview,
    progress as progress,
    providers as providers,
    render as render,
    replay as replay,
    run as run,
    stems as stems,
    write as write,
)
