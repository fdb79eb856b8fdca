"""Real clients: a federation's folder, the devices' bundles, the server, and joining it.

The commands of ``fedsim edge`` stand on this room.  Flower's own commands do the work as
processes of their own; what they say is read as JSON.
"""
