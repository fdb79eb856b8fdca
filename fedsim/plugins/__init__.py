"""From a name in a scenario to a class, and what a plug-in's source tells without importing it."""
