"""What HTTP/2 connections with clients and with targets have in common."""
