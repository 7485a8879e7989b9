"""Desired state and what comes of it: edits, preparation, the fleet and its replicas. What the controller runs."""
