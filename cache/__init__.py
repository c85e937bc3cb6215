"""SQLite: prompt scores, runs and checkpoints. Knows nothing of models or tasks."""
