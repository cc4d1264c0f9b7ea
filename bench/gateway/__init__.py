"""The gateway, measured beside others and checked for what it lets through."""
