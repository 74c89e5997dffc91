"""Networks that others made: one file a vendor, each turning a name or a file into a module and what is known of it."""
