"""Accepting connections: sockets, connection limits, the PROXY protocol header and the TLS handshake."""
