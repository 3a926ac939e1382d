"""The target's side of an exchange: connections and their pool, the queue for busy targets, health checks, DNS."""
