"""Outputs behind URLs: files are made in a folder of this machine, and sent when they are whole."""

from . import staging as staging, store as store
