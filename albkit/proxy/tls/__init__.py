"""TLS with clients: certificates, protocols, sessions."""
