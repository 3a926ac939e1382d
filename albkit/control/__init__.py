"""Changes the house while it runs."""
