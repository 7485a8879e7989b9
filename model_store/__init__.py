"""Where versions live: the store, manifests, generations of desired state, sources, and every error kind."""
