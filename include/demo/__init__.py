"""The demo: a real year of flights, a real stack, a model that goes stale and is replaced by itself."""
