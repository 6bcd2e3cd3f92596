"""Platforms: where a training's job runs. One small file each behind `base.py`, and a line here."""
