"""Bounded load on a served model, and what it says about how to batch it."""
