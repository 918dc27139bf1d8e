"""The checkpoints that people have, recognised by their content, read strictly, and never run.

`load.load_checkpoint` fills upstream's image model from any of them, `survey.survey` says what one is and what it can
be used for. A file goes through four steps, each a module of its own:

1. `files`: what kind of file it is, and its tensors by name (`torch_file`, `safetensors_file`).
2. `recognise`: whose names these are.
3. `names_upstream`, `names_huggingface`, `names_multiplex`: for each tensor of the model, what it is made of.
4. `load`: everything is there, fits and is finite; nothing is left over.
"""
