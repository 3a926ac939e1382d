"""The client's side of an exchange (Envoy: downstream)."""
