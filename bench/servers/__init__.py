"""What the endpoint is measured against, each a file that someone who knows the library would write."""
