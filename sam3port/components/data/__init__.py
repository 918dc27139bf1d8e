"""What flows between components: the tensors by name, numbers like those that flow, prompts padded to a capacity."""
