"""Configs: fields, files, overrides and records."""
