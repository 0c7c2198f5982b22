"""Localizing any number of photos: manifests, parts that survive a kill, workers, one output."""
