"""What HTTP says (RFC 9110, 9112): bytes and heads in, judgements and bytes out; no await, no sockets, no aiohttp."""
