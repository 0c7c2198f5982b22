"""Data sets: manifests of pairs, benchmarks, generated scenes."""
