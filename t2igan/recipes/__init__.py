"""One file a GAN: which networks, which losses."""
