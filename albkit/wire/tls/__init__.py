"""What the TLS handshake says before it begins, and what targets are told of it."""
