"""What was configured: frozen, validated nouns in ALB's words."""
