"""Find what must not leave, put placeholders in its place, and put the originals back into a stream; pure."""
