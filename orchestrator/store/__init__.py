"""The database: tables, migrations, and one function per named operation on it."""
