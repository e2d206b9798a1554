"""HTTP only: routes, problem documents, limits, jobs."""
