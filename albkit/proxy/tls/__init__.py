"""TLS with clients lives here."""
