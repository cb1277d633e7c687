"""Class activation maps and weakly supervised object localization, in PyTorch Lightning and Hydra."""

__version__ = "0.1.0"
