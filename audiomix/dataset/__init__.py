"""Preprocessing whole data sets: manifest in, mixed files, a manifest and full provenance out."""
