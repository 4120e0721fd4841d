"""From data to an evaluated adapter."""
