"""What is reported when an exchange is over: log lines and metrics."""
