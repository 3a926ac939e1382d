"""Wire formats: HTTP/1 (RFC 9110, 9112), HTTP/2 (RFC 9113), WebSocket frames, PROXY protocol, TLS hello. No await, no sockets."""
