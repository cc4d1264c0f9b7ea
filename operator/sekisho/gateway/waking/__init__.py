"""Models that rest until somebody asks: their operator is told, and requests are held until they answer."""
