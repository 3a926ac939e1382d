"""Tunnels: connections after an upgrade, and connections of TCP and TLS listeners (layer 4)."""
