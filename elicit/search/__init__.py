"""Search methods, one a file. Each is a generator of states; none does any I/O."""
