"""Wire formats: HTTP/1 (RFC 9110, 9112), WebSocket frames, PROXY protocol, TLS hello. Pure functions of bytes: no await, no sockets."""
