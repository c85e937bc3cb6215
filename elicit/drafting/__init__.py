"""Drafts a task file by looking at the columns of data: what `elicit tasks new` does."""
