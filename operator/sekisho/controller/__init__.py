"""The controller process: gather, queue, loop, and the wiring of kopf."""
