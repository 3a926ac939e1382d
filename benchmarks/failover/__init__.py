"""What happens to requests while targets are killed, hang, restart and drain: `python -m benchmarks.failover`; see README.md."""
