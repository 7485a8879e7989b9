"""What loads a version and runs batches: one file a runtime, and the table of them."""
