"""Fine-grained cross-view localization: where a ground photo was taken, and why."""
