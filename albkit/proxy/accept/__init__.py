"""How a connection is let in: sockets, limits, the PROXY protocol header and the TLS handshake."""
