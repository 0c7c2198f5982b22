"""The published method: network, configurations, and import of its released checkpoints."""
