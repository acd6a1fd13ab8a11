"""Training: one loop, its stages, schedules and checkpoints."""
