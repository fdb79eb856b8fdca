"""Several clients trained in the same steps, their weights stacked."""
