"""The command line's commands, one idea a file; `deploy.cli` names them."""
