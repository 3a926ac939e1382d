"""Changes a running load balancer: registration, configuration, certificates, health checks, events."""
