"""What a run writes into its folder, and how that is read back."""
