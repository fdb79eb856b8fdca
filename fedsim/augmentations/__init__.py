"""Random changes of training examples: their contract, their shelf, and how a pass is changed."""
