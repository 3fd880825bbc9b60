"""Words, vectors and sentence embeddings of captions."""
