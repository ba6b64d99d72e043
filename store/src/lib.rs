//! The data of each provider, kept in its own silo.
