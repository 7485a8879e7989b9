"""New versions beside old ones: shares of the calls, copies, comparison, steps, the guard, and what was decided."""
