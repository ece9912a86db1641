"""The compiled kernels and the ufuncs made of them."""
