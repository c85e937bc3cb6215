"""From labels to a model tuned on them: jobs that any process takes up again."""
