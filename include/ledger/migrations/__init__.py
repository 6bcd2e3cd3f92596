"""The steps by which the ledger's schema has become what it is."""
