"""TLS with clients and with targets: certificates, contexts, sessions, and the transport that encrypts."""
