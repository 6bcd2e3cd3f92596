"""This package scores published days with a release's model, through Spark, as the endpoint would answer them."""
