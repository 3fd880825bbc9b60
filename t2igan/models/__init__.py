"""Networks: no loss, no optimizer, no config object."""
