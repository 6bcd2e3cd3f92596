"""What came of the predictions: joined with what really happened, measured, and judged by the governor."""
