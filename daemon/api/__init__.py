"""HTTP only: routes, wire models, problem+json. What a submission is, the judge knows."""
