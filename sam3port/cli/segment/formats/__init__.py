"""What a run writes about pictures and their objects: one file for each form."""
