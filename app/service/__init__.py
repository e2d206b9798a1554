"""What the service does with an upload, from its bytes to the finished levels; independent of the HTTP framework."""
