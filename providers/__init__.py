"""Scores from models, hosted and local. Knows nothing of tasks or searches."""
