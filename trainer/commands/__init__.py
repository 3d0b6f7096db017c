"""The commands: each reads its command line, calls the library and prints. No command imports another."""
