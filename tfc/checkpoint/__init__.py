"""Checkpoints: values by name, in the files that TensorFlow calls a TensorBundle.

    write_bundle("model.ckpt", {"w": w})         model.ckpt.index, model.ckpt.data-00000-of-00001
    Bundle("model.ckpt").read("w")

numpy is all that it needs.
"""
