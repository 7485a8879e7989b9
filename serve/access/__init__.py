"""Who may ask what: credentials, scopes, limits, and the log of what was changed."""
