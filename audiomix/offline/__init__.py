"""Mix whole data sets: files in; mixed files, a manifest and provenance out."""
