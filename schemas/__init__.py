"""Wire types, configuration types and catalogue types; nothing here acts."""
