"""The client's side of an exchange."""
