"""Speed: the port and its peers on the same work, in one run, taking turns."""
