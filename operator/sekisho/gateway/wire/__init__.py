"""HTTP/1.1 as bytes: heads, bodies, the connections of callers and those to engines."""
