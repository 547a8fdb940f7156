"""What reads raw records at the speed of compiled code, and the tables that it keeps."""
