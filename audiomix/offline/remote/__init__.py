"""Outputs behind URLs: files are made in a folder of this machine, and sent when they are whole."""
