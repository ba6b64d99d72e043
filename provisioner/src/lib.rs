//! Tenants as containers: the fleet file, plan and apply.
