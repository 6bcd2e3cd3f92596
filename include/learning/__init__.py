"""Learning tasks: what a binary, a multiclass and a regression model differ in, apart from the network itself."""
