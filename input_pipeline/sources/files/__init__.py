"""Images in files: those that a table of captions names, and those with texts beside them."""
