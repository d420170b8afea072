"""The commands of the command line except ``bench``, and the code that all commands share."""
