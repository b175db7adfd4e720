"""ncnn models: param and bin."""
