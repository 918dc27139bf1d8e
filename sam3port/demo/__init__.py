"""What the demo shows: drawn scenes whose truth is known."""
