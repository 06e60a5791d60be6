"""Getting it done: configuration, plan, steps, runner, command line."""
