"""What is true now: mutable, touched only on the loop's thread, no I/O."""
