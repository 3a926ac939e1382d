"""What becomes of requests while targets are killed, hang, are restarted and drained: `python -m benchmarks.failover`; see README.md."""
