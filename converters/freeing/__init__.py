"""Freeing the batch of a graph that was exported for one; `converters/batch.py` is the way in."""
