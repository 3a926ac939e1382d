"""The configuration: immutable, validated objects in ALB's words."""
