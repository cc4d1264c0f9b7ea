"""Which pod of a service answers a request: the law filters, what is left may only be reordered."""
