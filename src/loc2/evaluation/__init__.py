"""Measuring localization: protocols, metrics, results files."""
