"""The ClientHello of a TLS handshake, and the request headers that describe a TLS session to targets."""
