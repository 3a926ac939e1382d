"""The target's side of an exchange: connections and their pool, the waiting line, health probes, name look-ups."""
