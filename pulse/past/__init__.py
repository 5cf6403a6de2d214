"""The recorded past of the book: what each market was given, in blocks that prove themselves, in memory and on disk."""
