"""One check from its options to the written reports. The command and ``reid_audit.check`` both call it, so nothing here
reads a command line or says a word."""
