"""The process of an archive's own handler: loads it as its server would, feeds it batches, takes its answers."""
