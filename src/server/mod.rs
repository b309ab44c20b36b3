//! Wiring, tasks, reload, shutdown, and the command line (`cli/`, one file per subcommand).
