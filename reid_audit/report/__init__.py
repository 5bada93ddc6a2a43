"""AuditResult -> documents. Records only, never torch."""
