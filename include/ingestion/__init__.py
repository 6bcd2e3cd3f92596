"""This package brings deliveries into the lake's raw zone: one file per kind of source."""
