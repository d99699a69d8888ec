"""The whole way of the data, one chapter a file: prepare, search, train the winner, ship, report."""
