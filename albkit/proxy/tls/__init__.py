"""TLS with clients: what is offered to whom, and the bytes that go to and fro."""
