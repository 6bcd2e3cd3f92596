"""The endpoint: answers with the version the declared state names, and keeps what it was asked."""
