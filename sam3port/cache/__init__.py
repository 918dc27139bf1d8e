"""The user's cache: where it lies, and a store of folders that are found again by a key."""
