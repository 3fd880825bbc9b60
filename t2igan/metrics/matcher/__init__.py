"""The image-text matcher: a dual encoder that judges how well image and caption fit."""
