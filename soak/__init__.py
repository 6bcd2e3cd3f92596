"""Long trials: what must hold ten thousand times, tried ten thousand times. `make soak` runs them."""
