"""Who may ask: the expressions, the decision and the budgets of AccessPolicies. Pure."""
