"""Training: pairs to cells, cells to losses, losses to weights."""
