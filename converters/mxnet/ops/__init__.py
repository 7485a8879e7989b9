"""Translations of MXNet's operators, by family."""
