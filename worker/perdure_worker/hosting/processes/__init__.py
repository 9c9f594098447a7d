"""The processes of hosted handlers: the pool, the child, the frames between them."""
