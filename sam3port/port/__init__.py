"""The stages that take a component from upstream's source to a compiled library, and the link to one artifact."""
