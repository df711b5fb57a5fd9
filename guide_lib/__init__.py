"""Generative identity unlearning: make a face generator forget one person (GUIDE, CVPR 2024)."""

__version__ = "0.1.0"
