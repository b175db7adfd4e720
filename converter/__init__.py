"""From a trained model to a `.edge` file. Imports no framework until it meets one of its files."""
