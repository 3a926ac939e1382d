"""TLS: what is offered to whom, with clients and with targets, and the bytes that go to and fro."""
