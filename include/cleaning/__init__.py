"""This package turns landed deliveries into clean rows and quarantined ones, with Spark."""
