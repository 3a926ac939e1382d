"""What is told when an exchange is over."""
