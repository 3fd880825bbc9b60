"""Networks trained on ImageNet, frozen: what metrics measure by and discriminators look through."""
