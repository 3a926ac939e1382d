"""The only package with sockets: it accepts connections, forwards requests and relays tunnels."""
