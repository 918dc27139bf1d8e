"""What a built artifact needs where it runs: no torch, no upstream."""
