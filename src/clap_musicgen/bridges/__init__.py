"""Doors to other ecosystems: one small module each, each behind its own optional extra."""
