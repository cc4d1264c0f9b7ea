"""Connections that break, as those of a process that is killed with words unheard."""

import socket


def break_off(far: socket.socket) -> None:
    """Close at once: the other side finds a reset behind what it was sent."""
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    far.close()
