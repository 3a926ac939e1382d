"""What a connection is after an upgrade, and connections of layer 4."""
