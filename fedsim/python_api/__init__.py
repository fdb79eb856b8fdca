"""fedsim from Python: what `import fedsim` offers."""
