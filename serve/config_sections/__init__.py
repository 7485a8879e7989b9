"""The parts of the config: each section's keys, the layers they come from, and what they may not say together."""
