"""The shelf of learning tasks: each file holds the task that it is called after."""
