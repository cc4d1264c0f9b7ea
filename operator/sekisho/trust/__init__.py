"""The process that has nodes attested, and says in their labels what they have proven and until when."""
