"""PyTorch: TorchScript, torch.export, modules and checkpoints."""
