"""Benchmarks: what albkit costs, compared with other proxies."""
