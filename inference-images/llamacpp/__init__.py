"""llama.cpp's server as an image."""
