"""What albkit costs, beside its peers."""
