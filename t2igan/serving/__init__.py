"""A server of generated images: a page and a JSON API."""
