"""How fast is it here? Models timed in turns (`edgex bench`), and the fastest way of running them (`edgex tune`)."""
