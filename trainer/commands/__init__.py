"""The commands: each reads its command line, calls the library and prints. They know nothing of one another."""
