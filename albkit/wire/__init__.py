"""The protocols: they parse and produce bytes (RFC 9110, 9112, 6455, PROXY protocol), without await, sockets or aiohttp."""
