"""Pretrained networks, frozen."""
