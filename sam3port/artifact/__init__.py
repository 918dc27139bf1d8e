"""What who writes an artifact and who reads it both know: tensors, the manifest, weights in a file, padded prompts.

numpy and the standard library only: nothing here computes, compiles or draws.
"""
