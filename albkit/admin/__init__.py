"""The admin API and its live page (docs/admin.md): it uses the public names of `LoadBalancer`, as a program does."""
