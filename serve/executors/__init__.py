"""Where a version's runtime lives: in the gateway's process, or in model replicas."""
