"""The ledger on a disk: the gateway writes one of requests, the broker one of releases."""
